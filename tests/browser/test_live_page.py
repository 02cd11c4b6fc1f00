"""The web player on a stream that runs, in a real Chromium: it follows the live edge, and lifts what it is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from browser import Watched, chromium
from live_process import live
from player_page import played, ready, state, until
from served import serving
from viewers import of_kind
from waiting import wait_until

from abr.core.enhancement import Tier
from abr.core.events import Decided, Shown, loads_log
from abr.core.live_tables import TABLES_FILE, LiveTables
from abr.errors import ToprungError
from abr.records import load
from enhancers.networks import catalog

FILM = Path(__file__).parents[2] / "client_player" / "sample" / "bbb_60s.mp4"
PICTURES = f"movie={FILM}:loop=0,setpts=N/FRAME_RATE/TB,scale=320:180[out0]"
SOURCE = (f"{PICTURES};sine=frequency=440[out1]", "--format", "lavfi", "--pace")
"""Endless."""
LADDER = ("--heights", "90", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "30s")
CLAIM = """async (names) => {
  const { Thread } = await import("/web/player/thread.js");
  const kinds = await new Thread().ask("kinds");
  const measurements = names.map((architecture) => (
    { architecture, width_px: 160, height_px: 90, backend: "webgpu", threads: 1, p50_ms: 3, p95_ms: 5 }));
  const kept = { kind: "WebGPU", adapter: "a quick device", measurements, kinds: JSON.stringify(kinds) };
  localStorage.setItem("toprung.profile.1", JSON.stringify(kept));
}"""
"""Have the page believe that it measured these networks on 90 lines before."""


async def log_of(page: Watched) -> list:
    text = await page.tab.evaluate("fetch(document.querySelector('#session a').href + '/log').then((a) => a.text())")
    return loads_log(text.encode())


def offers(folder: Path) -> bool:
    try:
        tables = load(folder / TABLES_FILE, LiveTables)
    except ToprungError:
        return False
    return tables.end >= 5 and tables.enhancements is not None and bool(tables.enhancements.enhancers)


async def test_the_page_follows_a_stream_with_decided_segments_and_lifted_pictures(tmp_path: Path):
    async with serving(str(tmp_path)) as url, chromium(software_gpu=True) as browser:
        with live(tmp_path, *SOURCE, *LADDER, "--measure-share", "1", "--name", "cam"):
            await asyncio.to_thread(wait_until, lambda: offers(tmp_path / "cam"), "an enhancer on offer")
            page = await browser.open(url)
            await ready(page)
            names = [str(catalog.architecture(2.0, tier)) for tier in (Tier.LOW, Tier.MEDIUM, Tier.HIGH)]
            await page.tab.evaluate(CLAIM, names)
            await page.tab.reload()
            await ready(page)
            assert await page.tab.inner_text("#length") == "live"
            await page.tab.click("#begin")
            words = await state(page, "playing")
            assert "behind the stream" in words
            began_s = await page.tab.evaluate("document.getElementById('video').currentTime")
            await played(page, began_s + 6.0)
            await until(page, "Number(document.getElementById('t-share-more').textContent.split(' ')[0]) > 0")
            behind = await page.tab.inner_text("#now")
            log = await log_of(page)
        tables = load(tmp_path / "cam" / TABLES_FILE, LiveTables)
    assert page.complaints == []
    decided = of_kind(log, Decided)
    assert decided[0].segment > 0 and decided[-1].segment < tables.end
    assert {event.rendition for event in decided} == {"90p"}
    assert any(event.enhancer.startswith("generic-") for event in decided)
    latencies_s = [event.latency_s for event in of_kind(log, Shown)]
    assert latencies_s and all(latency_s >= 2.0 for latency_s in latencies_s), "it keeps its distance"
    assert float(behind.removeprefix("−").removesuffix(" s")) == pytest.approx(latencies_s[-1], abs=3.0)


async def test_the_page_plays_what_is_left_of_a_stream_that_has_ended(tmp_path: Path):
    source = ("testsrc2=size=320x180:rate=25:duration=6[out0];sine=duration=6[out1]", "--format", "lavfi")
    with live(tmp_path, *source, *LADDER, "--measure-share", "0", "--name", "cam") as process:
        process.communicate()
    async with serving(str(tmp_path)) as url, chromium() as browser:
        page = await browser.open(url)
        await ready(page)
        await page.tab.click("#begin")
        await state(page, "ended")
        log = await log_of(page)
    assert page.complaints == []
    assert [event.segment for event in of_kind(log, Decided)] == [0, 1, 2, 3, 4, 5]
