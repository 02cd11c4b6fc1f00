"""How far behind the glass of the camera players show a live stream.

Stock players and our page in the machine's Chromium, and `toprung play`. The page and it see decided segments.

    python tests/bench/live_latency.py [--seconds S] [--json OUT] [PLAYER...]

The source has the clock of the wall burnt into its pictures (burnt_clock.py), and it is read from each frame that is
shown. Each player watches with and without low latency, on an unlimited link and through one of 3 Mbit/s and 50 ms.
What is shown in the first SETTLE_S seconds is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from pathlib import Path

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

import burnt_clock
import numpy as np
from browser import Browser, chromium
from burnt_clock import FPS, HEIGHT_PX, WIDTH_PX
from live_process import LIVE, wait_for_segment
from serve_process import clean_environment, serving
from stock_players import FOLDER as PLAYERS_FOLDER
from stock_players import stage

from abr.core.events import Failed, Playing, Shown, Stalled, loads_log
from abr.simulation.traces import constant
from client_player.emulate.proxy import emulating

PLAYERS = ("dashjs-5", "shaka-5", "hls.js", "hls.js+", "page", "play")
"""hls.js as it is, and allowed to play 4 % faster (maxLiveSyncPlaybackRate), as dash.js does by itself."""
CATCH_UP_RATE = 1.04
LADDER = ("--heights", "90,180,360", "--preset", "ultrafast", "--window", "30s", "--measure-share", "0")
LINKS = {"unlimited": None, "3 Mbit/s, 50 ms": constant(3e6, 0.05)}
SETTLE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What one viewer saw. Latencies in seconds; apart: the median distance of the player's own figure."""

    player: str
    low_latency: bool
    link: str
    p50_s: float
    p95_s: float
    own_p50_s: float
    apart_s: float
    unread: float
    frozen_s: float
    frames: int
    height_px: int
    load: float
    errors: list[str]


@contextmanager
def camera(library: Path, chunk_s: float) -> Iterator[None]:
    """The source, and `toprung live` that takes it."""
    environment = clean_environment()
    source = subprocess.Popen([sys.executable, burnt_clock.__file__], stdout=subprocess.PIPE, env=environment)
    command = [*LIVE, "-", "--format", "nut", "--library", str(library), "--name", "cam", "--chunk", str(chunk_s)]
    live = subprocess.Popen([*command, *LADDER], stdin=source.stdout, env=environment)
    try:
        wait_for_segment(library / "cam", 4)
        yield
    finally:
        for process in (live, source):
            process.kill()
            process.wait()


@asynccontextmanager
async def through(url: str, link: str) -> AsyncIterator[str]:
    trace = LINKS[link]
    if trace is None:
        yield url
    else:
        async with emulating(trace, url) as emulated:
            yield emulated.url


@dataclass(frozen=True, kw_only=True)
class Seen:
    """rows: of each frame that was shown, its instant, and seconds from glass to glass, measured and by the player."""

    rows: list[tuple[float, float | None, float | None]]
    height_px: int
    errors: list[str]


async def watch(
    browser: Browser, theatre: str, player: str, url: str, low_latency: bool, link: str, seconds: float
) -> Watched:
    async with through(url, link) as near:
        if player == "page":
            seen = await see_page(browser, near, SETTLE_S + seconds)
        elif player == "play":
            seen = await asyncio.to_thread(see_play, near, SETTLE_S + seconds)
        else:
            seen = await see_stock(browser, theatre, player, near, SETTLE_S + seconds)
    begun_s = seen.rows[0][0] + SETTLE_S if seen.rows else 0.0
    steady = [row for row in seen.rows if row[0] >= begun_s]
    told = [(row[1] or math.nan, row[2] or math.nan) for row in steady]
    glass_s = sorted(seen_s for seen_s, _ in told if math.isfinite(seen_s))
    both = [(seen_s, own_s) for seen_s, own_s in told if math.isfinite(seen_s + own_s)]
    gaps_s = [b[0] - a[0] for a, b in pairwise(steady)]
    return Watched(
        player=player,
        low_latency=low_latency,
        link=link,
        p50_s=_share(glass_s, 0.5),
        p95_s=_share(glass_s, 0.95),
        own_p50_s=_share(sorted(own_s for _, own_s in both), 0.5),
        apart_s=_share(sorted(own_s - seen_s for seen_s, own_s in both), 0.5),
        unread=round(1 - len(glass_s) / len(steady), 3) if steady else 1.0,
        frozen_s=round(sum(gap_s for gap_s in gaps_s if gap_s > 0.25), 2),
        frames=len(steady),
        height_px=seen.height_px,
        load=round(os.getloadavg()[0], 1),
        errors=seen.errors,
    )


