"""The player page in a viewer's hands: keys, full screen, what is seen before the film begins, links, a phone."""

from __future__ import annotations

import pytest
from browser import Watched, chromium
from lifted import lifted_library
from player_page import played, state, until
from served import serving
from titles import TITLE_ID, prepared_library
from viewers import EAGER

PAUSED = "document.querySelector('video').paused"
SLOWLY = "document.querySelector('video').playbackRate = 0.1"
"""So that a film of some seconds is not over while it is looked at."""
FULL = "document.fullscreenElement?.id"
CONTROLS_SHOWN = "getComputedStyle(document.getElementById('controls')).opacity"
SMALL = """[...document.querySelectorAll('button, select')]
  .filter((each) => each.offsetParent && each.offsetHeight < 44).map((each) => each.id)"""
BELOW = "Math.round(document.getElementById('h-decisions').getBoundingClientRect().top)"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def library() -> str:
    return str(prepared_library().root)


async def begin(page: Watched) -> None:
    await page.tab.wait_for_selector("#begin:enabled")
    await page.tab.click("#begin")
    await played(page, 0.05)
    await page.tab.evaluate(SLOWLY)


async def test_the_space_bar_plays_and_pauses_and_keys_that_choose_in_a_list_do_nothing_else(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(url, height_px=400)
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.keyboard.press("Space")
        await played(page, 0.05)
        await page.tab.evaluate(SLOWLY)
        await page.tab.keyboard.press("Space")
        await until(page, PAUSED)
        assert await page.tab.evaluate("scrollY") == 0, "the page did not scroll by it"
        await page.tab.focus("#mute")
        await page.tab.keyboard.press("Space")
        assert await page.tab.get_attribute("#mute", "aria-pressed") == "true", "a button that has the focus is pressed"
        assert await page.tab.evaluate(PAUSED)
        await page.tab.focus("#network")
        await page.tab.keyboard.press("m")
        assert await page.tab.get_attribute("#mute", "aria-pressed") == "true", "letters choose in a list"


async def test_full_screen_keeps_the_controls_at_hand_and_out_of_the_way(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(url)
        await begin(page)
        await page.tab.click("#full")
        await until(page, f"{FULL} === 'player'")
        for name in ("#play", "#seek", "#full"):
            box = await page.tab.locator(name).bounding_box()
            assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 800, f"{name} is on the screen"
        picture = await page.tab.locator("#video").bounding_box()
        assert picture == {"x": 0, "y": 0, "width": 1280, "height": 800}
        await page.tab.evaluate("document.activeElement.blur()")
        await until(page, f"{CONTROLS_SHOWN} === '0'")
        await page.tab.mouse.move(640, 300)
        await until(page, f"{CONTROLS_SHOWN} === '1'")
        await page.screenshot("player-full-screen")
        await page.tab.click("#play")
        await until(page, PAUSED)
        await page.tab.keyboard.press("f")
        await until(page, f"{FULL} === undefined")
    assert page.complaints == [] or all("enhancements.json" in each for each in page.complaints)


async def test_a_press_on_the_picture_pauses_it_lifted_or_not(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(url)
        await begin(page)
        await page.tab.evaluate("document.getElementById('canvas').hidden = false")
        box = await page.tab.locator("#stage").bounding_box()
        assert box is not None
        await page.tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
        await until(page, PAUSED)


async def test_before_the_film_begins_the_page_shows_what_it_is_and_what_there_is_to_choose(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(url)
        await page.tab.wait_for_selector("#begin:enabled")
        assert await page.tab.title() == f"{TITLE_ID} · Toprung"
        assert await page.tab.is_visible("#poster")
        assert await page.tab.locator("#sounds option").all_inner_texts() == ["Stereo", "5.1"], "in words"
        before = await page.tab.evaluate(BELOW)
        await begin(page)
        await page.tab.wait_for_selector("#poster", state="hidden")
        assert await page.tab.evaluate(BELOW) == before, "nothing moved when the film began"
        assert await page.tab.is_disabled("#enhance"), "this title has nothing to lift it"
        assert await page.tab.inner_text("#hint") == "", "no advice that leads nowhere"
        assert "plays plainly" in await page.tab.inner_text("#device")


async def test_a_link_to_a_title_that_is_not_there_says_so_and_another_can_be_picked(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(f"{url}?title=gone&network=500k")
        assert await state(page, "failed") == "There is no title “gone” here. Pick another above."
        assert not await page.tab.is_visible("#begin")
        await page.tab.select_option("#titles", TITLE_ID)
        await begin(page)
        assert page.tab.url == f"{url}?title={TITLE_ID}&network=500k", "a link to what is watched"


async def test_on_a_phone_nothing_is_cut_off_and_fingers_hit_what_they_aim_at(tmp_path) -> None:
    async with serving(str(lifted_library(tmp_path, slow=False)), EAGER) as url, chromium() as browser:
        context = await browser.inner.new_context(
            viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
        )
        page = Watched(await context.new_page())
        await page.tab.goto(url)
        await begin(page)
        assert await page.tab.evaluate(WIDER) <= 0
        assert await page.tab.evaluate(SMALL) == []
        await page.screenshot("phone-player")


async def test_a_session_that_nobody_knows_says_so_and_shows_no_empty_charts(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(f"{url}qoe/nosuchsession000")
        await page.tab.wait_for_selector("#none:visible")
        assert "no session by this name" in await page.tab.inner_text("#none")
        assert not await page.tab.is_visible("#some")
        watched = await browser.open(url)
        await begin(watched)
        href = await watched.tab.get_attribute("#session a", "href")
        known = await browser.open(str(href))
        await until(known, "/kbit/.test(document.querySelector('#c-rate .u-legend')?.textContent)")
        assert not await known.tab.is_visible("#none")
