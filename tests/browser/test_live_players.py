"""Players that know nothing of us follow a running stream, in a real Chromium."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from browser import chromium
from clips import make_clip
from live_process import TEST_SOURCE, live, run, wait_for_segment
from served import serving
from stock_players import stage, watch

LADDER = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "30s")


@pytest.mark.parametrize("chunk", ["0", "0.5"])
@pytest.mark.parametrize("player", ["dashjs-5", "hls.js"])
async def test_a_stock_player_follows_the_live_edge(player: str, chunk: str, tmp_path: Path):
    name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with live(tmp_path, *TEST_SOURCE, *LADDER, "--chunk", chunk, "--name", "cam"):
            await asyncio.to_thread(wait_for_segment, tmp_path / "cam", 4)
            viewing, page = await watch(browser, theatre, player, f"{url}titles/cam/{name}", stop_s=10.0)
    assert viewing.errors == [] and page.refused == []
    times_s = [media_s for media_s, *_ in viewing.frames]
    assert times_s[-1] == pytest.approx(10.0, abs=1.5) and times_s == sorted(times_s)
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1
    if player == "hls.js":
        assert any(re.search(r"seg-[0-9]+\.[0-9]+\.m4s", url) for url in page.requests) is (chunk != "0")


async def test_a_low_latency_viewer_sees_the_end_of_the_stream(tmp_path: Path):
    source = ("testsrc2=size=320x180:rate=25:duration=9.4[out0];sine=duration=9.4[out1]", "--format", "lavfi", "--pace")
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with live(tmp_path, *source, *LADDER, "--chunk", "0.5", "--name", "cam"):
            await asyncio.to_thread(wait_for_segment, tmp_path / "cam", 2)
            viewing, _ = await watch(browser, theatre, "dashjs-5", f"{url}titles/cam/manifest.mpd")
    assert viewing.errors == []
    assert viewing.frames[-1][0] == pytest.approx(9.36, abs=0.05)


@pytest.mark.parametrize("player", ["dashjs-5", "hls.js"])
async def test_what_the_window_holds_of_an_ended_stream_plays_to_its_end(player: str, tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", frames=250, sound_s=10.0)
    ladder = ("--heights", "64,108", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "4s")
    library = tmp_path / "library"
    assert run(library, str(clip), *ladder, "--name", "cam").returncode == 0
    name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    async with serving(str(library)) as url, stage() as theatre, chromium() as browser:
        viewing, page = await watch(browser, theatre, player, f"{url}titles/cam/{name}")
    assert viewing.errors == [] and page.refused == []
    times_s = [media_s for media_s, *_ in viewing.frames]
    assert times_s[-1] - times_s[0] == pytest.approx(4.0, abs=0.2), "the last four seconds"
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1
