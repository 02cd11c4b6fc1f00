"""/rate in a real Chromium: two clips, and a session that was watched to its end, on a desktop and on a phone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from browser import Watched, chromium
from opinions import write_pairs
from served import serving
from titles import SMALL_CLIP, prepared_title

PHONE = {"width_px": 360, "height_px": 740, "dark": True}


@pytest.fixture(scope="module")
def library() -> str:
    _, folder = prepared_title(SMALL_CLIP)
    return str(folder.parent)


async def kept(folder: Path, count: int) -> list[dict[str, object]]:
    """The opinions, once there are so many."""
    files: list[Path] = []
    async with asyncio.timeout(60):
        while len(files) < count:
            files = sorted((folder / "opinions").glob("*.opinion.json")) if (folder / "opinions").is_dir() else []
            await asyncio.sleep(0)
    return [json.loads(file.read_text()) for file in files]


async def score(page: Watched, scale: str, word: str) -> None:
    await page.tab.locator("fieldset", has_text=scale).get_by_label(word).check()


async def test_two_clips_are_scored_once_both_were_seen(library: str, tmp_path: Path):
    write_pairs(tmp_path, data=SMALL_CLIP.read_bytes())
    async with serving(library, rate=str(tmp_path)) as url, chromium() as browser:
        page = await browser.open(f"{url}rate", **PHONE)
        await page.tab.click("#begin")
        await page.tab.wait_for_selector("#stage:visible")
        await score(page, "Clip A", "Good")
        await score(page, "Clip B", "Bad")
        assert await page.tab.is_disabled("#send"), "B was not seen yet"
        await page.tab.click("text=Show B")
        assert await page.tab.inner_text("#stage b") == "B"
        await page.screenshot("phone-rate-clips")
        assert await page.tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "it scrolls sideways"
        first = await page.tab.evaluate("new URL(document.querySelector('#stage video').src).pathname")
        await page.tab.click("#send:enabled")
        await page.tab.wait_for_selector("text=That is all. Thank you!")
        (opinion,) = await kept(tmp_path, 1)
        scores = {item["file"]: item["score"] for item in opinion["items"]}
        shown = first.rpartition("/")[2]
        assert scores == {shown: 4, ("b.mp4" if shown == "a.mp4" else "a.mp4"): 1}
        assert await page.tab.evaluate("localStorage.length + sessionStorage.length") == 0
        assert await page.tab.context.cookies() == []
        assert page.complaints == []


async def test_who_watched_to_the_end_says_what_it_was_like(library: str, tmp_path: Path):
    async with serving(library, rate=str(tmp_path)) as url, chromium() as browser:
        page = await browser.open(url)
        await page.tab.click("#begin:enabled")
        assert await page.tab.is_hidden("#rate"), "not before the end"
        await page.tab.click("text=How was it?")
        await page.tab.wait_for_selector("#form:visible")
        await score(page, "The whole of it was", "Fair")
        await page.screenshot("rate-session")
        await page.tab.click("#send:enabled")
        await page.tab.wait_for_selector("text=Thank you!")
        (opinion,) = await kept(tmp_path, 1)
        (item,) = opinion["items"]
        assert item["score"] == 3
        assert 0 < item["features"]["quality"] <= 100
        assert item["features"]["startup_s"] > 0
        assert [each for each in page.complaints if "enhancements.json" not in each] == [], "nothing lifts this film"
