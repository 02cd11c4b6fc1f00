"""The web player in a real Chromium: it plays, enhances, steps down in time, and speaks to nobody but its server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import Browser, Watched, chromium
from lifted import QUICK, SLOW, lifted_library
from player_page import claim, log_of_ended, open_measured, played, ready, until
from served import serving
from viewers import EAGER, of_kind

from abr.core.events import Decided, Downloaded, Ended, Playing, Shown, Stalled, Started, Stepped

WATCH = """() => {
  const video = document.getElementById("video");
  window.seen = { waits: 0, gapMs: 0 };
  let lastMs = 0;
  const next = (nowMs) => {
    if (lastMs) seen.gapMs = Math.max(seen.gapMs, nowMs - lastMs);
    lastMs = nowMs;
    video.requestVideoFrameCallback(next);
  };
  video.addEventListener("playing", () => { if (!lastMs) video.requestVideoFrameCallback(next); });
  video.addEventListener("waiting", () => { if (lastMs) seen.waits++; });
}"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(lifted_library(tmp_path_factory.mktemp("lifted")))


def spoke_only_to(page: Watched, url: str) -> None:
    assert [asked for asked in page.requests if not asked.startswith((url, f"blob:{url.rstrip('/')}"))] == []
    assert page.complaints == [], "a refused script or style would be heard here too"
    assert page.refused == []


async def test_a_device_that_has_become_slow_steps_down_within_a_second_and_plays_on(library):
    async with serving(library, EAGER) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(url)
        await ready(page)
        told = await page.tab.inner_text("#device")
        assert "frames a second" in told and "swiftshader" in told.lower(), "measured on what there is"
        print(told)
        await claim(page, [(QUICK, 3.0), (SLOW, 5.0)])
        await page.tab.reload()
        await ready(page)
        await page.tab.evaluate(WATCH)
        await page.tab.click("#begin")
        await until(page, "performance.getEntriesByType('mark').some((mark) => mark.name.includes('stepped'))")
        await page.tab.wait_for_selector("#badge.stepped")
        began_s, began_wall_s = await clocks(page)
        marks = {m["name"]: m["startTime"] for m in await marks_of(page)}
        stepped = next(name for name in marks if "stepped from content-high" in name)
        took_ms = marks[stepped] - marks["toprung: content-high ready"]
        await played(page, 4.0)
        now_s, now_wall_s = await clocks(page)
        seen = await page.tab.evaluate("seen")
        played_s, passed_s = now_s - began_s, now_wall_s - began_wall_s
        print(f"stepped down after {took_ms:.0f} ms; {seen}; of {passed_s:.2f} s played {played_s:.2f}")
        assert took_ms <= 1000
        assert seen["waits"] == 0
        assert played_s > 0.95 * passed_s - 0.1, "the film goes on at its own pace"
        await still_frame(page)
        await watched_live(browser, url, page)
        events = await log_of_ended(page)
    spoke_only_to(page, url)
    assert not of_kind(events, Stalled)
    assert of_kind(events, Stepped)[0].from_enhancer == "content-high"
    assert {event.enhancer for event in of_kind(events, Decided)} == {"content-high"}
    shown = of_kind(events, Shown)
    assert [event.segment for event in shown] == sorted({event.segment for event in shown})
    assert all(event.frames == event.enhanced_frames + event.plain_frames for event in shown)
    assert sum(event.late_frames for event in shown) == 0
    kinds = {event.kind for event in of_kind(events, Downloaded)}
    assert {"video", "weights"} <= kinds
    assert of_kind(events, Playing) and of_kind(events, Started) and of_kind(events, Ended)


async def test_the_group_in_the_address_of_the_page_is_told_to_the_server(library):
    async with serving(library, EAGER) as url, chromium() as browser:
        page = await open_measured(browser, url, claims=[(QUICK, 3.0), (SLOW, 300.0)])
        for query, group in (("", None), ("?group=our+flat", "our flat")):
            await page.tab.goto(f"{url}{query}")
            await page.tab.wait_for_selector("#begin:enabled")
            async with page.tab.expect_request(f"{url}sessions") as asked:
                await page.tab.click("#begin")
            assert (await asked.value).post_data_json.get("group") == group


async def clocks(page: Watched) -> tuple[float, float]:
    now_s, wall_ms = await page.tab.evaluate("[document.getElementById('video').currentTime, performance.now()]")
    return now_s, wall_ms / 1000


async def marks_of(page: Watched) -> list[dict]:
    told = await page.tab.evaluate("JSON.stringify(performance.getEntriesByType('mark'))")
    return json.loads(told)


async def still_frame(page: Watched) -> None:
    """Paused with the split open, a frame is lifted however slow the device is."""
    await page.tab.keyboard.press("k")
    await page.tab.click("#compare")
    await page.tab.wait_for_selector("#canvas:not([hidden])")
    assert "content-high" in await page.tab.inner_text("#badge")
    at = page.tab.locator("#at")
    await at.focus()
    await at.press("Home")
    assert (
        await page.tab.evaluate("getComputedStyle(document.getElementById('stage')).getPropertyValue('--at')") == "0%"
    )
    await at.press("PageUp")
    await page.screenshot("player-split")


