"""Titles whose display is above their source's size: stock players play them, and the web player lifts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from player_page import show_lifted
from restless import RESTLESS
from served import serving
from stock_players import stage, watch
from titles import TINY_CLIP
from viewers import EAGER

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, EnhancerEntry, Family, Tier
from abr.core.title import Quality
from abr.records import dumps
from enhancers.measurement.publish import generic_offer
from enhancers.networks import catalog
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

RECIPE = EncodeSettings(
    heights_px=(128, 256), display_px=512, preset="ultrafast", segment_s=1, vmaf_every=60, panel_every=0
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its title offers generic-low for its 128p."""
    root = tmp_path_factory.mktemp("titles")
    prepared = prepare_title(TINY_CLIP, Library(root), RECIPE, title_id="bbb")
    plain = prepared.title.plain_quality["128p"]
    better = Quality(
        vmaf=tuple(min(99.0, value + 20) for value in plain.vmaf),
        vmaf_neg=plain.vmaf_neg,
        ssim=plain.ssim,
        psnr_y_db=plain.psnr_y_db,
    )
    offer = generic_offer("128p", str(catalog.architecture(4.0, Tier.LOW)), better)
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    table = EnhancementTable(title="bbb", meter=prepared.title.meter, enhancers=(entry,))
    (prepared.folder / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return root


async def test_a_stock_player_plays_rungs_of_the_sources_size(library: Path) -> None:
    title = Library(library).title("bbb")
    async with serving(str(library), RESTLESS) as url, stage() as theatre, chromium() as browser:
        viewing, page = await watch(browser, theatre, "dashjs-5", f"{url}titles/bbb/manifest.mpd", limit_s=90)
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert viewing.frames[-1][0] == pytest.approx(title.duration_s, abs=3 / title.fps)
    assert all(heights and heights <= {128, 256} for heights in viewing.heights(title))


async def test_the_web_player_lifts_it_to_its_display_by_the_generic_network(library: Path) -> None:
    async with serving(str(library), EAGER) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        await show_lifted(page, url, str(catalog.architecture(4.0, Tier.LOW)))
        size = await page.tab.evaluate("[canvas.width, canvas.height]")
        await page.screenshot("player-generic")
    assert size == [912, 512]
    assert [each for each in page.requests if each.endswith("generic-x4-1.safetensors")]
    assert page.complaints == [] and page.refused == []
