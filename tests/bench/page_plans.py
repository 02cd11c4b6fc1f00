"""A film in the page of this machine's Chromium, with the title's frame plans on offer and without.

    python tests/bench/page_plans.py LIBRARY TITLE [--seconds 40]

Both viewings are of a fresh browser on SwiftShader, which stands in for a GPU on the processor: first as the title was
before plans, then with them. The lowest rung is sent, with the best that the page says it can do; only what lifts that
rung is on offer. Prints what the page measured, what was decided, and what came of the frames.
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
from viewers import EAGER, of_kind

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.events import Decided, Shown, Stalled, Stepped
from abr.core.title import load_title
from abr.records import dumps, load


def offer_less(path: Path, *, plans: bool) -> None:
    """Leave what lifts other rungs than the lowest out of a table, and the frame plans if told so."""
    table = load(path, EnhancementTable)
    lowest = load_title(path.parent).renditions[0].id
    entries = (
        msgspec.structs.replace(entry, offers=tuple(offer for offer in entry.offers if offer.rendition == lowest))
        for entry in table.enhancers
    )
    kept = tuple(plan for plan in table.plans if plan.offer.rendition == lowest) if plans else ()
    path.write_bytes(dumps(msgspec.structs.replace(table, enhancers=tuple(entries), plans=kept)))


async def watch(library: Path, title: str, seconds: float, rate: float) -> dict[str, object]:
    """Play in a fresh browser, and tell what its session's log says."""
    async with serving(str(library), EAGER) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}?title={title}")
        await ready(page)
        device = await page.tab.inner_text("#device")
        measured = json.loads(await page.tab.evaluate("localStorage.getItem('toprung.profile.1')"))
        await page.tab.evaluate(f"document.getElementById('video').defaultPlaybackRate = {rate}")
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
    parser.add_argument("--rate", type=float, default=1.0, help="The film's speed: less where others use the machine.")
    parser.add_argument("--plans-only", action="store_true", help="Leave the viewing without plans out.")
    given = parser.parse_args()
    for plans in (True,) if given.plans_only else (False, True):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(given.library / given.title, Path(folder) / given.title)
            offer_less(Path(folder) / given.title / ENHANCEMENTS_FILE, plans=plans)
            found = await watch(Path(folder), given.title, given.seconds, given.rate)
        print(json.dumps({"with plans" if plans else "without plans": found}, default=str), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
