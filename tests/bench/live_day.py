"""A day's timestamps through `toprung live`: is anything missing, does sound drift, does it grow?

    python tests/bench/live_day.py [--hours H] [--fps F] [--json OUT]

The source is small and comes as fast as it can be encoded: hours pass in minutes. All the while its folder, its window
and the memory of its process are looked at; each time the newest segments are decoded, and a white picture is held
against the tone that came with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from live_process import LIVE
from long_stream import SEGMENT_S, WINDOW_S, Held, apart_s, held, source
from serve_process import clean_environment

from abr.errors import ToprungError
from server.media.live_title import load_live

LOOK_EVERY_S = 2.0
SETTLED_S = 300.0
"""Of media, after which memory and disk are said to be flat."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """media_s: of the stream so far. listed, stored: segments. apart_ms: of the tone farthest from its picture."""

    media_s: float
    listed: int
    stored: int
    disk_kb: float
    memory_mb: float
    apart_ms: float


def memory_mb(pid: int) -> float:
    """Resident, of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def look(folder: Path, pid: int) -> Look | None:
    """None while it changes too quickly to be looked at."""
    os.kill(pid, signal.SIGSTOP)  # hours pass in minutes, so it must stand still to be seen
    try:
        found: Held | None = held(folder)
        if found is None or len(found.listed) < WINDOW_S / SEGMENT_S:
            return None
        apart = apart_s(folder, found.listed)
        return Look(
            media_s=found.listed[-1] * SEGMENT_S + SEGMENT_S,
            listed=len(found.listed),
            stored=len(found.stored),
            disk_kb=found.disk_bytes / 1024,
            memory_mb=memory_mb(pid),
            apart_ms=1000 * max(apart, key=abs),
        )
    finally:
        os.kill(pid, signal.SIGCONT)


def soak(library: Path, hours: float, fps: int) -> tuple[list[Look], dict[str, object]]:
    """What was seen meanwhile, and what the stream said at its end."""
    command = [*LIVE, *source(hours * 3600, fps), "--library", str(library), "--name", "day", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment())
    looks = []
    try:
        while process.poll() is None:
            time.sleep(LOOK_EVERY_S)
            try:
                seen = look(library / "day", process.pid) if process.poll() is None else None
            except (FileNotFoundError, ToprungError):  # it has not begun, or is just being written
                continue
            if seen is not None:
                looks.append(seen)
                print(json.dumps(asdict(seen)), flush=True)
        assert process.stdout is not None
        return looks, json.loads(process.stdout.read())
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        looks, told = soak(Path(folder), asked.hours, asked.fps)
        last = load_live(Path(folder) / "day")
    steady = [each for each in looks if each.media_s > SETTLED_S]
    found = {
        "hours": asked.hours,
        "fps": asked.fps,
        "took_s": round(time.monotonic() - began_s),
        "looks": len(looks),
        "segments": told["segments"],
        "segments_expected": round(asked.hours * 3600 / SEGMENT_S),
        "last_segment": last.end,
        "listed": sorted({each.listed for each in steady}),
        "stored": sorted({each.stored for each in steady}),
        "apart_ms_most": round(max((abs(each.apart_ms) for each in looks), default=0.0), 1),
        "apart_ms_last": round(looks[-1].apart_ms, 1) if looks else None,
        "memory_mb": [round(each(one.memory_mb for one in steady), 1) for each in (min, max)] if steady else [],
        "memory_mb_first_last": [round(steady[at].memory_mb, 1) for at in (0, -1)] if steady else [],
        "disk_kb": [round(each(one.disk_kb for one in steady)) for each in (min, max)] if steady else [],
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
