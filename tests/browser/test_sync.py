"""Picture and sound belong together after seeks, in every language: by what a real Chromium shows and sounds like."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlencode

import pytest
from browser import Watched, chromium
from counted_film import ENGLISH_HZ, FPS, FRENCH_HZ, GERMAN_HZ, RISE_HZ_PER_S, SECONDS, write_counted_film
from player_page import played, until
from served import serving
from stock_players import FOLDER, stage

from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

SENSES = (FOLDER / "heard_and_seen.js").read_text()
WINDOW_S = 2048 / 48_000
"""Of sound that one frequency is read from: it is that of the window's middle."""
PICTURES = 12
"""So many are looked at after each seek."""
LOOK_MAX_MS = 20_000
"""Where they do not come, something is wrong."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a viewer chooses, where they seek to then, and what they should hear and read there."""

    language: str
    channels: int
    text: str
    to_s: float
    track: str
    begins_hz: int
    words: str


CHOICES = (
    Choice("de", 6, "de", 4.0, "audio-2-5.1", GERMAN_HZ, "Schluss"),
    Choice("fr", 2, "en", 1.0, "audio-3", FRENCH_HZ, "Hello there, you & me"),
    Choice("en", 2, "de", 5.0, "audio", ENGLISH_HZ, "Schluss"),
)
LABELS = {
    "audio-2-5.1": "Deutsche Fassung (5.1)",
    "audio-3": "French (commentary)",
    "audio": "English",
    "de": "German (for the hard of hearing)",
    "en": "English",
}
"""On our page."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sync")
    recipe = EncodeSettings(heights_px=(90, 180), preset="ultrafast", vmaf_every=100, panel_every=0)
    prepare_title(write_counted_film(folder / "film.mkv"), Library(folder / "library"), recipe, title_id="film")
    return str(folder / "library")


async def late_frames(page: Watched, choice: Choice) -> float:
    """By how many frames the sound follows the picture that it belongs to, once the chosen sound is heard: the median.

    0 while it is the sound of the picture that is shown; negative where it is ahead.
    """
    wanted = {
        "from": round(choice.to_s * FPS),
        "lowHz": choice.begins_hz,
        "highHz": choice.begins_hz + RISE_HZ_PER_S * SECONDS,
        "count": PICTURES,
        "limitMs": LOOK_MAX_MS,
    }
    async with asyncio.timeout(2 * LOOK_MAX_MS / 1000):
        found = await page.tab.evaluate("wanted => senses.gather(wanted)", wanted)
    assert found, f"in {LOOK_MAX_MS} ms {PICTURES} pictures in a row were not seen with {choice.track}"
    middles = [number + 0.5 - ((hz - choice.begins_hz) / RISE_HZ_PER_S + WINDOW_S / 2) * FPS for number, hz in found]
    late = median(middles)
    print(choice.track, round(late, 2))
    return max(0.0, late - 0.5) + min(0.0, late + 0.5)


def asked_for(page: Watched, track: str) -> bool:
    return any(f"/audio/{track}/seg-" in url for url in page.requests)


async def _follow(page: Watched, choice: Choice) -> None:
    """Choose and seek, in a stock player; each wait ends by itself, in the page."""
    sought = """async ({ language, channels, text, toS }) => {
      choose.sound(language, channels);
      await choose.text(text);
      const arrived = new Promise(done => video.addEventListener("seeked", done, { once: true }));
      video.currentTime = toS;
      await Promise.race([arrived, new Promise(done => setTimeout(done, 10000))]);
      await video.play();
    }"""
    wish = {"language": choice.language, "channels": choice.channels, "text": choice.text, "toS": choice.to_s}
    await page.tab.evaluate(sought, wish)


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_stock_players_keep_each_sound_and_subtitles_in_time_after_seeks(library: str, player: str) -> None:
    async with asyncio.timeout(100), serving(library) as url, stage() as theatre, chromium() as browser:
        manifest = "master.m3u8" if player == "hls.js" else "manifest.mpd"
        page = await browser.open("about:blank")
        await page.tab.context.add_init_script(SENSES)
        source = {"player": player, "src": f"{url}titles/film/{manifest}", "buffer_s": 4}
        await page.tab.goto(f"{theatre}play.html?{urlencode(source)}")
        await page.tab.wait_for_function("choose && seen.frames.length > 3", timeout=2 * LOOK_MAX_MS)
        await page.tab.evaluate("window.senses = heardAndSeen(); 0")
        for choice in CHOICES:
            await _follow(page, choice)
            assert abs(await late_frames(page, choice)) <= 1
            assert asked_for(page, choice.track)
            read = "words => seen.cues.some(([, said]) => said === words)"
            await page.tab.wait_for_function(read, arg=choice.words, timeout=LOOK_MAX_MS)
        assert await page.tab.evaluate("seen.errors") == []


async def test_our_page_keeps_each_sound_and_subtitles_in_time_after_seeks(library: str) -> None:
    async with serving(library) as url, chromium() as browser:
        page = await browser.open("about:blank")
        await page.tab.context.add_init_script(SENSES)
        await page.tab.goto(url)
        await page.tab.wait_for_selector("#begin:enabled")
        await page.tab.click("#begin")
        await played(page, 0.1)
        await page.tab.evaluate("window.senses = heardAndSeen(); 0")
        for choice in CHOICES:
            await page.tab.select_option("#sounds", label=LABELS[choice.track])
            await page.tab.select_option("#subtitles", label=LABELS[choice.text])
            if choice.to_s == 4.0:
                await page.tab.select_option("#chapters", label="Chapter 2")
            else:
                await page.tab.locator("#seek").fill(f"{choice.to_s}")
            late = await late_frames(page, choice)
            assert abs(late) <= 1
            assert asked_for(page, choice.track)
            await until(page, f"document.getElementById('cues').innerText === '{choice.words}'")
        await page.tab.evaluate("senses.delay(0.12)")
        assert await late_frames(page, choice) > 2, "what is measured tells of a sound that is three frames late"
        assert not page.failures, page.failures
