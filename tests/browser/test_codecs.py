"""Titles in AV1, played by stock players in a real Chromium."""

from __future__ import annotations

import pytest
from browser import chromium
from player_page import played, ready, state
from restless import RESTLESS
from served import serving
from stock_players import decisions, opened_session, stage, watch
from titles import CLIP

from abr.media.video_codecs import VideoCodec
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

MORE = [pytest.param(name, marks=pytest.mark.matrix) for name in ("dashjs-4", "shaka-5", "shaka-4", "hls.js")]
PLAYERS = ("dashjs-5", *MORE)


CANNOT = "MediaSource.isTypeSupported = (type) => !type.includes('av01');"
"""A browser without a decoder of AV1: which codecs Chromium has depends on who built it."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = Library(tmp_path_factory.mktemp("av1"))
    recipe = EncodeSettings(
        codec=VideoCodec.AV1, crf=45, preset="10", heights_px=(90, 180), segment_s=1, vmaf_every=60, panel_every=0
    )
    prepare_title(CLIP, library, recipe, title_id="bbb")
    return library


@pytest.mark.parametrize("player", PLAYERS)
async def test_every_segment_is_shown_at_the_height_that_the_server_chose(player: str, library: Library):
    title = library.title("bbb")
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "bbb")
        manifest = opened["hls_url" if player == "hls.js" else "manifest_url"]
        viewing, page = await watch(browser, theatre, player, url + manifest.removeprefix("/"))
        decided = await decisions(url, opened["id"])
    chosen = {event.segment: {title.rendition(event.rendition).height_px} for event in decided}
    assert viewing.heights(title) == [chosen[segment] for segment in range(len(title.segment_frames))]
    assert viewing.errors == [] and page.complaints == [] and page.refused == []


@pytest.mark.parametrize("player", PLAYERS)
async def test_standard_manifests_play_to_the_end(player: str, library: Library):
    title = library.title("bbb")
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
        viewing, page = await watch(browser, theatre, player, f"{url}titles/bbb/{name}")
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert viewing.frames[-1][0] == pytest.approx(title.duration_s, abs=3 / title.fps)


async def test_our_page_plays_it_and_says_where_a_browser_cannot(library: Library):
    async with serving(str(library.root)) as url, chromium() as browser:
        page = await browser.open(url)
        await ready(page)
        await page.tab.click("#begin")
        await played(page, 3.0)
        assert await page.tab.evaluate("document.querySelector('video').videoWidth") > 0

        await page.tab.context.add_init_script(CANNOT)
        await page.tab.reload()
        await ready(page)
        await page.tab.click("#begin")
        assert "cannot decode the pictures of this film (av01." in await state(page, "failed")
