"""Stock players from npm, unchanged, in a real Chromium: what a viewer of them sees."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from browser import Browser, Watched
from playwright.async_api import TimeoutError
from served import listening

from abr.core.events import AnyEvent, Decided, loads_log
from abr.core.title import Title

FOLDER = Path(__file__).parents[2] / "browser" / "players"
PLAYERS = ("dashjs-5", "dashjs-4", "shaka-5", "shaka-4", "hls.js")
STALL_MIN_S = 0.25
"""Shorter halts are those of a busy machine, not the network's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewing:
    """What was seen.

    frames: media time, height, audio clock and instant of each frame shown. stalls: media time, seconds.
    """

    frames: list[tuple[float, int, float, float]]
    stalls: list[tuple[float, float]]
    errors: list[str]
    startup_s: float
    audio_bytes: int
    requests: list[str]

    def heights(self, title: Title) -> list[set[int]]:
        """Heights shown in each segment."""
        shown: list[set[int]] = [set() for _ in title.segment_frames]
        for media_s, height, *_ in self.frames:
            shown[segment_of(title, media_s)].add(height)
        return shown

    def frozen_s(self) -> list[float]:
        """How long the picture stood still, each time that it did for longer than STALL_MIN_S.

        That is in stalls, and where the player skipped.
        """
        instants = [instant_s for *_, instant_s in self.frames]
        return [gap_s for a, b in pairwise(instants) if (gap_s := b - a) > STALL_MIN_S]

    def apart_s(self) -> float:
        """Median distance of picture and sound: the audio clock when a frame was shown, less the frame's own time."""
        apart = sorted(abs(clock_s - media_s) for media_s, _, clock_s, _ in self.frames)
        return apart[len(apart) // 2]


@asynccontextmanager
async def stage() -> AsyncIterator[str]:
    """Serves the page and the players; yields its base URL. The media come from elsewhere, across origins."""
    _install()
    app = web.Application()
    app.router.add_static("/npm", FOLDER / "node_modules", follow_symlinks=True)
    app.router.add_static("/", FOLDER)
    async with listening(app) as url:
        yield url


async def watch(
    browser: Browser, stage_url: str, player: str, source: str, *, limit_s: float = 200.0, **how: object
) -> tuple[Viewing, Watched]:
    """Play `source` to its end (or `stop_s`); `how`: rate, buffer_s, stop_s and whatever else play.js knows."""
    page = await begin_to_watch(browser, stage_url, player, source, **how)
    return await watch_to_the_end(page, player, limit_s=limit_s), page


async def begin_to_watch(browser: Browser, stage_url: str, player: str, source: str, **how: object) -> Watched:
    """Open a page that plays, as `watch` does."""
    query = urlencode({"player": player, "src": source, **how})
    return await browser.open(f"{stage_url}play.html?{query}")


async def watch_to_the_end(page: Watched, player: str, *, limit_s: float = 200.0) -> Viewing:
    """What a page has shown when its video has ended."""
    try:
        await page.tab.wait_for_function("seen.ended || seen.errors.length", timeout=limit_s * 1000)
    except TimeoutError:
        at = await page.tab.evaluate("[video.currentTime, video.readyState, seen.frames.length, seen.stalls.length]")
        said = [*page.console[-8:], *page.refused, *page.failures]
        pytest.fail(f"{player} had not ended after {limit_s} s: time, state, frames, stalls {at}; {said}")
    seen = await page.tab.evaluate("seen")
    return Viewing(
        frames=[tuple(frame) for frame in seen["frames"]],
        stalls=[(at_s, took_s) for at_s, took_s in seen["stalls"] if took_s >= STALL_MIN_S],
        errors=seen["errors"],
        startup_s=seen["startupS"] or 0.0,
        audio_bytes=seen["audioBytes"],
        requests=list(page.requests),
    )


def segment_of(title: Title, media_s: float) -> int:
    """The segment of the frame that begins at `media_s`."""
    ends_s = list(accumulate(title.segment_duration_s))
    return min(bisect_right(ends_s, media_s + 0.5 / title.fps), len(ends_s) - 1)


async def opened_session(url: str, title: str, **wish: object) -> dict[str, str]:
    """Open a session on the server at `url`; what it answered."""
    async with aiohttp.ClientSession() as pool, pool.post(f"{url}sessions", json={"title": title, **wish}) as answer:
        opened: dict[str, str] = await answer.json()
        return opened


async def session_log(url: str, session_id: str) -> list[AnyEvent]:
    """All that the server logged of a session."""
    async with aiohttp.ClientSession() as pool, pool.get(f"{url}sessions/{session_id}/log") as answer:
        return loads_log(await answer.read())


async def decisions(url: str, session_id: str) -> list[Decided]:
    """The server's decisions, from the session log."""
    return [event for event in await session_log(url, session_id) if isinstance(event, Decided)]


def asked_heights(title: Title, requests: Sequence[str]) -> list[set[int]]:
    """For each segment, the heights of the renditions asked for by URL, as standard manifests name them."""
    heights = {rendition.id: rendition.height_px for rendition in title.renditions}
    asked: list[set[int]] = [set() for _ in title.segment_duration_s]
    for url in requests:
        path = url.partition("?")[0].split("/")
        if path[-1].startswith("seg-") and path[-3] == "video":
            asked[int(path[-1][4:9]) - 1].add(heights[path[-2]])
    return asked


def _install() -> None:
    """`npm ci`, unless what the lock file says is there already; skips the test without npm."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine; tests/support/install_browser.sh installs Debian's")
    lock = (FOLDER / "package-lock.json").read_bytes()
    wanted, stamp = hashlib.sha256(lock).hexdigest(), FOLDER / "node_modules" / ".installed"
    with (FOLDER / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)
        stamp.write_text(wanted)