async def see_stock(browser: Browser, theatre: str, player: str, url: str, seconds: float) -> Seen:
    base, catches_up = player.removesuffix("+"), player.endswith("+")
    name = "master.m3u8" if base == "hls.js" else "manifest.mpd"
    rate = CATCH_UP_RATE if catches_up else 1
    page = await browser.open(
        f"{theatre}play.html?player={base}&catch_up={rate}&clock={FPS}&src={url}titles/cam/{name}"
    )
    await asyncio.sleep(seconds)
    seen = await page.tab.evaluate("seen")
    await page.tab.close()
    return Seen(
        rows=[tuple(row) for row in seen["latencies"]],
        height_px=max((row[1] for row in seen["frames"][-100:]), default=0),
        errors=[*seen["errors"], *page.refused[:3]],
    )


NOTE = """(fps) => {
  const video = document.getElementById("video"), glassToGlassS = burntClock(video, fps);
  window.rows = [];
  const note = (nowMs) => {
    const own = Number(document.getElementById("now").textContent.replace("−", "").replace(" s", ""));
    rows.push([nowMs / 1000, glassToGlassS(), own]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
}"""


async def see_page(browser: Browser, url: str, seconds: float) -> Seen:
    page = await browser.open(f"{url}?title=cam")
    await page.tab.evaluate((PLAYERS_FOLDER / "burnt_clock.js").read_text())
    await page.tab.evaluate(NOTE, FPS)
    await page.tab.wait_for_selector("#begin:enabled")
    await page.tab.click("#begin")
    await asyncio.sleep(seconds)
    rows, height_px = await page.tab.evaluate("[rows, document.getElementById('video').videoHeight]")
    await page.tab.close()
    return Seen(rows=[tuple(row) for row in rows], height_px=height_px, errors=[*page.complaints, *page.refused[:3]])


def see_play(url: str, seconds: float) -> Seen:
    with tempfile.TemporaryDirectory() as name:
        pipe, out = Path(name) / "pipe", Path(name) / "out"
        os.mkfifo(pipe)
        command = [sys.executable, "-m", "abr", "play", url, "--title", "cam", "--families", "none"]
        process = subprocess.Popen(
            [*command, "--sink", f"y4m:{pipe}", "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        )
        shown = list(read_shown(pipe, process, seconds))
        process.wait()
        events = loads_log((out / "session.jsonl").read_bytes())
    startup_s = next((event.startup_s for event in events if isinstance(event, Playing)), 0.0)
    segments = [event for event in events if isinstance(event, Shown)]
    own_s = {round(event.t_s): event.latency_s for event in segments if isinstance(event.latency_s, float)}
    return Seen(
        rows=[(at_s, seen_s, own_s.get(round(at_s - shown[0][0] + startup_s))) for at_s, seen_s in shown],
        height_px=max((int(event.rendition.removesuffix("p")) for event in segments[-10:]), default=0),
        errors=[str(event) for event in events if isinstance(event, Failed | Stalled)][:5],
    )


def read_shown(pipe: Path, process: subprocess.Popen[bytes], seconds: float) -> Iterator[tuple[float, float]]:
    """When each picture was shown, and how old it was; the player is stopped after so many seconds."""
    picture_bytes, begun_s, is_stopped = WIDTH_PX * HEIGHT_PX * 3 // 2, math.inf, False
    with pipe.open("rb") as file:
        file.readline()
        while file.readline() and len(picture := file.read(picture_bytes)) == picture_bytes:
            now_s = time.time()
            luma = np.frombuffer(picture, np.uint8)[: WIDTH_PX * HEIGHT_PX].reshape(HEIGHT_PX, WIDTH_PX)
            yield now_s, burnt_clock.read(luma, now_s)
            begun_s = min(begun_s, now_s)
            if now_s > begun_s + seconds and not is_stopped:
                process.send_signal(signal.SIGINT)
                is_stopped = True


def _share(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else float("nan")


async def measure(players: Sequence[str], modes: Sequence[bool], links: Sequence[str], seconds: float) -> list[Watched]:
    found = []
    async with stage() as theatre, chromium() as browser:
        for low_latency in modes:
            with ExitStack() as stack:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                url, _ = stack.enter_context(serving("--library", folder))
                stack.enter_context(camera(Path(folder), 0.5 if low_latency else 0.0))
                for link, player in product(links, players):
                    if player.endswith("+") and not low_latency:
                        continue
                    row = await watch(browser, theatre, player, url, low_latency, link, seconds)
                    print(json.dumps(asdict(row)), flush=True)
                    found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("players", nargs="*", metavar="PLAYER", default=PLAYERS)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured, of each")
    parser.add_argument("--low", choices=("yes", "no", "both"), default="both")
    parser.add_argument("--link", choices=(*LINKS, "all"), default="all")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    modes = {"yes": [True], "no": [False], "both": [True, False]}[asked.low]
    links = list(LINKS) if asked.link == "all" else [asked.link]
    rows = asyncio.run(measure(asked.players or PLAYERS, modes, links, asked.seconds))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
