"""The web player on a stream that runs, in a real Chromium: it follows the live edge, and lifts what it is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from browser import Watched, chromium
from live_process import live
from player_page import claim, played, ready, state, until
from served import serving
from viewers import of_kind
from waiting import wait_until

from abr.core.enhancement import Tier
from abr.core.events import Decided, Shown, loads_log
from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.errors import ToprungError
from abr.records import load
from enhancers.networks.catalog import architecture

FILM = Path(__file__).parents[2] / "client_player" / "sample" / "bbb_60s.mp4"
PICTURES = f"movie={FILM}:loop=0,setpts=N/FRAME_RATE/TB,scale=320:180[out0]"
SOURCE = (f"{PICTURES};sine=frequency=440[out1]", "--format", "lavfi", "--pace")
"""Endless."""
TIERS = [(str(architecture(2.0, tier)), ms) for tier, ms in ((Tier.LOW, 100.0), (Tier.MEDIUM, 1e5), (Tier.HIGH, 1e5))]
"""Too slow for a film; the first is quick enough for a picture that stands still."""
LADDER = (*("--heights", "90", "--preset", "ultrafast", "--segment-seconds", "1"), "--chunk", "0.5", "--window", "30s")


async def log_of(page: Watched) -> list:
    text = await page.tab.evaluate("fetch(document.querySelector('#session a').href + '/log').then((a) => a.text())")
    return loads_log(text.encode())


def offers(folder: Path) -> bool:
    try:
        tables = load(folder / TABLES_FILE, LiveTables)
    except ToprungError:
        return False
    return tables.end >= 5 and tables.enhancements is not None and bool(tables.enhancements.enhancers)


async def test_the_page_follows_a_stream_and_lifts_a_picture_of_it(tmp_path: Path):
    """No browser without a GPU lifts a moving picture by the generic networks: one that stands still shows them."""
    async with serving(str(tmp_path)) as url, chromium() as browser:
        with live(tmp_path, *SOURCE, *LADDER, "--measure-share", "1", "--name", "cam"):
            await asyncio.to_thread(wait_until, lambda: offers(tmp_path / "cam"), "an enhancer on offer")
            page = await browser.open(f"{url}qoe")
            await claim(page, TIERS, size_px=(160, 90))
            await page.tab.goto(url)
            await ready(page)
            assert await page.tab.inner_text("#length") == "live"
            await page.tab.click("#begin")
            await until(page, "document.getElementById('state').textContent.includes('s behind the stream')")
            began_s = await page.tab.evaluate("document.getElementById('video').currentTime")
            await played(page, began_s + 4.0)
            behind = await page.tab.inner_text("#now")
            await page.tab.click("#play")
            await until(page, "document.getElementById('badge').textContent.includes('lifted by generic-')")
            log = await log_of(page)
        tables = load(tmp_path / "cam" / TABLES_FILE, LiveTables)
    assert [each for each in page.complaints if "503" not in each] == [], "nothing may come for a while"
    decided = of_kind(log, Decided)
    assert decided[0].segment > 0 and decided[-1].segment <= tables.end, "the one that comes next may be asked for"
    assert {event.rendition for event in decided} == {"90p"}
    latencies_s = [event.latency_s for event in of_kind(log, Shown)]
    assert latencies_s and min(latencies_s) >= tables.latency_s - 0.5, "it keeps its distance"
    assert float(behind.removeprefix("−").removesuffix(" s")) >= tables.latency_s - 0.5


LEARNING = """import("/web/player/status.js").then(({ status }) => status({
    loaded: true, asked: true, began: true, stoodMs: 0, awayMs: 0, bufferS: 5, error: "", measuring: "",
    latencyS: 6.1, learnt: { publications: 2, gain: 2.14 } }).words)"""


ARRIVALS = """import("/web/player/edge/arrivals.js").then(({ Arrivals, heldMs }) => {
    const one = new Arrivals(50), two = new Arrivals(50), three = new Arrivals(50);
    one.piece(1000, 1000), one.piece(9000, 1090), one.caughtUp();  // 100 bytes a millisecond, by the second piece
    one.piece(1000, 1500), one.piece(9000, 1590), one.caughtUp();
    two.piece(10000, 1000, 1100), two.caughtUp();  // carried over a slow network of the page's own
    three.piece(10000, 1000), three.caughtUp(), three.piece(10000, 1500), three.caughtUp();
    return [one.durationMs, two.durationMs, three.durationMs, one.sizeBytes, heldMs("wait;dur=12.5"), heldMs(null)];
})"""


OFFERS = """import("/web/player/profile.js").then(({ jobFor, offersMore }) => {
    const [low, medium, high] = [2, 5, 10].map((depth) => jobFor(`plain-m${depth}c32x2d2`, 160, 90));
    const larger = jobFor("plain-m2c32x2d2", 320, 180);
    return [[[low], [medium]], [[low], [larger]], [[low], [low, high]], [[low, high], [low]], [[low], [low]]].map(
        ([before, wanted]) => offersMore(before, wanted));
})"""


async def test_the_page_plays_what_is_left_of_a_stream_that_has_ended(tmp_path: Path):
    source = ("testsrc2=size=320x180:rate=25:duration=6[out0];sine=duration=6[out1]", "--format", "lavfi")
    with live(tmp_path, *source, *LADDER, "--measure-share", "0", "--name", "cam") as process:
        process.communicate()
    async with serving(str(tmp_path)) as url, chromium() as browser:
        page = await browser.open(url)
        await ready(page)
        await page.tab.click("#begin")
        await state(page, "ended")
        assert "has not been measured" in await page.tab.inner_text("#device")
        log = await log_of(page)
        words, arrivals = await page.tab.evaluate(LEARNING), await page.tab.evaluate(ARRIVALS)
        offers_more = await page.tab.evaluate(OFFERS)
    assert page.complaints == []
    assert words == "Playing live, 6.1 s behind the stream; learning: +2.1 since start."
    assert offers_more == [True, True, True, False, False], "as many others are more, too"
    assert arrivals == [250, 150, 52, 20000, 12.5, 0], "the waits between chunks are not the network's"
    assert [event.segment for event in of_kind(log, Decided)] == [0, 1, 2, 3, 4, 5]
