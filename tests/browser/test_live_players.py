"""Players that know nothing of us follow a running stream, in a real Chromium."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from browser import Browser, Watched, chromium
from clips import make_clip
from live_process import TEST_SOURCE, live, run, wait_for_segment
from served import serving
from stock_players import Viewing, stage, watch

LADDER = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "30s")


PLAYERS = {"dashjs-5": "manifest.mpd", "hls.js": "master.m3u8"}


async def watch_both(browser: Browser, theatre: str, title: str, **how: object) -> dict[str, tuple[Viewing, Watched]]:
    """What each player shows of the title at that address, side by side."""
    watching = (watch(browser, theatre, player, f"{title}/{name}", **how) for player, name in PLAYERS.items())
    return dict(zip(PLAYERS, await asyncio.gather(*watching), strict=True))


@pytest.mark.parametrize("chunk", ["0", "0.5"])
async def test_stock_players_follow_the_live_edge(chunk: str, tmp_path: Path):
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with live(tmp_path, *TEST_SOURCE, *LADDER, "--chunk", chunk, "--name", "cam"):
            await asyncio.to_thread(wait_for_segment, tmp_path / "cam", 4)
            seen = await watch_both(browser, theatre, f"{url}titles/cam", stop_s=10.0)
    for player, (viewing, page) in seen.items():
        assert viewing.errors == [] and page.refused == [], player
        times_s = [media_s for media_s, *_ in viewing.frames]
        assert times_s[-1] == pytest.approx(10.0, abs=1.5) and times_s == sorted(times_s), player
        assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1, player
    requests = seen["hls.js"][1].requests
    assert any(re.search(r"seg-[0-9]+\.[0-9]+\.m4s", url) for url in requests) is (chunk != "0")


async def test_a_low_latency_viewer_sees_the_end_of_the_stream(tmp_path: Path):
    source = ("testsrc2=size=320x180:rate=25:duration=9.4[out0];sine=duration=9.4[out1]", "--format", "lavfi", "--pace")
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with live(tmp_path, *source, *LADDER, "--chunk", "0.5", "--name", "cam"):
            await asyncio.to_thread(wait_for_segment, tmp_path / "cam", 2)
            viewing, _ = await watch(browser, theatre, "dashjs-5", f"{url}titles/cam/manifest.mpd")
    assert viewing.errors == []
    assert viewing.frames[-1][0] == pytest.approx(9.36, abs=0.05)


async def test_what_the_window_holds_of_an_ended_stream_plays_to_its_end(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", frames=250, sound_s=10.0)
    ladder = ("--heights", "64,108", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "4s")
    library = tmp_path / "library"
    assert run(library, str(clip), *ladder, "--name", "cam").returncode == 0
    async with serving(str(library)) as url, stage() as theatre, chromium() as browser:
        seen = await watch_both(browser, theatre, f"{url}titles/cam")
    for player, (viewing, page) in seen.items():
        assert viewing.errors == [] and page.refused == [], player
        times_s = [media_s for media_s, *_ in viewing.frames]
        assert times_s[-1] - times_s[0] == pytest.approx(4.0, abs=0.2), f"{player}: the last four seconds"
        assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1, player
