"""A title lifted ahead of time: a node without its origin plays all of it lifted."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from edge_nodes import EAGER, Edge, StockViewer, edge
from film import own_device, small_film_library
from imsc_title import imsc_library
from served import serving
from viewers import FAST_MACHINE

from abr.core.enhancement import Family
from abr.errors import InputError
from abr.jobs.local_pool import LocalPool
from abr.virtual_time import run_virtual
from client_player.edge.assembly import EdgeRequest
from client_player.edge.warm import Warmed, warm


def request_of(origin: str, cache: Path) -> EdgeRequest:
    return EdgeRequest(
        origin=origin,
        cache=cache,
        cache_bytes_max=1 << 30,
        profile=own_device(),
        families=tuple(Family),
        lifters=1,
        controller=EAGER,
    )


def test_a_warm_title_plays_lifted_from_its_first_segment_on_while_its_origin_is_away(tmp_path: Path) -> None:
    library, told = str(small_film_library(tmp_path)), list[Warmed]()

    async def lift_ahead() -> None:
        async with serving(library) as origin:
            for _ in range(2):
                await warm(request_of(origin, tmp_path / "kept"), ["film"], lambda: LocalPool(1), told.append)

    async def play() -> None:
        async with edge("http://127.0.0.1:9/", tmp_path / "kept") as node:
            viewer = await StockViewer(node, "film").play()
            assert viewer.enhancers == ["generic-low"] * 3 and viewer.stalled_s == 0
            assert not node.lifters.jobs
            for name in ("master.m3u8", "video.m3u8"):
                assert (await node.get(f"titles/film/{name}")).status == 200

    asyncio.run(lift_ahead())
    assert [(each.segments, each.lifted, each.failed) for each in told] == [(3, 3, 0)] * 2
    assert told[0].cpu_s > 0 and told[1].cpu_s == 0, "what is there is not lifted again"
    run_virtual(play(), wall_rate=FAST_MACHINE)


def test_sounds_subtitles_thumbnails_and_trick_play_are_there_without_the_origin_too(tmp_path: Path) -> None:
    async def keep() -> None:
        async with serving(str(imsc_library())) as origin:
            await warm(request_of(origin, tmp_path / "kept"), ["film"], lambda: LocalPool(1))

    async def ask() -> None:
        async with edge("http://127.0.0.1:9/", tmp_path / "kept") as node:
            there = await led_to(node, "titles/film/master.m3u8")
            for place in ("audio/audio-2-5.1/seg-00005.m4s", "audio/audio-3/init.mp4", "subtitles/subtitles-2.vtt"):
                assert any(url.endswith(place) for url in there), place
            for place in ("subtitles/subtitles-2/seg-00005.m4s", "thumbnails/sheet-00001.jpg", "chapters.json"):
                assert any(url.endswith(place) for url in there), place
            assert (await node.get("titles/film/device/manifest.mpd")).status == 200
            device = (await node.get("titles/film/device/master.m3u8")).body.decode()
            (key_frames,) = re.findall(r'#EXT-X-I-FRAME-STREAM-INF.*URI="([^"]+)"', device)
            assert len(await led_to(node, f"titles/film/device/{key_frames}")) == 1 + 5

    asyncio.run(keep())
    asyncio.run(ask())


async def led_to(node: Edge, playlist: str) -> list[str]:
    """All that an HLS playlist leads to, which has to be there."""
    text, found = (await node.get(playlist)).body.decode(), list[str]()
    for uri in re.findall(r'URI="([^"]+)"|^([^#\s].*)$', text, re.MULTILINE):
        url = urljoin(f"/{playlist}", "".join(uri)).lstrip("/")
        assert (await node.get(url)).status == 200, url
        found += [url, *(await led_to(node, url) if url.endswith(".m3u8") else [])]
    return found


async def test_a_title_that_the_origin_does_not_have_is_named(tmp_path: Path) -> None:
    async with serving(str(small_film_library(tmp_path))) as origin:
        with pytest.raises(InputError, match="no title 'fim' that can be mirrored; it has: film"):
            await warm(request_of(origin, tmp_path / "kept"), ["fim"], lambda: LocalPool(1))
