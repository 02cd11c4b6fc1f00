"""A real Chromium, headless, for tests of pages and players: the machine's own, driven by Playwright.

async with chromium() as browser:
    page = await browser.open(url)
    await page.tab.click("text=Play")
    assert page.complaints == []
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import ConsoleMessage, Page, Request, Response, async_playwright

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
WAIT_MAX_MS = 120_000
"""Nothing on a page takes so long, however busy the machine: it is there to end a test that hangs."""
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # tests may run as root, where the sandbox refuses to start
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
)
SOFTWARE_GPU = (
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--use-webgpu-adapter=swiftshader",
    "--use-vulkan=swiftshader",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
"""All of them together give WebGPU and WebGL2 on a machine without a GPU."""


@dataclass
class Watched:  # no slots: Playwright hangs an attribute on the owner of each listener
    """One page (`tab` is Playwright's) and all that it said.

    console: every line, `level: text`. complaints: errors of the console, uncaught exceptions, crashes.
    failures: requests that got no answer. requests, refused: URLs asked for; `status URL` of answers from 400 on.
    """

    tab: Page
    console: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tab.on("console", self._said)
        self.tab.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.tab.on("crash", lambda _page: self.complaints.append("the page crashed"))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("requestfailed", self._failed)
        self.tab.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        line = f"{message.type}: {message.text}"
        self.console.append(line)
        if message.type == "error":
            self.complaints.append(f"{line} ({message.location.get('url', '')})")

    def _failed(self, request: Request) -> None:
        self.failures.append(f"{request.failure} {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.refused.append(f"{response.status} {response.url}")

    async def screenshot(self, name: str) -> Path:
        """Keep what is seen now as build/screenshots/<name>.png, to be looked at."""
        path = SCREENSHOTS / f"{name}.png"
        await self.tab.screenshot(path=path)
        return path


@dataclass(slots=True)
class Browser:
    """A running Chromium; each page has cookies and storage of its own."""

    inner: Chromium

    async def open(self, url: str, *, width_px: int = 1280, height_px: int = 800, dark: bool = False) -> Watched:
        """A new page at `url` (loaded; what it fetches later may still be under way)."""
        context = await self.inner.new_context(
            viewport={"width": width_px, "height": height_px}, color_scheme="dark" if dark else "light"
        )
        context.set_default_timeout(WAIT_MAX_MS)
        page = Watched(await context.new_page())
        await page.tab.goto(url)
        return page


@asynccontextmanager
async def chromium(*, software_gpu: bool = False, without: Sequence[str] = ()) -> AsyncIterator[Browser]:
    """Starts Chromium and stops it again; skips the test on a machine that has none.

    without: flags that take something away, such as --disable-3d-apis.
    """
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on this machine; tests/support/install_browser.sh installs Debian's")
    flags = [*FLAGS, *(SOFTWARE_GPU if software_gpu else ()), *without]
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=flags)
        try:
            yield Browser(browser)
        finally:
            await browser.close()
