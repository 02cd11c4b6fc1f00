"""The module of `toprung embed` on a page of somebody else, at an origin of its own, in a real Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from browser import Watched, chromium
from click.testing import CliRunner
from player_page import claim, played, until
from served import listening, serving
from titles import CLIP

from abr.cli import root
from abr.core.enhancement import Tier
from enhancers.networks.catalog import architecture

EXAMPLE = Path(__file__).parents[2] / "examples" / "lifted_page.html"
CANVAS = "document.querySelector('canvas[data-toprung]')"
LIFTED = "window.lifted?.state.name !== 'none' && !window.lifted.state.working"
DIFFERENCE = f"""() => {{
  const pixels = (from) => {{
    const to = new OffscreenCanvas(640, 360).getContext("2d");
    to.drawImage(from, 0, 0, 640, 360);
    return to.getImageData(0, 0, 640, 360).data;
  }};
  const [plain, shown] = [pixels(document.querySelector("video")), pixels({CANVAS})];
  let [shift, change] = [0, 0];
  plain.forEach((value, at) => {{
    shift += (shown[at] - value) / plain.length;
    change += Math.abs(shown[at] - value) / plain.length;
  }});
  return {{ shift, change }};
}}"""
BOXES = f"""[document.querySelector("video"), {CANVAS}].map((each) => {{
  const {{ x, y, width, height }} = each.getBoundingClientRect();
  return [x, y, width, height].map(Math.round);
}})"""
TIERS = [(str(architecture(2.0, tier)), ms) for tier, ms in ((Tier.LOW, 100.0), (Tier.MEDIUM, 1e5), (Tier.HIGH, 1e5))]
"""Too slow for a film; the first is quick enough for a picture that stands still."""
BARE = """<!doctype html><video src="SOURCE" muted autoplay loop width="1280"></video>
<script type="module">
import { lift } from "./toprung/embed/lift.js";
window.lifted = lift(document.querySelector("video"));
</script>"""


def toprung(*arguments: object) -> str:
    result = CliRunner().invoke(root, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def low_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A title whose only rung is very low, so that any player plays that."""
    library = tmp_path_factory.mktemp("low") / "library"
    toprung(
        *("prepare", CLIP, "--library", library, "--id", "film", "--heights", "90"),
        *("--preset", "ultrafast", "--panel-every", "0", "--vmaf-every", "50"),
    )
    return library


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[str]:
    """Serves a folder as any web server does, and tells nobody that its files may be read from elsewhere."""
    app = web.Application()
    app.router.add_static("/", folder)
    async with listening(app) as url:
        yield url


async def sees(page: Watched) -> dict[str, float]:
    found: dict[str, float] = await page.tab.evaluate(DIFFERENCE)
    return found


async def test_a_page_of_somebody_else_lifts_what_dash_js_plays_and_can_have_it_plain_again(
    tmp_path: Path, low_library: Path
) -> None:
    told = json.loads(toprung("embed", tmp_path / "toprung", "--json"))
    assert told["size_bytes"] < 2_000_000
    shutil.copy(EXAMPLE, tmp_path)
    (tmp_path / "empty.html").write_text("<!doctype html><link rel=icon href=data:,>")
    async with (
        site(tmp_path) as url,
        serving(str(low_library)) as server,
        chromium(software_gpu=True) as browser,
    ):
        page = await browser.open(f"{url}empty.html", width_px=360)
        await claim(page, TIERS, size_px=(160, 90), scripts="/toprung")
        await page.tab.goto(f"{url}{EXAMPLE.name}?manifest={server}titles/film/manifest.mpd")
        await played(page, 0.3)
        await page.tab.evaluate("document.querySelector('video').pause()")
        await until(page, LIFTED)
        assert await page.tab.evaluate(f"{CANVAS}.hidden") is False
        video, canvas = await page.tab.evaluate(BOXES)
        assert video == canvas, "it lies over the video"
        assert "inset" in await page.tab.evaluate(f"{CANVAS}.style.clipPath"), "the browser's controls stay in sight"
        seen = await sees(page)
        assert seen["change"] > 0.3 and abs(seen["shift"]) < 1, seen
        assert "Lifted by" in await page.tab.inner_text("#state")
        await page.screenshot("embed")

        await page.tab.evaluate("window.lifted.on = false")
        assert await page.tab.evaluate(f"{CANVAS}.hidden") is True
        await page.tab.evaluate("window.lifted.on = true")
        await until(page, f"{LIFTED} && !{CANVAS}.hidden")
        await page.tab.set_viewport_size({"width": 330, "height": 700})
        await until(page, f"(([a, b]) => String(a) === String(b))({BOXES})")

        await page.tab.evaluate("window.lifted.stop()")
        assert await page.tab.evaluate(f"{CANVAS}") is None
        assert not page.refused and not page.complaints, [page.refused, page.complaints]


async def test_a_video_that_the_page_may_not_read_is_left_alone_and_the_page_is_told_why(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    toprung("embed", here / "toprung")
    elsewhere.mkdir()
    shutil.copy(CLIP, elsewhere / "film.mp4")
    async with site(here) as url, site(elsewhere) as media, chromium() as browser:
        (here / "page.html").write_text(BARE.replace("SOURCE", f"{media}film.mp4"))
        page = await browser.open(f"{url}page.html")
        await page.tab.set_viewport_size({"width": 2000, "height": 1400})
        await page.tab.evaluate("document.querySelector('video').width = 1900")
        await until(page, "/comes from another origin/.test(window.lifted?.state.reason)")
        assert await page.tab.evaluate(f"{CANVAS}") is None
        assert await page.tab.evaluate("!document.querySelector('video').paused")
