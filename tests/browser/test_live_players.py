"""Players that know nothing of us follow a running stream, in a real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from live_process import TEST_SOURCE, live, wait_for_segment
from served import serving
from stock_players import stage, watch

LADDER = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "30s")


@pytest.mark.parametrize("player", ["dashjs-5", "hls.js"])
async def test_a_stock_player_follows_the_live_edge(player: str, tmp_path: Path):
    name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    with live(tmp_path, *TEST_SOURCE, *LADDER, "--name", "cam"):
        wait_for_segment(tmp_path / "cam", 5)
        async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
            viewing, page = await watch(browser, theatre, player, f"{url}titles/cam/{name}", stop_s=14.0)
    assert viewing.errors == [] and page.refused == []
    times_s = [media_s for media_s, *_ in viewing.frames]
    assert times_s[-1] == pytest.approx(14.0, abs=1.5) and times_s == sorted(times_s)
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1
