"""The server decides, a CDN on another host sends: players in a real Chromium, and a real nginx that keeps files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from browser import chromium
from cdn import asked, cdn
from lifted import lifted_library
from player_page import log_of_ended, open_measured, ready, until
from ports import free_port
from served import serving
from stock_players import decisions, opened_session, stage, watch
from titles import prepared_library
from viewers import EAGER, of_kind

from abr.core.events import Decided, Downloaded


@asynccontextmanager
async def serving_by_cdn(library: Path, controllers, folder: Path) -> AsyncIterator[str]:
    """The URL of a server whose CDN keeps its files in `folder`."""
    port = free_port()
    with cdn(f"http://127.0.0.1:{port}", folder) as base:
        async with serving(str(library), controllers, media_base=base, port=port) as url:
            yield url


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_stock_players_are_led_to_the_cdn_for_each_segment(player, tmp_path):
    library = prepared_library()
    title = library.title("bbb")
    async with (
        serving_by_cdn(library.root, EAGER, tmp_path) as url,
        stage() as theatre,
        chromium() as browser,
    ):
        opened = await opened_session(url, "bbb")
        manifest = opened["hls_url" if player == "hls.js" else "manifest_url"]
        viewing, page = await watch(browser, theatre, player, url + manifest.removeprefix("/"))
        decided = await decisions(url, opened["id"])
    chosen = {event.segment: {title.rendition(event.rendition).height_px} for event in decided}
    assert viewing.heights(title) == [chosen[segment] for segment in range(len(title.segment_frames))]
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    sent = [path for _, path in asked(tmp_path) if "/video/" in path]
    assert len(sent) >= len(decided) - 1, "but for what was asked before the player could tell how it does"
    assert any("/audio/" in path for _, path in asked(tmp_path))


async def test_our_page_lifts_what_the_cdn_sends_with_weights_from_there(tmp_path):
    library = lifted_library(tmp_path / "lifted", slow=False)
    folder = tmp_path / "cdn"
    folder.mkdir()
    async with (
        serving_by_cdn(library, EAGER, folder) as url,
        chromium(software_gpu=True) as browser,
    ):
        page = await open_measured(browser, url)
        await ready(page)
        await page.tab.click("#begin")
        ready_mark = "(mark) => /content-.* ready/.test(mark.name)"
        await until(page, f"performance.getEntriesByType('mark').some({ready_mark})")
        events = await log_of_ended(page)
    assert page.complaints == [] and page.refused == []
    assert all(event.enhancer.startswith("content-") for event in of_kind(events, Decided))
    sent = {path for _, path in asked(folder)}
    assert any("/enhancers/" in path for path in sent) and any("/video/" in path for path in sent)
    came = [event for event in of_kind(events, Downloaded) if event.kind == "video"]
    assert came and all(f"/{event.name}/seg-{event.segment + 1:05d}" in " ".join(sent) for event in came)
