"""Picture and sound belong together after seeks, in every language: by what a real Chromium shows and sounds like."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from statistics import median

import pytest
from browser import WAIT_MAX_MS, Watched, chromium
from counted_film import ENGLISH_HZ, FPS, FRENCH_HZ, GERMAN_HZ, RISE_HZ_PER_S, SECONDS, write_counted_film
from player_page import played, until
from served import serving
from stock_players import FOLDER

from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

SENSES = (FOLDER / "heard_and_seen.js").read_text()
WINDOW_S = 2048 / 48_000
"""Of sound that one frequency is read from: it is that of the window's middle."""
PICTURES = 12
"""So many are looked at after each seek."""


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
    }
    async with asyncio.timeout(WAIT_MAX_MS / 1000):
        found = await page.tab.evaluate("wanted => senses.gather(wanted)", wanted)
    middles = [number + 0.5 - ((hz - choice.begins_hz) / RISE_HZ_PER_S + WINDOW_S / 2) * FPS for number, hz in found]
    late = median(middles)
    print(choice.track, round(late, 2))
    return max(0.0, late - 0.5) + min(0.0, late + 0.5)


def asked_for(page: Watched, track: str) -> bool:
    return any(f"/audio/{track}/seg-" in url for url in page.requests)


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
