"""Thumbnails on the seek bar of our page, and in stock players, in a real Chromium."""

from __future__ import annotations

import pytest
from browser import chromium
from many_tracks import write_film
from player_page import played
from served import serving
from stock_players import begin_to_watch, opened_session, stage

from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

SHEET = "/thumbnails/sheet-00001.jpg"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eleven seconds: pictures of 0, 5 and 10 s in one row."""
    folder = tmp_path_factory.mktemp("thumbnails")
    recipe = EncodeSettings(heights_px=(90,), preset="ultrafast", vmaf_every=60, panel_every=0)
    film = write_film(folder / "film.mkv", seconds=11)
    prepare_title(film, Library(folder / "library"), recipe, title_id="film")
    return str(folder / "library")


async def test_the_page_shows_what_is_where_the_pointer_is(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(url)
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.click("#begin")
        await played(page, 0.1)
        bar = await page.tab.locator("#seek").bounding_box()
        assert bar is not None
        for share, caption, position in (
            (0.01, "0:00 · The hello, “ä”", "0px 0px"),
            (0.6, "0:06 · Chapter 2", "-192px 0px"),
            (0.99, "0:10 · Chapter 2", "-384px 0px"),
        ):
            await page.tab.mouse.move(bar["x"] + share * bar["width"], bar["y"] + bar["height"] / 2)
            await page.tab.wait_for_selector("#preview:visible")
            assert await page.tab.inner_text("#preview-at") == caption
            assert await page.tab.evaluate("document.getElementById('preview').style.backgroundPosition") == position
            preview = await page.tab.locator("#preview").bounding_box()
            assert preview is not None and preview["y"] + preview["height"] <= bar["y"]
        await page.screenshot("player-preview")
        assert await page.tab.evaluate("[...document.getElementById('chapter-marks').options].map(o => o.value)") == [
            "0",
            "4",
        ]
        await page.tab.select_option("#chapters", label="Chapter 2")
        await played(page, 4.0)
        assert await page.tab.evaluate("document.querySelector('video').currentTime") < 8
        await page.tab.mouse.move(bar["x"], 5)
        await page.tab.wait_for_selector("#preview", state="hidden")
        assert sum(SHEET in request for request in page.requests) == 1, "fetched once, by the version's own URL"
        assert not page.failures, page.failures


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "shaka-5 HLS"])
@pytest.mark.parametrize("session", [True, False])
async def test_stock_players_find_the_picture_of_an_instant(library: str, player: str, session: bool) -> None:
    is_hls = player.endswith("HLS")
    async with serving(library) as url, stage() as theatre, chromium() as browser:
        if session:
            opened = await opened_session(url, "film")
            source = url + opened["hls_url" if is_hls else "manifest_url"].removeprefix("/")
        else:
            source = f"{url}titles/film/{'master.m3u8' if is_hls else 'manifest.mpd'}"
        page = await begin_to_watch(browser, theatre, player.split()[0], source, thumbnail="6")
        await page.tab.wait_for_function("seen.thumbnail || seen.errors.length")
        seen = await page.tab.evaluate("seen")
        found = seen["thumbnail"]
        assert seen["errors"] == [], seen
        assert (found["x"], found["y"], found["width"], found["height"]) == (192, 0, 192, 108)
        assert found["url"].endswith(SHEET)
        if is_hls:
            assert seen["chapters"] == [["The hello, “ä”", 0, 4], ["Chapter 2", 4, 11]]
        fetched = await page.tab.evaluate(
            "fetch(seen.thumbnail.url).then(answer => [answer.status, answer.headers.get('content-type')])"
        )
        assert fetched == [200, "image/jpeg"]
