"""The player page in a tab: wait until it is ready, and for what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urljoin

from browser import WAIT_MAX_MS, Browser, Watched
from lifted import QUICK
from viewers import of_kind

from abr.core.events import AnyEvent, Ended, loads_log

_CLAIM = """async ([scripts, widthPx, heightPx, claims]) => {
  const { Thread } = await import(`${scripts}/player/thread.js`);
  const kinds = await new Thread().ask("kinds");
  const [{ kind }] = kinds;
  const measurements = claims.map(([architecture, p95_ms]) => ({ architecture, width_px: widthPx, height_px: heightPx,
    backend: kind.toLowerCase(), threads: 1, p50_ms: p95_ms, p95_ms }));
  const kept = { kind, adapter: "a device that was faster once", measurements, kinds: JSON.stringify(kinds) };
  localStorage.setItem("toprung.profile.1", JSON.stringify(kept));
}"""


async def claim(
    page: Watched,
    claims: Sequence[tuple[str, float]],
    *,
    size_px: tuple[int, int] = (320, 180),
    scripts: str = "/web",
) -> None:
    """Have the page believe that it measured these networks before: (architecture, milliseconds)."""
    await page.tab.evaluate(_CLAIM, [scripts, *size_px, [list(each) for each in claims]])


async def open_measured(browser: Browser, url: str, claims: Sequence[tuple[str, float]] = ((QUICK, 3.0),)) -> Watched:
    """A new page at `url` that measured these networks on an earlier visit: measuring takes a core for seconds."""
    page = await browser.open(urljoin(url, "/qoe"))
    await claim(page, claims)
    await page.tab.goto(url)
    return page


async def ready(page: Watched) -> None:
    """The page can play, and has measured its device."""
    await page.tab.wait_for_selector("body[data-measured] #begin:enabled")


async def state(page: Watched, name: str) -> str:
    """Wait for a state of the page; its words."""
    await page.tab.wait_for_selector(f"body[data-state={name}]", timeout=WAIT_MAX_MS)
    return await page.tab.inner_text("#state")


async def until(page: Watched, condition: str) -> None:
    """Wait for a JavaScript condition. Playwright's own way of waiting needs eval, which the pages' policy forbids."""
    look = f"new Promise((done) => {{ const look = () => (({condition}) ? done() : setTimeout(look, 30)); look(); }})"
    async with asyncio.timeout(WAIT_MAX_MS / 1000):
        await page.tab.evaluate(look)


async def show_lifted(page: Watched, url: str, architecture: str) -> None:
    """Play, pause and compare, until a picture is there that was lifted by generic-low. page: open below `url`."""
    await claim(page, [(architecture, 3.0)])
    await page.tab.goto(url)
    await ready(page)
    await page.tab.click("#begin")
    await until(page, "performance.getEntriesByName('toprung: generic-low ready').length")
    await page.tab.keyboard.press("k")
    await page.tab.click("#compare")
    await page.tab.wait_for_selector("#canvas:not([hidden])")
    assert "generic-low" in await page.tab.inner_text("#badge")


async def played(page: Watched, seconds: float) -> None:
    await until(page, f"document.querySelector('video').currentTime > {seconds}")


async def log_of(page: Watched) -> list[AnyEvent]:
    """The session's log as far as the server has it."""
    text = await page.tab.evaluate("fetch(document.querySelector('#session a').href + '/log').then((a) => a.text())")
    return list(loads_log(text.encode()))


async def log_of_ended(page: Watched) -> list[AnyEvent]:
    """The log when the page is left, as soon as the last events that it sends have arrived."""
    await page.tab.evaluate("window.dispatchEvent(new Event('pagehide'))")
    while not of_kind(events := await log_of(page), Ended):
        await page.tab.wait_for_timeout(50)
    return events
