"""The clip as a live stream: encoded and learnt in real time, then watched by one viewer after the other.

Two cores cannot hold the ladder, the trainer and three viewers at once. So what the stream's tables said is recorded
with its time, and each viewer watches that recording, at its own rate, from a server of its own.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from abr.core.events import loads_log
from abr.core.live.tables import LiveTables
from abr.errors import ToprungError
from abr.records import loads
from client_player.demo_steps import print_command, run_toprung, step
from client_player.live_demo.recording import Recording, Replay, Watching
from client_player.live_demo.scoring import Scorer, Seen
from client_player.server_process import build_command, serving

TITLE = "live"
VIEWERS = (("plain", "none"), ("generic", "generic"), ("online-trained", "content,generic"))
"""Names, and the families of enhancers that they allow."""
MEASURE_SHARE, TRAIN_SHARE = 0.3, 0.8
_HEADINGS = (
    "viewer",
    "quality",
    "VMAF-NEG",
    "VMAF",
    "latency p50",
    "p95",
    "stalls s",
    "enhanced",
    "MB",
    "of it weights",
)
_WAIT_S = 60.0


def demo_live(clip: Path, out: Path, network: tuple[Path, float], seconds: int) -> None:
    """Stream, watch, score, compare. Raises ToprungError when a step fails."""
    console = Console(stderr=True)
    started_s = time.monotonic()
    profile, trace, trace_start_s = out / "device.json", *network
    out.mkdir(parents=True, exist_ok=True)
    with step(console, "Measure how fast this device enhances"):
        run_toprung(console, "profile", "--quick", "--force", "--output", profile)
    with step(console, f"Stream the clip for {seconds} s, and learn it meanwhile"):
        recording = _stream(console, clip, out / "stream", seconds)
    scorer = Scorer(recording, clip, out / "samples")
    viewers: dict[str, dict[str, Any]] = {}
    for name, families in VIEWERS:
        with step(console, f"Watch it over {trace.stem}: {name} (the recording, at its own rate)"):
            asked = ("--title", TITLE, "--families", families, "--out", out / name, "--profile", profile)
            replay = Replay(recording, out / "replay")
            with serving(out / "replay") as url:
                replay.start()
                run_toprung(console, "play", url, *asked, "--trace", trace, "--trace-start-s", trace_start_s)
        with step(console, f"Score what {name} saw"):
            seen = list(scorer.score(loads_log((out / name / "session.jsonl").read_bytes())))
        viewers[name] = _figures(json.loads((out / name / "summary.json").read_text()), seen)
    learning = loads(recording.moments[-1].tables, LiveTables, what="tables").learning
    summary = {
        "viewers": viewers,
        "seconds": seconds,
        "trace": trace.name,
        "trace_start_s": trace_start_s,
        "publications": learning.publications if learning else 0,
        "published_bytes": learning.published_bytes if learning else 0,
        "took_s": round(time.monotonic() - started_s, 1),
    }
    (out / "live.json").write_text(json.dumps(summary, indent=1) + "\n")
    shutil.rmtree(out / "samples", ignore_errors=True)
    _show(viewers)
    console.print(f"Took {summary['took_s']} s. Figures: {out / 'live.json'}", soft_wrap=True)


def _stream(console: Console, clip: Path, library: Path, seconds: int) -> Recording:
    """The live title, all of whose files stay."""
    shutil.rmtree(library, ignore_errors=True)
    source = f"movie={clip}:loop=0,setpts=N/FRAME_RATE/TB"
    shares = ("--measure-share", MEASURE_SHARE, "--train-share", TRAIN_SHARE)
    place = ("--format", "lavfi", "--pace", "--library", library, "--name", TITLE, "--window", "1h")
    print_command(console, "live", source, *place, *shares)
    process = subprocess.Popen(build_command("live", source, *place, *shares), stdout=sys.stderr)
    recording = Recording(library / TITLE)
    watching = Watching(recording)
    watching.start()
    try:
        begun_s = time.monotonic()
        while process.poll() is None and time.monotonic() - begun_s < seconds + (0 if recording.moments else _WAIT_S):
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        code = process.wait(_WAIT_S)
    finally:
        process.kill()
        watching.stop()
    if code or not recording.moments:
        raise ToprungError("`toprung live` did not stream; what went wrong is said above.")
    return recording


def _figures(summary: dict[str, Any], seen: Sequence[Seen]) -> dict[str, Any]:
    def mean(values: Sequence[float]) -> float:
        return round(sum(values) / max(1, len(values)), 2)

    kept = ("latency_s", "latency_p95_s", "stall_s", "enhanced_share", "mbytes", "mbytes_weights", "frames")
    return {
        "quality": mean([each.trusted for each in seen]),
        "vmaf_neg": mean([each.vmaf_neg for each in seen]),
        "vmaf": mean([each.vmaf for each in seen]),
        **{name: summary[name] for name in kept},
        "segments": [
            [each.segment, each.rendition, each.enhancer, each.enhanced_share, each.trusted, each.vmaf_neg, each.vmaf]
            for each in seen
        ],
    }


def _show(viewers: dict[str, dict[str, Any]]) -> None:
    table = Table(title="The same stream, the same trace, three viewers, one after the other")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "viewer" else "right")
    for name, told in viewers.items():
        table.add_row(
            name,
            *(f"{told[key]:.1f}" for key in ("quality", "vmaf_neg", "vmaf")),
            *(f"{told[key] or 0:.1f} s" for key in ("latency_s", "latency_p95_s")),
            f"{told['stall_s']:.1f}",
            f"{told['enhanced_share']:.0%}",
            *(f"{told[key]:.2f}" for key in ("mbytes", "mbytes_weights")),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
