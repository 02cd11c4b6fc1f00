"""Stock players in a real Chromium at an edge node: they know nothing of it, and show lifted pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from edge_nodes import StockViewer, edge
from film import film_library
from served import serving
from stock_players import stage, watch
from titles import prepared_title


@pytest.mark.parametrize("player", ["dashjs-5", "shaka-5", "hls.js"])
async def test_stock_players_show_plain_and_lifted_segments_in_one_row(player: str, tmp_path: Path) -> None:
    library, (title, _) = film_library(tmp_path), prepared_title()
    async with (
        serving(str(library)) as origin,
        edge(origin, tmp_path / "kept") as node,
        stage() as theatre,
        chromium() as browser,
    ):
        before = StockViewer(node, "film")
        for _ in range(2):  # the first segments are plain to those who cannot wait, and lifted for those who come after
            before.segments.clear()
            await before.play()
            while await node.metric("toprung_edge_lift_queue_length"):
                pass
        manifest = "master.m3u8" if player == "hls.js" else "manifest.mpd"
        viewing, page = await watch(browser, theatre, player, f"{node.url}titles/film/{manifest}")
    heights = viewing.heights(title)
    assert heights[1:] == [{720}, {720}] and heights[0] in ({180}, {720})
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1
