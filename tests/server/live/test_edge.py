"""The live edge over HTTP: playlists that wait, parts, and segments that are sent while they grow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import m3u8
import pytest
from aiohttp.test_utils import TestClient
from broadcast import CHUNK_FRAMES, CHUNKS, Broadcast, encoded
from serving import FAST_PATH
from waiting import wait_until

from abr.core.title import segment_file
from server.context import CONTEXT
from server.http import growing_segment
from server.live_edge import watch
from server.live_edge.growing import growing_file, read_part
from server.settings import Settings

CAM = "/titles/cam"
PLAYLIST = f"{CAM}/64p.m3u8"


@pytest.fixture(scope="module", autouse=True)
def media() -> Path:
    """Encoded before a test's clock and watch begin."""
    return encoded()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(library=str(tmp_path), fast_path=FAST_PATH)


@pytest.fixture
async def cam(tmp_path: Path, clock) -> Broadcast:
    """Two whole segments, and one chunk of the third."""
    broadcast = await asyncio.to_thread(Broadcast, tmp_path, clock, chunk_frames=CHUNK_FRAMES)
    for _ in range(2 * CHUNKS + 1):
        await send(broadcast)
    return broadcast


async def send(cam: Broadcast) -> None:
    """In a thread, as encoders do."""
    await asyncio.to_thread(cam.send_chunk)


async def get(client: TestClient, path: str) -> tuple[int, bytes]:
    async with client.get(path) as answer:
        return answer.status, await answer.read()


async def held(client: TestClient, *paths: str) -> list[asyncio.Task[tuple[int, bytes]]]:
    """Requests that wait for what is to come."""
    tasks = [asyncio.create_task(get(client, path)) for path in paths]
    context = client.server.app[CONTEXT]
    await asyncio.to_thread(wait_until, lambda: context.edge_watch.waiting >= len(paths), "requests that wait")
    assert not any(task.done() for task in tasks)
    return tasks


async def part_of(cam: Broadcast, segment: str, part: int) -> bytes:
    body = await asyncio.to_thread(read_part, cam.folder / segment, part)
    assert body is not None
    return body


def last(playlist: bytes) -> tuple[int, int]:
    """The newest segment that a playlist lists, whole or not, and how many parts it has of it."""
    read = m3u8.loads(playlist.decode())
    whole = [segment for segment in read.segments if segment.uri]
    newest = read.segments[-1]
    return read.media_sequence + len(whole) - (newest.uri is not None), len(newest.parts)


