"""Protected titles in a real Chromium: stock players that are given the key play them, and nobody else does."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from browser import Browser, Watched, chromium
from player_page import played, ready, state
from playwright.async_api import Route
from protected_titles import KEY, protected_library
from served import serving
from stock_players import Viewing, opened_session, stage, watch_to_the_end

from abr.media.content_keys import dumps_keys

LICENCE = "https://licences.example/clearkey"


async def give_licence(route: Route) -> None:
    allowed = {f"Access-Control-Allow-{what}": "*" for what in ("Origin", "Headers", "Methods")}
    await route.fulfill(body=dumps_keys((KEY,)), headers=allowed)


async def watched(browser: Browser, theatre: str, player: str, source: str, **how: str) -> tuple[Viewing, Watched]:
    """As `watch`, where LICENCE answers."""
    page = await browser.open("about:blank")
    await page.tab.context.route(f"{LICENCE}**", give_licence)
    await page.tab.goto(f"{theatre}play.html?{urlencode({'player': player, 'src': source, **how})}")
    return await watch_to_the_end(page, player, limit_s=30), page


def key_of(player: str) -> dict[str, str]:
    """hls.js is given no keys: it asks for them. Shaka adds CMCD to the data: URL that it makes of keys, and fails."""
    return {"licence": LICENCE} if player == "hls.js" else {"key": f"{KEY.key_id}:{KEY.key}", "cmcd": "off"}


@pytest.mark.parametrize(
    ("player", "manifest", "scheme"),
    [
        ("dashjs-5", "manifest.mpd", "cenc"),
        ("dashjs-5", "manifest.mpd", "cbcs"),
        ("shaka-5", "manifest.mpd", "cbcs"),
        ("shaka-5", "master.m3u8", "cenc"),
        ("hls.js", "master.m3u8", "cenc"),
        ("hls.js", "master.m3u8", "cbcs"),
    ],
)
async def test_a_player_with_the_key_plays_pictures_and_sound(player: str, manifest: str, scheme: str) -> None:
    async with serving(str(protected_library())) as url, stage() as theatre, chromium() as browser:
        viewing, page = await watched(browser, theatre, player, f"{url}titles/{scheme}/{manifest}", **key_of(player))
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert viewing.frames[-1][0] == pytest.approx(2.0, abs=0.13) and viewing.audio_bytes > 0


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_a_session_on_it_plays_rungs_that_share_one_init_segment(player: str) -> None:
    async with serving(str(protected_library())) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "cenc")
        source = url + opened["hls_url" if player == "hls.js" else "manifest_url"].removeprefix("/")
        viewing, _ = await watched(browser, theatre, player, source, **key_of(player))
    assert viewing.errors == [] and len(viewing.frames) > 10 and viewing.audio_bytes > 0


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5"])
async def test_players_ask_where_the_manifest_says(player: str) -> None:
    async with serving(str(protected_library())) as url, stage() as theatre, chromium() as browser:
        viewing, page = await watched(browser, theatre, player, f"{url}titles/licensed/manifest.mpd")
    assert viewing.errors == [] and viewing.audio_bytes > 0 and any(url.startswith(LICENCE) for url in page.requests)


async def test_without_the_key_nothing_is_shown() -> None:
    async with serving(str(protected_library())) as url, stage() as theatre, chromium() as browser:
        viewing, _ = await watched(browser, theatre, "shaka-5", f"{url}titles/cbcs/manifest.mpd")
    assert viewing.errors != [] and viewing.frames == []


async def test_our_page_asks_for_the_key_and_says_why_it_lifts_nothing() -> None:
    async def beside_the_server(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace(LICENCE, "/licence"))

    async with serving(str(protected_library())) as url, chromium() as browser:
        page = await browser.open("about:blank")
        await page.tab.context.route("**/title.json", beside_the_server)
        await page.tab.context.route("**/licence", give_licence)
        await page.tab.goto(f"{url}?title=licensed")
        await ready(page)
        assert "no enhancer can read them" in await page.tab.inner_text("#device")
        assert await page.tab.is_disabled("#enhance")
        await page.tab.click("#begin")
        await played(page, 1.0)
        assert await page.tab.evaluate("document.querySelector('video').videoHeight") in (90, 180)
        assert page.failures == []


async def test_our_page_says_what_it_lacks_where_nobody_gives_the_key() -> None:
    async with serving(str(protected_library())) as url, chromium() as browser:
        page = await browser.open(f"{url}?title=cenc")
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.click("#begin")
        assert "does not say where this page could ask for its key" in await state(page, "failed")
