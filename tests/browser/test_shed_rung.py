"""Stock players in a real Chromium while the rung that they play is left out of the ladder, and when it is back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from broadcast import SEGMENT_FRAMES, SEGMENTS, Broadcast
from browser import chromium
from served import serving
from stock_players import begin_to_watch, stage, watch_to_the_end
from waiting import wait_until

from server.live.ladder.shedding import WHOLE_LADDER, Ladder

FIRST_WITHOUT, FIRST_WITH = 5, 9


@contextmanager
def broadcasting(library: Path) -> Iterator[Broadcast]:
    """A segment each second; four of them without the top rung."""
    sent, over = Broadcast(library, time.time, window_s=30.0), threading.Event()

    def change(segment: int, ladder: Ladder) -> None:
        sent.publication.change_ladder(segment, segment * SEGMENT_FRAMES, ladder)

    def send() -> None:
        for segment in range(SEGMENTS):
            if segment == FIRST_WITHOUT:
                change(segment, Ladder(without=("108p",)))
            if segment == FIRST_WITH:
                change(segment, WHOLE_LADDER)
            sent.send(without=("video/108p",) if FIRST_WITHOUT <= segment < FIRST_WITH else ())
            if over.wait(1.0):
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("player", ["dashjs-5", "hls.js"])
async def test_a_viewer_of_it_goes_on_with_the_next_lower_one(player: str, tmp_path: Path):
    name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with broadcasting(tmp_path) as sent:
            await asyncio.to_thread(wait_until, lambda: sent.publication.listed >= 3, "three segments")
            page = await begin_to_watch(browser, theatre, player, f"{url}titles/cam/{name}")
            await page.tab.wait_for_function("video.currentTime > 10.5", timeout=60_000)
            await page.tab.evaluate("end()")
            viewing = await watch_to_the_end(page, player)
    assert set(viewing.errors) <= {"hls.js: fragGap"} and page.refused == []
    assert viewing.stalls == [] and viewing.frozen_s() == []
    asked = [each.partition("?")[0].rpartition("/video/")[2] for each in viewing.requests if "/video/" in each]
    numbers = range(FIRST_WITHOUT + 1, FIRST_WITH + 1)
    assert {each for each in asked if any(f"seg-{number:05d}" in each for number in numbers)} == {
        f"64p/seg-{number:05d}.m4s" for number in numbers
    }
    assert any(each.startswith("108p/seg") for each in asked), "it was on the rung that went"
