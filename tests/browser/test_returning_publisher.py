"""Stock players in a real Chromium while a publisher goes and comes back, with other pictures and another sound."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from browser import chromium
from live_process import live, wait_for_segment
from ports import free_port
from served import serving
from stock_players import begin_to_watch, stage, watch_to_the_end
from waiting import wait_until

from abr.quality.vmaf import ffmpeg_program
from server.media.live_title import load_live

LADDER = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "60s")
FIRST_S = 6
STANDS_STILL = "!video.seeking && video.currentTime > 1 && performance.now() - movedMs > 1500"


@contextmanager
def publisher(port: int, pictures: str, sound_hz: int) -> Iterator[None]:
    """FFmpeg publishes at the rate of a camera, until it is done; the listener may come later."""
    source = ["-re", "-f", "lavfi", "-i", f"{pictures}[out0];sine=frequency=440:sample_rate={sound_hz}[out1]"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac", "-ac", "2"]
    command = [ffmpeg_program(), "-v", "error", *source, *coded, "-t", str(FIRST_S), "-f", "flv"]
    process: subprocess.Popen[bytes] | None = None

    def has_begun() -> bool:
        nonlocal process
        process = subprocess.Popen([*command, f"rtmp://127.0.0.1:{port}/live/key"], stderr=subprocess.DEVNULL)
        try:
            return process.wait(1) == 0
        except subprocess.TimeoutExpired:
            return True

    try:
        wait_until(has_begun, "the listener")
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


async def manifest_of(url: str, player: str, *, driven: bool) -> str:
    name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    if not driven:
        return f"{url}titles/cam/{name}"
    async with aiohttp.ClientSession() as pool, pool.post(f"{url}sessions", json={"title": "cam"}) as answer:
        opened = await answer.json()
    return f"{url.rstrip('/')}{opened['hls_url' if player == 'hls.js' else 'manifest_url']}"


CASES = [
    ("dashjs-5", "0", False),
    pytest.param("hls.js", "0.5", False, marks=pytest.mark.matrix),
    ("shaka-5", "0", True),
]


@pytest.mark.parametrize(("player", "chunk", "driven"), CASES)
async def test_a_viewer_waits_at_the_edge_and_goes_on(player: str, chunk: str, driven: bool, tmp_path: Path):
    port, folder = free_port(), tmp_path / "cam"
    address = (f"rtmp://127.0.0.1:{port}/live/key", "--listen", "--measure-share", "0", "--chunk", chunk)
    async with serving(str(tmp_path)) as url, stage() as theatre, chromium() as browser:
        with live(tmp_path, *address, *LADDER, "--name", "cam"):
            with publisher(port, "testsrc2=size=320x180:rate=25", 48000):
                await asyncio.to_thread(wait_for_segment, folder, 2)
                source = await manifest_of(url, player, driven=driven)
                page = await begin_to_watch(browser, theatre, player, source)
                await asyncio.to_thread(wait_until, lambda: load_live(folder).state == "paused", "the break")
            await page.tab.wait_for_function(STANDS_STILL, timeout=60_000)
            reached_s = await page.tab.evaluate("video.currentTime")
            with publisher(port, "testsrc2=size=160x120:rate=30", 44100):
                await page.tab.wait_for_function(f"video.currentTime > {reached_s + 2}", timeout=60_000)
                await page.tab.evaluate("end()")
                viewing = await watch_to_the_end(page, player)
    assert viewing.errors == [] and page.refused == []
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1
    times_s = [media_s for media_s, *_ in viewing.frames]
    before_s = [media_s for media_s in times_s if media_s <= reached_s]
    lost_s = 0.7 if player == "hls.js" and chunk != "0" else 0.3  # it does not fetch the rest of a segment in parts
    assert max(before_s) == pytest.approx(FIRST_S, abs=lost_s), "what came before the break was shown"
    assert max(times_s) > reached_s + 1.9, "and what came after it"
    assert viewing.stalls[0][0] == pytest.approx(reached_s, abs=0.1), "nothing stood still before the edge"
