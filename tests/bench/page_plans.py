"""A film in the page of this machine's Chromium, with the title's frame plans on offer and without.

    python tests/bench/page_plans.py LIBRARY TITLE [--seconds 40] [--network 500k] [--json]

Both viewings are of a fresh browser on SwiftShader, which stands in for a GPU on the processor: first as the title was
before plans, then with them. Prints what the page measured, what was decided, and what came of the frames.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from browser import chromium
from player_page import log_of_ended, played, ready
from served import serving
from viewers import of_kind

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.events import Decided, Shown, Stalled, Stepped
from abr.records import dumps, load


async def watch(library: Path, title: str, seconds: float, network: str) -> dict[str, object]:
    """Play in a fresh browser, and tell what its session's log says."""
    async with serving(str(library)) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}?title={title}&network={network}")
        await ready(page)
        device = await page.tab.inner_text("#device")
        measured = json.loads(await page.tab.evaluate("localStorage.getItem('toprung.profile.1')"))
        await page.tab.click("#begin")
        await played(page, seconds)
        frames = await page.tab.evaluate("document.querySelector('video').getVideoPlaybackQuality().droppedVideoFrames")
        events = await log_of_ended(page)
        complaints = page.complaints
    shown = of_kind(events, Shown)

    def total(name: str) -> int:
        return sum(getattr(event, name) or 0 for event in shown)

    return {
        "device": device,
        "measured_ms": {
            f"{m['architecture']}@{m['height_px']}": round(m["p95_ms"], 1) for m in measured["measurements"]
        },
        "decided": Counter(f"{event.rendition} {event.enhancer}" for event in of_kind(events, Decided)),
        "frames": total("frames"),
        "enhanced": total("enhanced_frames"),
        "lowered": total("lowered_frames"),
        "late": total("late_frames"),
        "dropped by the browser": frames,
        "shown": [
            (e.segment, e.rendition, e.enhancer, e.frames, e.enhanced_frames, e.lowered_frames or 0, e.enhance_p50_ms)
            for e in shown
        ],
        "stalls": [event.duration_s for event in of_kind(events, Stalled)],
        "stepped": [event.reason for event in of_kind(events, Stepped)],
        "complaints": complaints,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("title")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--network", default="500k")
    parser.add_argument("--plans-only", action="store_true", help="Leave the viewing without plans out.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "library"
        shutil.copytree(given.library / given.title, before / given.title, symlinks=True)
        path = before / given.title / ENHANCEMENTS_FILE
        path.write_bytes(dumps(msgspec.structs.replace(load(path, EnhancementTable), plans=())))
        ways = {"without plans": before, "with plans": given.library}
        for name in list(ways)[given.plans_only :]:
            found = await watch(ways[name], given.title, given.seconds, given.network)
            print(json.dumps({name: found}, indent=1, default=str), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
