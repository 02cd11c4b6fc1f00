"""Sounds and subtitles are there to choose, on our page and in stock players, in a real Chromium."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from browser import chromium
from imsc_title import imsc_library
from many_tracks import write_film
from opus_title import opus_library
from player_page import played, until
from served import serving
from stock_players import begin_to_watch, opened_session, stage, watch, watch_to_the_end

from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

NO_OPUS = """
const { isTypeSupported } = MediaSource;
MediaSource.isTypeSupported = (type) => !type.includes("opus") && isTypeSupported.call(MediaSource, type);
const { decodingInfo } = MediaCapabilities.prototype;
MediaCapabilities.prototype.decodingInfo = async function (asked) {
  const supported = !asked.audio?.contentType.includes("opus");
  return supported ? decodingInfo.call(this, asked) : { supported, smooth: false, powerEfficient: false };
};
"""
SHOWN = "document.getElementById('cues').innerText"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tracks")
    recipe = EncodeSettings(heights_px=(90, 180), preset="ultrafast", vmaf_every=60, panel_every=0)
    prepare_title(write_film(folder / "film.mkv"), Library(folder / "library"), recipe, title_id="film")
    return str(folder / "library")


def sounds_asked(requests: list[str]) -> list[str]:
    return [url.split("/")[-2] for url in requests if "/audio/" in url and "/seg-" in url]


async def test_the_page_plays_the_sound_and_shows_the_subtitles_that_the_viewer_picks(library):
    async with serving(library) as url, chromium() as browser:
        page = await browser.open(url)
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.click("#begin")
        await played(page, 0.1)
        assert await page.tab.locator("#sounds option").all_inner_texts() == [
            "English",
            "Deutsche Fassung",
            "Deutsche Fassung (5.1)",
            "French (commentary)",
        ]
        assert await page.tab.locator("#subtitles option").all_inner_texts() == [
            "Off",
            "English",
            "German (for the hard of hearing)",
        ]
        assert set(sounds_asked(page.requests)) == {"audio"}
        assert await page.tab.evaluate(SHOWN) == ""
        await page.tab.select_option("#sounds", label="Deutsche Fassung (5.1)")
        await until(page, "document.querySelector('video').currentTime > 1.0")
        await page.tab.select_option("#sounds", label="Deutsche Fassung")
        await page.tab.select_option("#subtitles", label="German (for the hard of hearing)")
        await until(page, f"{SHOWN} === 'Hallo there, you & me'")
        assert await page.tab.inner_html("#cues p i") == "there"
        await page.screenshot("player-subtitles")
        await until(page, f"{SHOWN} === 'Schluss'")
        assert "audio-2" in sounds_asked(page.requests)
        assert not page.failures, page.failures
        await page.tab.reload()
        await page.tab.wait_for_selector("#begin:enabled")
        before = len(page.requests)
        await page.tab.click("#begin")
        await until(page, f"{SHOWN} === 'Hallo there, you & me'")
        assert await page.tab.input_value("#sounds") == "1", "what was picked holds for the next visit"
        assert "audio-2" in sounds_asked(page.requests[before:])
        await page.tab.select_option("#subtitles", label="Off")
        assert await page.tab.evaluate(SHOWN) == ""


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_stock_players_find_each_by_its_language_in_a_session(library: str, player: str):
    async with serving(library) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "film")
        source = url + opened["hls_url" if player == "hls.js" else "manifest_url"].removeprefix("/")
        viewing, page = await watch(browser, theatre, player, source, language="de", text="de")
        told = await page.tab.evaluate("seen.tracks")
        cues = await page.tab.evaluate("seen.cues")
    assert viewing.errors == []
    assert told == {"sounds": ["de", "en", "fr"], "texts": ["de", "en"]}
    assert sounds_asked(page.requests).count("audio-2") >= 2
    (said_s, words), *_ = [cue for cue in cues if cue[1].startswith("Hallo")]
    assert said_s == pytest.approx(1.0, abs=0.3), "the browser tells of cues four times a second"
    assert words == "Hallo there, you & me"


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_stock_players_show_subtitles_that_are_imsc_text(player: str):
    manifest = "master.m3u8" if player == "hls.js" else "manifest-imsc.mpd"
    async with serving(str(imsc_library())) as url, stage() as theatre, chromium() as browser:
        source = f"{url}titles/film/{manifest}"
        wish = {"language": "en", "text": "de", "text_codec": "stpp"}
        viewing, page = await watch(browser, theatre, player, source, limit_s=60, stop_s=3, **wish)
        cues = await page.tab.evaluate("seen.cues")
    assert viewing.errors == [], cues
    assert any("/subtitles/subtitles-2/seg-00002.m4s" in url for url in page.requests)
    (said_s, words), *_ = [cue for cue in cues if cue[1].startswith("Hallo")]
    assert said_s == pytest.approx(1.0, abs=0.35) and words == "Hallo there, you & me"
    assert not any(".vtt" in url for url in page.requests)


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_key_frames_alone_are_for_who_runs_through_the_film(player: str):
    manifest = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    async with serving(str(imsc_library())) as url, stage() as theatre, chromium() as browser:
        page = await begin_to_watch(browser, theatre, player, f"{url}titles/film/{manifest}", buffer_s=1)
        await page.tab.wait_for_function("choose && seen.frames.length > 3", timeout=40_000)
        assert not any("/trick-play/seg-" in url for url in page.requests)
        if player == "shaka-5":
            async with page.tab.expect_request("**/trick-play/seg-*", timeout=20_000):
                await page.tab.evaluate("choose.fast(4)")
        viewing = await watch_to_the_end(page, player, limit_s=40)
    assert viewing.errors == [] and page.refused == [] and viewing.frames[-1][0] > 3.9
    assert any("/trick-play/seg-" in url for url in page.requests) == (player == "shaka-5")


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
@pytest.mark.parametrize("decodes", [True, False])
async def test_stock_players_take_one_codec_of_sound_and_aac_where_opus_is_not_decoded(player: str, decodes: bool):
    manifest = "master.m3u8" if player == "hls.js" else "manifest.mpd"
    async with serving(str(opus_library())) as url, stage() as theatre, chromium() as browser:
        page = await browser.open("about:blank")
        await page.tab.context.add_init_script("" if decodes else NO_OPUS)
        query = urlencode({"player": player, "src": f"{url}titles/film/{manifest}"})
        await page.tab.goto(f"{theatre}play.html?{query}")
        viewing = await watch_to_the_end(page, player, limit_s=40)
    heard = set(sounds_asked(page.requests))
    assert viewing.errors == [] and page.refused == [] and viewing.frames[-1][0] > 4.8
    assert len(heard) == 1 and (decodes or heard == {"audio"}), heard
    assert not decodes or player != "dashjs-5" or heard == {"audio-opus"}, "by its @selectionPriority"


async def test_unasked_players_that_could_take_any_play_the_first(library):
    for player in ("dashjs-5", "shaka-5"):
        async with serving(library) as url, stage() as theatre, chromium() as browser:
            _, page = await watch(browser, theatre, player, f"{url}titles/film/manifest.mpd", stop_s=2)
            assert set(sounds_asked(page.requests)) == {"audio"}, player
