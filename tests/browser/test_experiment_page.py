"""A running experiment on the live QoE page, in a real Chromium: what its table says, on a desktop and on a phone."""

from __future__ import annotations

import aiohttp
import numpy as np
from browser import Watched, chromium
from served import serving
from titles import prepared_title

from abr.core.events import AnyEvent, EventBatch, Shown, Stalled
from abr.core.title import Title
from abr.records import dumps

VISITS = 240
PHONE = {"width_px": 360, "height_px": 740, "dark": True}


def events(title: Title, stall_s: float, chance: np.random.Generator) -> tuple[AnyEvent, ...]:
    """Two segments on one of the rungs each, and a stall between."""
    rungs = chance.integers(0, len(title.renditions), 2)
    shown = [
        Shown(
            t_s=2.0 + segment,
            segment=segment,
            rendition=title.renditions[rung].id,
            enhancer="none",
            frames=title.segment_frames[segment],
            enhanced_frames=0,
            plain_frames=title.segment_frames[segment],
            late_frames=0,
            buffer_s=4.0,
        )
        for segment, rung in enumerate(rungs)
    ]
    return shown[0], Stalled(t_s=2.5, duration_s=stall_s, segment=1), shown[1]


async def play(url: str, title: Title) -> dict[str, int]:
    """Visitors of whom those in arm b stall more; how many there were in each arm."""
    chance, counts = np.random.default_rng(1), {"a": 0, "b": 0}
    async with aiohttp.ClientSession(url) as client:
        for _ in range(VISITS):
            async with client.post("sessions", json={"title": title.id}) as answer:
                path = answer.headers["Location"].lstrip("/")
            async with client.get(path) as answer:
                arm = (await answer.json())["arm"]
            counts[arm] += 1
            stall_s = float(chance.uniform(0.0, 0.3) + (0.6 if arm == "b" else 0.0))
            body = dumps(EventBatch(events=events(title, stall_s, chance)))
            headers = {"Content-Type": "application/json"}
            async with client.post(f"{path}/events", data=body, headers=headers) as answer:
                assert answer.status == 204
    return counts


async def fits(page: Watched, name: str) -> None:
    await page.tab.wait_for_selector("#e-arms tr >> nth=2")
    await page.tab.locator("#h-experiment").scroll_into_view_if_needed()
    await page.screenshot(name)
    assert await page.tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "it scrolls sideways"
    assert page.complaints == []


async def test_the_page_shows_arms_with_intervals_and_how_they_differ():
    title, folder = prepared_title()
    async with serving(str(folder.parent), experiment="a=bola,b=bba") as url, chromium() as browser:
        page = await browser.open(f"{url}qoe")
        await page.tab.wait_for_selector("#e-arms tr >> nth=1")
        assert await page.tab.inner_text("#e-verdict") == "No visit has been counted yet."
        counts = await play(url, title)
        page = await browser.open(f"{url}qoe")
        await fits(page, "experiment")
        rows = [row.split("\t") for row in await page.tab.locator("#e-arms tr").all_inner_texts()]
        told = [[cell.strip() for cell in row[:2]] for row in rows]
        assert told == [["a\nbola, 50 %", str(counts["a"])], ["b\nbba, 50 %", str(counts["b"])], ["b less a", ""]]
        assert rows[2][2].startswith("−"), "b has less QoE"
        assert (await page.tab.inner_text("#e-verdict")).startswith("b is worse than a, by ")
        assert all(" to " in cell for row in rows for cell in row[2:]), "each figure has its interval"
        assert await page.tab.is_hidden("#e-warning")
        await fits(await browser.open(f"{url}qoe", **PHONE), "phone-experiment")
        session = await page.tab.get_attribute("#rows a", "href")
        shown = await browser.open(f"{url}{session}")
        await shown.tab.wait_for_selector("#about:has-text('of the experiment')")


async def test_without_an_experiment_the_page_has_no_such_table():
    _, folder = prepared_title()
    async with serving(str(folder.parent)) as url, chromium() as browser:
        page = await browser.open(f"{url}qoe")
        await page.tab.wait_for_function(
            "performance.getEntriesByType('resource').filter((e) => /qoe$/.test(e.name)).length"
        )
        assert await page.tab.is_hidden("#experiment")
        assert page.complaints == []
