"""A session log in pandas: what a viewer saw, segment by segment and in a few numbers.

`toprung play --out FOLDER` leaves a log, `toprung simulate --log FILE` writes one, and a server keeps one for each
session at /sessions/{id}/log:

    toprung play http://localhost:8080 --title film --trace train.csv --out seen
    python examples/session_log.py seen/session.jsonl

Needs pandas: pip install pandas. The events and their fields are those of abr.core.events.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd


def read_log(path: Path) -> pd.DataFrame:
    """All events, one a row, in order. A column is empty where an event has no such field."""
    return pd.read_json(path, lines=True)


def segments(events: pd.DataFrame) -> pd.DataFrame:
    """One row a segment: what was decided, how fast it came, how many frames were enhanced in time."""
    decided = _by_segment(events[events["event"] == "decided"])
    table = decided[["rendition", "enhancer", "promised_vmaf", "size_bytes"]]
    # A server's log has what the player reported, which may be nothing.
    if "kind" in events:  # sound and weights are downloads too, of other kinds
        came = _by_segment(events[(events["event"] == "downloaded") & (events["kind"] == "video")])
        table = table.assign(throughput_kbps=8e-3 * came["size_bytes"] / came["duration_s"])
    if "frames" in events:
        shown = _by_segment(events[events["event"] == "shown"])
        table = table.assign(enhanced=shown["enhanced_frames"] / shown["frames"], late_frames=shown["late_frames"])
    return table


def _by_segment(events: pd.DataFrame) -> pd.DataFrame:
    """Indexed by segment; of a segment that came twice, the last."""
    return events.astype({"segment": int}).drop_duplicates("segment", keep="last").set_index("segment")


def summary(events: pd.DataFrame) -> pd.Series:
    """The session in a few numbers."""
    each = segments(events)
    stalls = events.loc[events["event"] == "stalled", "duration_s"]
    return pd.Series(
        {
            "segments": len(each),
            "promised VMAF": each["promised_vmaf"].mean(),
            "VMAF, worst tenth": each["promised_vmaf"].quantile(0.1),
            "switches": (each["rendition"] != each["rendition"].shift()).sum() - 1,
            "stalls": len(stalls),
            "stalled, s": stalls.sum(),
            "megabytes": each["size_bytes"].sum() / 1e6,
        }
    )


if __name__ == "__main__":
    events = read_log(Path(sys.argv[1]))
    print(segments(events).to_string(float_format="{:.1f}".format), end="\n\n")
    print(summary(events).to_string(float_format="{:.2f}".format))
