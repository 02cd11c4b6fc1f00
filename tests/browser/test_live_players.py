"""Players that know nothing of us follow a running stream, in a real Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from browser import chromium
from clips import make_clip
from live_process import TEST_SOURCE, live, run, wait_for_segment
from served import serving
from stock_players import stage, watch

LADDER = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "30s")


@pytest.mark.parametrize("player", ["dashjs-5", "hls.js"])
async def test_a_stock_player_follows_the_live_edge(player: str, tmp_path: Path):
    name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with live(tmp_path, *TEST_SOURCE, *LADDER, "--name", "cam"):
            await asyncio.to_thread(wait_for_segment, tmp_path / "cam", 5)
            viewing, page = await watch(browser, theatre, player, f"{url}titles/cam/{name}", stop_s=16.0)
    assert viewing.errors == [] and page.refused == []
    times_s = [media_s for media_s, *_ in viewing.frames]
    assert times_s[-1] == pytest.approx(16.0, abs=1.5) and times_s == sorted(times_s)
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1


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
