"""The server plays a codec that the player decodes: sessions on a title in H.264, HEVC and AV1."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from served import serving
from titles import TITLE_ID, mixed_library

from server.media.library import Library


@pytest.fixture(scope="module")
def library() -> Library:
    return mixed_library()


@pytest.fixture
async def server(library: Library) -> AsyncIterator[str]:
    async with serving(str(library.root)) as url:
        yield url


async def opened(url: str, *codecs: str, status: int = 201, profile: object = None) -> dict[str, str]:
    wish = (
        {"title": TITLE_ID} | ({"codecs": list(codecs)} if codecs else {}) | ({"profile": profile} if profile else {})
    )
    async with aiohttp.ClientSession() as pool, pool.post(f"{url}sessions", json=wish) as answer:
        assert answer.status == status, await answer.text()
        told: dict[str, str] = await answer.json()
        return told


async def get(url: str) -> tuple[int, bytes, aiohttp.typedefs.LooseHeaders]:
    async with aiohttp.ClientSession() as pool, pool.get(url) as answer:
        return answer.status, await answer.read(), answer.headers


@pytest.mark.parametrize(
    ("told", "codec"),
    [
        ((), "h264"),
        (("h264",), "h264"),
        (("av1", "h264", "hevc"), "av1"),
        (("hevc", "h264"), "hevc"),
        (("vvc", "av1"), "av1"),
    ],
)
async def test_the_codec_is_the_one_of_least_bits_that_the_player_decodes(server, told, codec):
    session = await opened(server, *told)
    assert session["codec"] == codec
    assert (await get(f"{server}sessions/{session['id']}"))[1].count(f'"codec":"{codec}"'.encode()) == 1


@pytest.mark.parametrize(
    ("slow", "codec"),
    [
        ((), "av1"),
        (("av01",), "hevc"),
        (("av01", "hev1"), "h264"),
        (("av01", "hev1", "avc3"), "h264"),  # none in time: the one that all devices are built for
    ],
)
async def test_a_codec_that_the_device_decodes_too_slowly_is_left_to_others(server, library, slow, codec):
    title = await asyncio.to_thread(library.title, TITLE_ID)
    top, frame_ms = title.renditions[-1], 1000 / title.fps
    decoding = [
        {
            "sample_entry": entry,
            "width_px": top.width_px,
            "height_px": top.height_px,
            "p50_ms": 1.0,
            "p95_ms": frame_ms * (0.95 if entry in slow else 0.5),
        }
        for entry in ("avc3", "hev1", "av01")
    ]
    device = {"name": "it", "processor": "slow", "cores": 1, "memory_bytes": 0}
    profile = {"device": device, "measurements": [], "decoding": decoding}
    assert (await opened(server, "av1", "hevc", "h264", profile=profile))["codec"] == codec


async def test_a_player_that_decodes_none_of_the_codecs_is_told_which_there_are(server):
    told = await opened(server, "vp9", status=422)
    assert told["detail"] == "bbb comes in h264, hevc, av1, and the player decodes vp9."
    await opened(server, *(f"c{n}" for n in range(17)), status=400)


async def test_all_that_a_session_sends_is_of_its_codec(server):
    session = await opened(server, "av1")
    at = f"{server}sessions/{session['id']}"
    driven, standard = (await get(f"{at}/manifest.mpd"))[1], (await get(f"{at}/title/manifest.mpd"))[1]
    assert set(re.findall(rb'codecs="([a-z0-9]{4})', driven)) == {b"av01", b"mp4a"}
    assert set(re.findall(rb'codecs="([a-z0-9]{4})', standard)) == {b"av01", b"mp4a"}
    assert b"av01" in (await get(f"{at}/master.m3u8"))[1] and b"av01" in (await get(f"{at}/video/init.mp4"))[1]
    sent = [(await get(f"{at}/video/{number}.m4s"))[2]["Toprung-Rendition"] for number in (1, 2, 3)]
    assert set(sent) <= {"90p-av1", "180p-av1"}

    advised = await get(f"{at}/title/video/90p-av1/seg-00004.m4s")
    assert advised[0] == 200 and advised[2]["Toprung-Rendition"] == "90p-av1"
    assert (await get(f"{at}/title/video/90p/seg-00005.m4s"))[0] == 404