async def watched_live(browser: Browser, url: str, page: Watched) -> None:
    """What the QoE pages tell of the session that plays in the other tab."""
    live = await browser.open(f"{url}qoe")
    link = live.tab.locator("#rows a").first
    await link.wait_for()
    assert await link.inner_text() == await page.tab.inner_text("#session a")
    assert await live.tab.inner_text("#t-now") == "1"
    await live.tab.wait_for_selector("#log li:has-text('stepped from content-high')")
    assert "eager: the best of the lowest" in await live.tab.inner_text("#log"), "each decision with its reason"
    assert await live.tab.locator(".uplot").count() == 3
    await live.screenshot("qoe")
    await link.click()
    await live.tab.wait_for_selector("#rows tr:has-text('180p + content-high')")
    assert "stepped from content-high" in await live.tab.inner_text("#log")
    assert await live.tab.inner_text("#t-stalls") == "0.0 s"
    await live.screenshot("session")
    spoke_only_to(live, url)


async def test_pages_work_by_keyboard_at_phone_width_in_the_dark(tmp_path):
    library = str(lifted_library(tmp_path, slow=False))
    async with serving(library, EAGER) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe", width_px=360, height_px=740, dark=True)
        await claim(page, [(QUICK, 3.0)])
        await page.tab.goto(url)
        await ready(page)
        await page.tab.evaluate(
            "document.getElementById('video').defaultPlaybackRate = 0.25"
        )  # a busy machine has time
        await focus(page, "begin")
        await page.tab.keyboard.press("Enter")
        await until(page, "/^[1-9]/.test(document.getElementById('t-share-more').textContent)")
        await until(page, "!document.getElementById('canvas').hidden")
        await focus(page, "play")
        await page.tab.keyboard.press("Enter")
        assert await page.tab.evaluate("document.getElementById('video').paused")
        await page.tab.keyboard.press("m")
        assert await page.tab.get_attribute("#mute", "aria-pressed") == "true"
        await focus(page, "ladder")
        await page.tab.keyboard.press("Home")
        assert (await page.tab.inner_text("#why")).startswith("Segment 1:")
        pages = [page, await browser.open(f"{url}qoe", width_px=360, height_px=740, dark=True)]
        await pages[1].tab.wait_for_selector("#rows a")
        link = await pages[1].tab.get_attribute("#rows a", "href")
        pages.append(await browser.open(f"{url}{link.lstrip('/')}", width_px=360, height_px=740, dark=True))
        await pages[2].tab.wait_for_selector("#rows tr")
        for name, each in zip(("phone-player", "phone-qoe", "phone-session"), pages, strict=True):
            await each.screenshot(name)
            wide = await each.tab.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} scrolls sideways"
            paper = await each.tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert max(int(part) for part in paper[4:-1].split(",")) < 60, "dark mode"
            spoke_only_to(each, url)


async def focus(page: Watched, wanted: str) -> None:
    """Reach an element with the Tab key alone, and see that it shows where the focus is."""
    for _ in range(30):
        await page.tab.keyboard.press("Tab")
        if await page.tab.evaluate("document.activeElement.id") == wanted:
            style = await page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert style != "none", f"focus on {wanted} cannot be seen"
            return
    raise AssertionError(f"{wanted} cannot be reached with the Tab key")


async def test_the_keeper_judges_within_a_second_and_forgives_a_slip():
    """In the page's own code, without a clock: 24 frames a second, of which every n-th is late."""
    async with serving(str(Path(__file__).parent)) as url, chromium() as browser:
        page = await browser.open(f"{url}qoe")
        told = await page.tab.evaluate(
            """async () => {
              const { Keeper } = await import("/web/player/keeper.js");
              const all = [{ name: "high", costMs: 20 }, { name: "medium", costMs: 12 }, { name: "low", costMs: 4 }];
              const after = (late) => {
                const keeper = new Keeper(1000 / 24);
                for (let frame = 0; frame < 480; frame++) {
                  const nowMs = frame * 1000 / 24;
                  keeper.pick(all, nowMs);
                  const isLate = late(frame);
                  if (!keeper.saw({ inTime: !isLate, tookMs: isLate ? 60 : 20 }, nowMs)) continue;
                  keeper.bar(all, nowMs);
                  return [nowMs, keeper.pick(all, nowMs)?.name ?? "none", keeper.pick(all, nowMs + 61e3)?.name];
                }
                return null;
              };
              const hopeless = new Keeper(1000 / 24);
              hopeless.pick(all, 0);
              return {
                always: after(() => true),
                everyOther: after((frame) => frame % 2),
                once: after((frame) => frame === 100),
                everySixth: after((frame) => frame % 6 === 0),
                hopeless: hopeless.saw({ inTime: false, tookMs: 300 }, 0),
              };
            }"""
        )
    for kind in ("always", "everyOther"):
        at_ms, to, later = told[kind]
        assert at_ms <= 1000
        assert to == "low", "medium would be too slow as well, three times slower than it was measured"
        assert later == "high", "tried again after a minute"
    assert told["once"] is None and told["everySixth"] is None
    assert "300 ms" in told["hopeless"]
