"""A title that keeps HDR beside its ordinary ladder: who gets which, in a real Chromium whose display is ordinary.

This Chromium decodes AV1 of ten bits. That a display shows HDR is claimed by the page, as a browser would say it.
"""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from browser import chromium
from hdr_film import film
from served import serving
from stock_players import stage, watch_to_the_end

from abr.media.video_codecs import VideoCodec
from server.ingest.encode_settings import CodecSettings, EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

HDR_DISPLAY = """
  const ask = window.matchMedia.bind(window);
  window.matchMedia = query => /dynamic-range: high|color-gamut/.test(query)
    ? { matches: true, media: query, addEventListener() {}, removeEventListener() {} }
    : ask(query);
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hdr-players")
    kept = CodecSettings(codec=VideoCodec.AV1, crf=35, preset="10")
    recipe = EncodeSettings(heights_px=(90,), preset="ultrafast", vmaf_every=60, panel_every=0, hdr=(kept,))
    prepare_title(film(folder, "smpte2084"), Library(folder / "library"), recipe, title_id="film")
    return str(folder / "library")


async def rungs_asked_for(library: str, player: str, *, display: str = "") -> set[str]:
    async with serving(library) as url, stage() as theatre, chromium() as browser:
        page = await browser.open("about:blank")
        await page.tab.context.add_init_script(display)
        source = f"{url}titles/film/{'master.m3u8' if player == 'hls.js' else 'manifest.mpd'}"
        asked = {"player": player, "src": source} | ({"hdr": 1} if display else {})
        await page.tab.goto(f"{theatre}play.html?{urlencode(asked)}")
        viewing = await watch_to_the_end(page, player)
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert len(viewing.frames) > 3
    return {asked.split("/")[-2] for asked in viewing.requests if "/video/" in asked and "/seg-" in asked}


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_an_ordinary_display_is_given_the_ordinary_ladder(library: str, player: str) -> None:
    assert await rungs_asked_for(library, player) == {"90p"}


@pytest.mark.parametrize("player", ["shaka-5", "hls.js"])
async def test_a_display_that_shows_hdr_is_given_hdr(library: str, player: str) -> None:
    """hls.js where its page prefers HDR. dash.js knows nothing of displays, and keeps to the ordinary ladder."""
    assert await rungs_asked_for(library, player, display=HDR_DISPLAY) == {"90p-av1-pq"}
