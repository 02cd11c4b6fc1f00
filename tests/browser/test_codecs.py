"""A title in several codecs, played by our page and by stock players in a real Chromium.

This Chromium decodes H.264 and AV1, and no HEVC.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from player_page import played, ready, state
from restless import RESTLESS
from served import serving
from stock_players import decisions, opened_session, stage, watch
from titles import TITLE_ID, mixed_library, write_in_codec

from abr.media.video_codecs import VideoCodec
from server.media.library import Library

MORE = [pytest.param(name, marks=pytest.mark.matrix) for name in ("dashjs-4", "shaka-5", "shaka-4", "hls.js")]
PLAYERS = ("dashjs-5", *MORE)
NO_AV1 = "MediaSource.isTypeSupported = (type) => !type.includes('av01');"
"""A browser without a decoder of AV1: which codecs Chromium has depends on who built it."""


@pytest.fixture(scope="module")
def library() -> Library:
    return mixed_library()


@pytest.mark.parametrize("player", PLAYERS)
async def test_every_segment_is_shown_at_the_height_that_the_server_chose(player: str, library: Library):
    title = library.title(TITLE_ID)
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, TITLE_ID, codecs=["h264", "av1"])
        manifest = opened["hls_url" if player == "hls.js" else "manifest_url"]
        viewing, page = await watch(browser, theatre, player, url + manifest.removeprefix("/"))
        decided = await decisions(url, opened["id"])
    assert all(event.rendition.endswith("-av1") for event in decided)
    chosen = {event.segment: {title.rendition(event.rendition).height_px} for event in decided}
    assert viewing.heights(title) == [chosen[segment] for segment in range(len(title.segment_frames))]
    assert viewing.errors == [] and page.complaints == [] and page.refused == []


@pytest.mark.parametrize("player", PLAYERS)
async def test_standard_manifests_play_to_the_end_in_one_codec_that_the_browser_decodes(player: str, library: Library):
    title = library.title(TITLE_ID)
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
        viewing, page = await watch(browser, theatre, player, f"{url}titles/{TITLE_ID}/{name}")
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert viewing.frames[-1][0] == pytest.approx(title.duration_s, abs=3 / title.fps)
    asked = {
        asked.split("/")[-2].partition("-")[2] for asked in page.requests if "/video/" in asked and "/seg-" in asked
    }
    assert len(asked) == 1 and asked <= {"", "av1"}


async def test_our_page_plays_what_its_browser_decodes_and_says_where_that_is_nothing(tmp_path: Path, library: Library):
    async with serving(str(library.root)) as url, chromium() as browser:
        page = await browser.open(url)
        for codec in ("av1", "h264"):
            await ready(page)
            await page.tab.click("#begin")
            await played(page, 2.0)
            decided = await page.tab.inner_text("#why")
            assert ("p-av1" in decided) == (codec == "av1"), decided
            await page.tab.context.add_init_script(NO_AV1)
            await page.tab.reload()

    alone = write_in_codec(VideoCodec.AV1, tmp_path)
    async with serving(str(alone.root)) as url, chromium() as browser:
        page = await browser.open("about:blank")
        await page.tab.context.add_init_script(NO_AV1)
        await page.tab.goto(url)
        await ready(page)
        await page.tab.click("#begin")
        assert "cannot decode the pictures of this film (av01." in await state(page, "failed")