async def test_a_playlist_waits_for_the_part_that_is_asked_for(client: TestClient, cam: Broadcast):
    assert last((await get(client, PLAYLIST))[1]) == (3, 1)
    assert (await get(client, f"{PLAYLIST}?_HLS_msn=3&_HLS_part=0"))[0] == 200, "it is there"
    asked = [f"{PLAYLIST}?_HLS_msn=3&_HLS_part=1", f"{PLAYLIST}?_HLS_msn=3", f"{PLAYLIST}?_HLS_msn=3&_HLS_part=7"]
    part, segment, beyond = await held(client, *asked)
    await send(cam)
    assert last((await part)[1]) == last((await segment)[1]) == (3, 2)
    assert not beyond.done(), "the part after the last one is the first one of the next segment"
    await send(cam)
    assert last((await beyond)[1]) == (4, 1)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("_HLS_msn=4&_HLS_part=1", 503),
        ("_HLS_msn=5", 400),
        ("_HLS_msn=3&_HLS_part=99999", 503),
        ("_HLS_msn=999999999", 400),
        ("_HLS_msn=99999999999999999999", 400),
        ("_HLS_msn=-1", 400),
        ("_HLS_msn=%D9%A3", 400),
        ("_HLS_part=1", 400),
        ("_HLS_msn=3&_HLS_part=x", 400),
        ("_HLS_msn=1", 200),
        ("_HLS_msn=0&_HLS_part=0", 200),
    ],
)
async def test_what_cannot_be_waited_for_is_refused(
    client: TestClient, cam: Broadcast, asked: str, status: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(growing_segment, "_WAIT_SEGMENTS", 0.1)
    assert (await get(client, f"{PLAYLIST}?{asked}"))[0] == status


async def test_parts_are_there_as_soon_as_they_are_listed_and_make_the_segment(client: TestClient, cam: Broadcast):
    folder = f"{CAM}/video/108p"
    assert (await get(client, f"{folder}/seg-00003.1.m4s"))[0] == 200
    (hinted,) = await held(client, f"{folder}/seg-00003.2.m4s")
    await send(cam)
    parts = [(await get(client, f"{folder}/seg-00003.1.m4s"))[1], (await hinted)[1]]
    assert b"".join(parts) == (await get(client, f"{folder}/{segment_file(2)}"))[1]
    assert (await get(client, f"{folder}/seg-00003.3.m4s"))[0] == 404, "a segment has two"
    assert (await get(client, f"{folder}/seg-00009.1.m4s"))[0] == 404, "too far ahead"
    assert (await get(client, f"{CAM}/video/../seg-00003.1.m4s"))[0] == 404


@pytest.mark.parametrize("part", ["video/64p", "audio/audio"])
async def test_a_segment_under_way_is_sent_as_it_grows_to_the_last_byte(client: TestClient, cam: Broadcast, part: str):
    async with client.get(f"{CAM}/{part}/{segment_file(2)}") as answer:
        assert answer.status == 200 and "Content-Length" not in answer.headers
        first = await answer.content.readany()
        assert first == await part_of(cam, f"{part}/{segment_file(2)}", 0)
        await send(cam)
        rest = await answer.read()
    assert first + rest == await asyncio.to_thread((cam.folder / part / segment_file(2)).read_bytes)
    (next_one,) = await held(client, f"{CAM}/{part}/{segment_file(3)}")
    await send(cam)
    await send(cam)
    assert (await next_one)[1] == await asyncio.to_thread((cam.folder / part / segment_file(3)).read_bytes)
    assert (await get(client, f"{CAM}/{part}/{segment_file(9)}"))[0] == 404, "not even begun"


async def test_what_a_killed_encoder_left_is_never_a_whole_segment(
    client: TestClient, cam: Broadcast, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(growing_segment, "_WAIT_SEGMENTS", 0.2)
    growing = growing_file(cam.folder / "video/64p" / segment_file(2))
    chunk = await part_of(cam, f"video/64p/{segment_file(2)}", 0)
    await asyncio.to_thread(growing.write_bytes, chunk + chunk[: len(chunk) // 2])  # killed within a write
    with pytest.raises(aiohttp.ClientPayloadError):
        await get(client, f"{CAM}/video/64p/{segment_file(2)}")
    with pytest.raises(AssertionError):
        await part_of(cam, f"video/64p/{segment_file(2)}", 1)
    assert (await get(client, f"{CAM}/video/64p/{growing.name}"))[0] == 404
    assert (await get(client, f"{CAM}/video/64p/seg-00003.2.m4s"))[0] == 503


async def test_a_stream_that_ends_lets_all_go_who_wait(client: TestClient, cam: Broadcast):
    segment = f"{CAM}/video/64p/{segment_file(3)}"
    playlist, part, grown = await held(client, f"{PLAYLIST}?_HLS_msn=4", f"{CAM}/video/64p/seg-00003.2.m4s", segment)
    await asyncio.to_thread(cam.end)
    assert b"#EXT-X-ENDLIST" in (await playlist)[1]
    assert (await part)[0] == (await grown)[0] == 404


async def test_many_who_wait_cost_one_look_at_the_disk(
    client: TestClient, cam: Broadcast, monkeypatch: pytest.MonkeyPatch
):
    looks = []
    monkeypatch.setattr(watch, "load_live", lambda folder, load=watch.load_live: looks.append(folder) or load(folder))
    tasks = await held(client, *[f"{PLAYLIST}?_HLS_msn=3&_HLS_part=1"] * 80)
    await send(cam)
    assert {status for status, _ in await asyncio.gather(*tasks)} == {200}
    assert len(looks) <= 3, "when the first one came, and when something changed"


async def test_a_session_is_advised_for_whole_segments(client: TestClient, cam: Broadcast):
    async with client.post("/sessions", json={"title": "cam"}) as answer:
        opened = await answer.json()
    mpd = (await get(client, opened["advised_url"]))[1]
    assert b"availabilityTimeOffset" not in mpd and b"Latency" not in mpd
    playlist = (await get(client, opened["advised_url"].replace("manifest.mpd", "64p.m3u8")))[1]
    assert b"EXT-X-PART" not in playlist and playlist.count(b"#EXTINF") == 2
    assert b"availabilityTimeOffset" in (await get(client, f"{CAM}/manifest.mpd"))[1]


@pytest.mark.parametrize("name", ["64p.m3u8", "audio.m3u8", "whole/manifest.mpd"])
async def test_what_leads_to_the_edge_is_kept_for_a_second_below_the_version_too(
    client: TestClient, cam: Broadcast, name: str
):
    for folder in (CAM, f"{CAM}/v-{'0' * 15}1"):
        async with client.get(f"{folder}/{name}") as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=1"
