"""What the player page says and does when something is slow, broken or gone, in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from browser import WAIT_MAX_MS, chromium
from lifted import QUICK, generic_library, lifted_library
from player_page import claim, open_measured, played, ready, state, until
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Route
from ports import free_port
from served import serving
from titles import prepared_library, prepared_title
from viewers import EAGER, of_kind

from abr.core.events import Decided, Downloaded, Ended, Started, loads_log
from server.app import create_app
from server.connection import listener
from server.settings import Settings

SOFTWARE_ONLY = ("--disable-3d-apis",)
"""Neither WebGPU nor WebGL: what an old machine or a locked-down browser has."""
STALLS = "Number(document.getElementById('t-stalls-more').textContent.split(' ')[0])"
CHANGED = """() => {
  const [video, canvas] = ["video", "canvas"].map((id) => document.getElementById(id));
  const pixels = (from) => {
    const to = new OffscreenCanvas(320, 180).getContext("2d");
    to.drawImage(from, 0, 0, 320, 180);
    return to.getImageData(0, 0, 320, 180).data;
  };
  const [plain, lifted] = [video, canvas].map(pixels);
  let [shift, change] = [0, 0];
  plain.forEach((value, at) => {
    shift += (lifted[at] - value) / plain.length;
    change += Math.abs(lifted[at] - value) / plain.length;
  });
  return { shift, change };
}"""


@asynccontextmanager
async def server_at(port: int, library: str) -> AsyncIterator[str]:
    """A server that can come back at the same address; like any that was started again, it knows no older session."""
    settings = Settings(library=library, port=port, controller=next(iter(EAGER)), shutdown_timeout_s=0.1)
    async with listener.listening(create_app(settings, registry=EAGER), "127.0.0.1", port):
        yield f"http://127.0.0.1:{port}/"


@pytest.mark.timeout(180)
async def test_when_the_server_goes_away_the_page_says_so_counts_the_stall_and_goes_on_when_it_is_back(tmp_path):
    library, port = str(lifted_library(tmp_path, slow=False)), free_port()
    async with chromium() as browser:
        async with server_at(port, library) as url:
            page = await open_measured(browser, f"{url}?network=500k")
            await page.tab.wait_for_selector("#begin:enabled")
            await page.tab.click("#begin")
            await played(page, 0.1)
            first = await page.tab.get_attribute("#session a", "href")
        words = await state(page, "unreachable")
        assert "The server has not answered for" in words and "The page keeps trying" in words
        assert await page.tab.is_visible("#retry")
        await until(page, "/stood still/.test(document.getElementById('state').textContent)")
        await until(page, f"{STALLS} > 1")
        before = await page.tab.evaluate(STALLS)
        await until(page, f"{STALLS} > {before + 0.5}")
        assert int(await page.tab.inner_text("#t-stalls")) >= 1, "counted while it lasts"
        assert await page.tab.is_visible("#notice"), "it is said over the picture that stands still"
        await page.screenshot("player-unreachable")
        async with server_at(port, library):
            words = await state(page, "ended")
            assert words == "The film is over."
            assert await page.tab.get_attribute("#session a", "href") != first, "the lost session was replaced"
            assert await page.tab.evaluate(STALLS) >= before
            assert await page.tab.inner_text("#retry") == "Play again"
            await page.tab.click("#retry")
            await until(
                page, "document.getElementById('video').currentTime < 3 && !document.getElementById('video').paused"
            )


@pytest.mark.timeout(120)
async def test_a_film_that_is_asked_for_while_the_server_is_away_plays_when_it_is_back(tmp_path):
    library, port = str(lifted_library(tmp_path, slow=False)), free_port()
    async with chromium() as browser:
        async with server_at(port, library) as url:
            page = await open_measured(browser, url)
            await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.keyboard.press("k")
        await state(page, "unreachable")
        assert await page.tab.is_visible("#retry")
        async with server_at(port, library):
            await played(page, 0.5)


@pytest.mark.timeout(120)
async def test_a_server_that_takes_requests_and_never_answers_is_told_of(tmp_path):
    async with serving(str(lifted_library(tmp_path, slow=False)), EAGER) as url, chromium() as browser:
        page = await open_measured(browser, f"{url}?network=500k")
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.click("#begin")
        await played(page, 0.1)
        silent = asyncio.Event()
        held: list[Route] = []

        async def hold(route: Route) -> None:
            held.append(route)
            await silent.wait()
            with suppress(PlaywrightError):  # the page may have given it up meanwhile
                await route.abort()

        await page.tab.route("**/sessions/**", hold)
        words = await state(page, "unreachable")
        assert "has not answered" in words
        await until(page, f"{STALLS} > 0.5")
        silent.set()
        await page.tab.unroute("**/sessions/**")
        await state(page, "ended")
        assert held


@pytest.mark.timeout(120)
async def test_a_film_that_the_browser_cannot_decode_stops_with_a_reason_and_can_be_tried_again(tmp_path):
    async with serving(str(lifted_library(tmp_path, slow=False)), EAGER) as url, chromium() as browser:
        page = await open_measured(browser, url)
        await page.tab.wait_for_selector("#begin:enabled")

        whole = asyncio.Event()

        async def damage(route: Route) -> None:
            with suppress(PlaywrightError):  # the page may have given it up meanwhile
                answer = await route.fetch()
                body = await answer.body()
                kept = len(body) if whole.is_set() else 200
                await route.fulfill(response=answer, body=body[:kept] + bytes(len(body) - kept))

        await page.tab.route("**/video/*.m4s*", damage)
        await page.tab.click("#begin")
        words = await state(page, "failed")
        assert words.startswith("The film stopped: this browser cannot decode it ("), words
        await page.screenshot("player-failed")
        whole.set()  # the route stays: a request may be held for good while one is taken away
        await page.tab.click("#retry")
        await played(page, 0.5)
        await until(page, "['playing', 'measuring', 'ended'].includes(document.body.dataset.state)")


@pytest.mark.timeout(120)
async def test_a_first_picture_that_does_not_come_is_told_of_and_can_be_asked_for_again(tmp_path):
    async with serving(str(lifted_library(tmp_path, slow=False)), EAGER) as url, chromium() as browser:
        page = await open_measured(browser, url)
        await page.tab.clock.install()
        await page.tab.goto(url)
        await page.tab.wait_for_selector("#begin:enabled")
        late = asyncio.Event()

        async def hold(route: Route) -> None:
            await late.wait()
            with suppress(PlaywrightError):  # the page has given it up meanwhile
                await route.continue_()

        await page.tab.route("**/video/*.m4s*", hold)
        await page.tab.click("#begin")
        assert "the first picture is on its way" in await state(page, "connecting")
        assert not await page.tab.is_visible("#retry")
        await page.tab.clock.fast_forward(20_000)
        await page.tab.wait_for_selector("#retry:visible")
        assert "the first picture has not come for" in await page.tab.inner_text("#state")
        late.set()
        await page.tab.click("#retry")
        await played(page, 0.5)


@pytest.mark.timeout(120)
async def test_play_and_k_work_before_the_device_is_measured_and_the_measurement_is_heeded_without_a_break(tmp_path):
    library = str(lifted_library(tmp_path, slow=False))
    async with serving(library, EAGER) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        await claim(page, [(QUICK, 3.0)])
        measured = asyncio.Event()

        async def hold(route: Route) -> None:
            await measured.wait()
            await route.continue_()

        await page.tab.route("**/worker.js", hold)
        await page.tab.goto(f"{url}?network=500k")
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.keyboard.press("k")
        await played(page, 0.2)
        assert await page.tab.get_attribute("body", "data-measured") is None
        assert "Looking at this device" in await state(page, "measuring")
        first = await page.tab.get_attribute("#session a", "href")
        measured.set()
        await page.tab.wait_for_selector("body[data-measured]")
        await until(page, f"document.querySelector('#session a').getAttribute('href') !== '{first}'")
        await state(page, "ended")
        log = loads_log((await page.tab.evaluate(f"fetch('{first}/log').then((a) => a.text())")).encode())
        assert of_kind(log, Ended)[0].reason == "measured"


@pytest.mark.timeout(180)
async def test_who_switches_enhancement_off_is_offered_none_and_the_switch_holds(tmp_path):
    library = str(lifted_library(tmp_path, slow=False))
    async with serving(library, EAGER) as url, chromium(software_gpu=True) as browser:
        page = await open_measured(browser, f"{url}?network=500k")
        await ready(page)
        await page.tab.click("#begin")
        await played(page, 0.2)
        async with page.tab.expect_request(f"{url}sessions") as off:
            await page.tab.keyboard.press("e")
        assert (await off.value).post_data_json["families"] == []
        async with page.tab.expect_request(f"{url}sessions") as on:
            await page.tab.keyboard.press("e")
        assert "families" not in (await on.value).post_data_json
        await page.tab.keyboard.press("e")
        await page.tab.reload()
        await ready(page)
        assert await page.tab.get_attribute("#enhance", "aria-pressed") == "false"
        await page.tab.click("#begin")
        await state(page, "ended")
        assert "plain" in await page.tab.inner_text("#badge")
        shown = await page.tab.get_attribute("#session a", "href")
        log = loads_log((await page.tab.evaluate(f"fetch('{shown}/log').then((a) => a.text())")).encode())
    assert {event.enhancer for event in of_kind(log, Decided)} == {"none"}
    assert page.complaints == []


@pytest.mark.parametrize("without", [(), SOFTWARE_ONLY], ids=["as it comes", "without 3D"])
@pytest.mark.timeout(180)
async def test_a_paused_frame_is_lifted_on_a_machine_without_a_gpu(tmp_path, without):
    """By a network as large as those that `train` makes."""
    library = str(generic_library(tmp_path))
    async with serving(library, EAGER) as url, chromium(without=without) as browser:
        page = await browser.open(url)
        await ready(page)
        assert "Pause to see a frame lifted" in await page.tab.inner_text("#device")
        await page.tab.click("#begin")
        await played(page, 0.5)
        await until(page, "/Pause to see a frame lifted/.test(document.getElementById('hint').textContent)")
        await page.tab.keyboard.press("k")
        await until(page, "/lifting this frame with generic-low/.test(document.getElementById('badge').textContent)")
        await page.tab.wait_for_selector("#canvas:not([hidden])", timeout=WAIT_MAX_MS)
        assert "180p lifted by generic-low in" in await page.tab.inner_text("#badge")
        assert await page.tab.inner_text("#hint") == "", "there is nothing left to advise"
        assert "180p →" in await page.tab.inner_text("#t-picture")
        told = await page.tab.evaluate(CHANGED)
        print(told, await page.tab.inner_text("#badge"))
        assert told["change"] > 0.2, "the canvas shows what the network added"
        assert abs(told["shift"]) < 2.0, "in the colours of the video"
        await page.tab.click("#compare")
        await page.screenshot("player-paused-without-gpu")
        await page.tab.keyboard.press("k")
        await until(page, "document.getElementById('canvas').hidden")
    assert page.complaints == []


@pytest.mark.timeout(120)
async def test_the_top_rung_says_why_nothing_is_lifted_and_a_slow_network_is_what_the_server_hears_of(tmp_path):
    async with serving(str(lifted_library(tmp_path, slow=False))) as url, chromium() as browser:
        page = await browser.open(url)
        await ready(page)
        await page.tab.click("#begin")
        await until(page, "/top rung, so there is nothing to lift/.test(document.getElementById('hint').textContent)")
        await page.screenshot("player-top-rung")
        first = await page.tab.get_attribute("#session a", "href")
        await page.tab.select_option("#network", label="0.5 Mbit/s")
        await until(page, f"document.querySelector('#session a').getAttribute('href') !== '{first}'")
        await state(page, "ended")
        shown = await page.tab.get_attribute("#session a", "href")
        log = loads_log((await page.tab.evaluate(f"fetch('{shown}/log').then((a) => a.text())")).encode())
    assert of_kind(log, Started)[0].network == "0.5 Mbit/s"
    came = [event for event in of_kind(log, Downloaded) if event.kind == "video"]
    assert came
    assert all(8 * event.size_bytes / event.duration_s < 520_000 for event in came)


async def test_the_link_carries_what_it_says_one_download_after_the_other():
    """In the page's own code, without a clock."""
    async with serving(".") as url, chromium() as browser:
        page = await browser.open(f"{url}qoe")
        told = await page.tab.evaluate(
            """async () => {
              const { Link } = await import("/web/player/link.js");
              const even = new Link("1m", 0);
              const first = [even.arrivesMs(125_000, 0), even.arrivesMs(125_000, 500), even.arrivesMs(125_000, 9000)];
              const changing = new Link("3g", 0);
              const bytes = 125 * (5 * 600 + 5 * 900) * 1; // ten seconds of it
              const asItIs = new Link("", 0).arrivesMs(1e9, 7);
              return { first, wholeMs: changing.arrivesMs(bytes, -changing.latencyMs), asItIs };
            }"""
        )
    assert told["first"] == [1040, 2040, 10040]
    assert told["wholeMs"] == pytest.approx(10_000)
    assert told["asItIs"] == 7


async def test_rungs_whose_pixels_are_not_quite_square_can_be_lifted_as_well() -> None:
    """Every rung of a real title, as Chromium shows it: a 240p of 426 samples is told to be 427 wide."""
    title, _ = prepared_title()
    rungs = [[each.id, each.width_px, each.height_px] for each in title.renditions]
    async with serving(str(prepared_library().root)) as url, chromium() as browser:
        page = await browser.open(f"{url}qoe")
        told = await page.tab.evaluate(
            """async (rungs) => {
              const { fits } = await import("/web/player/choices.js");
              const told = [];
              for (const [rung, widthPx, heightPx] of rungs) {
                const parts = ["init.mp4", "seg-00001.m4s"].map(
                  async (name) => (await fetch(`/titles/bbb/video/${rung}/${name}`)).blob());
                const video = document.createElement("video");
                const loaded = new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
                video.src = URL.createObjectURL(new Blob(await Promise.all(parts), { type: "video/mp4" }));
                await loaded;
                told.push([rung, fits({ widthPx, heightPx }, video), fits({ widthPx: 100, heightPx }, video)]);
              }
              return told;
            }""",
            rungs,
        )
    assert told == [[rung, True, False] for rung, _, _ in rungs]
