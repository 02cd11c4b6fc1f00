"""Bytes that mean harm: packed bombs, playlists in a segment's clothes, decoders that never come back."""

from __future__ import annotations

import asyncio
import gzip
import threading
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from served import listening, serving
from titles import prepared_library, prepared_title
from viewers import FAST_MACHINE

from abr.core.events import Failed, Shown
from abr.errors import MediaError
from abr.simulation.traces import constant
from abr.virtual_time import SessionClock, VirtualTimeLoop, run_virtual
from client_player.decoder import SegmentDecoder, audio_duration_s, count_frames
from client_player.playback import worker
from client_player.session.request import PlayRequest
from client_player.session.run import watch
from client_player.transport.decompression import Decompressor
from client_player.transport.http import DownloadError, HttpReply, HttpTransport, http_pool
from client_player.worker_thread import WorkerThread
from enhancers.runtime.frames import Frame


def _fetch(body: bytes, encoding: str, max_bytes: int) -> HttpReply:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    async def main() -> HttpReply:
        app = web.Application()
        app.router.add_get("/", answer)
        async with listening(app) as url, http_pool() as pool:
            return await HttpTransport(pool, SessionClock()).get(url, headers={}, max_bytes=max_bytes)

    return run_virtual(main())


def test_a_packed_body_is_unpacked_and_counted_as_it_travelled() -> None:
    body = b"a manifest " * 1000
    packed = gzip.compress(body)
    reply = _fetch(packed, "gzip", len(body))
    assert reply.body == body
    assert reply.timing.size_bytes == len(packed) < len(body)


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (gzip.compress(bytes(200 << 20), mtime=0), "gzip", "more than 1048576 bytes"),
        (gzip.compress(b"whole" * 100, mtime=0)[:-12], "gzip", "ends too early"),
        (b"this is no gzip", "gzip", "damaged"),
        (b"x", "br", "not asked for"),
    ],
)
def test_a_packed_body_that_is_a_bomb_or_damaged_is_refused(body: bytes, encoding: str, says: str) -> None:
    with pytest.raises(DownloadError, match=says):
        _fetch(body, encoding, 1 << 20)


@settings(deadline=None)
@given(st.binary(max_size=4000), st.integers(1, 700))
def test_unpacking_does_not_depend_on_how_the_body_was_cut(body: bytes, piece: int) -> None:
    packed = gzip.compress(body)
    unpacker = Decompressor("gzip", len(body))
    for start in range(0, len(packed), piece):
        unpacker.feed(packed[start : start + piece])
    assert unpacker.body() == body and unpacker.wire_bytes == len(packed)


@pytest.mark.parametrize("clothes", [b"#EXTM3U\n#EXTINF:9,\n{}\n", b"ffconcat version 1.0\nfile '{}'\n"])
def test_a_playlist_in_a_segments_place_opens_no_other_file(clothes: bytes, tmp_path: Path) -> None:
    _, folder = prepared_title()
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(
        (folder / "video/180p/init.mp4").read_bytes() + (folder / "video/180p/seg-00001.m4s").read_bytes()
    )
    body = clothes.replace(b"{}", str(secret).encode())
    decoder = SegmentDecoder(body)
    assert decoder.next_frame() is None and "Invalid data" in decoder.failure
    assert count_frames(body) == 0
    with pytest.raises(MediaError):
        audio_duration_s(body)


def test_a_decoder_that_never_comes_back_costs_its_segment_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second segment's decoder hangs: its picture stands, and the third is shown."""
    over, next_frame = threading.Event(), SegmentDecoder.next_frame
    decoders: list[SegmentDecoder] = []

    def hang(self: SegmentDecoder) -> Frame | None:
        if self not in decoders:
            decoders.append(self)
        if decoders.index(self) == 1 and not self.failure:
            loops[0].charge(worker.DECODE_MAX_S + 0.1)
            loops[0].call_soon_threadsafe(lambda: None)  # it sleeps until the limit by its own clock
            over.wait()
        return next_frame(self)

    monkeypatch.setattr(SegmentDecoder, "next_frame", hang)
    monkeypatch.setattr(worker, "DECODE_MAX_S", 0.2)
    loops: list[VirtualTimeLoop] = []

    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loops.append(loop)
        async with serving(str(prepared_library().root)) as url:
            request = PlayRequest(url=url, trace=constant(8e6, 0.02), families=())
            return list((await watch(request, tmp_path / "shown.y")).events)

    try:
        events = run_virtual(main(), wall_rate=FAST_MACHINE)
    finally:
        over.set()
    shown = [event for event in events if isinstance(event, Shown)]
    assert [event.late_frames == event.frames for event in shown] == [False, True, False]
    assert any("decoding a frame took more than" in event.detail for event in events if isinstance(event, Failed))


def test_after_a_hang_the_next_work_has_a_thread_of_its_own() -> None:
    over = threading.Event()

    async def main() -> int:
        with WorkerThread("test") as compute:
            with pytest.raises(TimeoutError):
                await compute.run_within(0.05, over.wait)
            return await compute.run(lambda: 42)

    try:
        assert run_virtual(main()) == 42
    finally:
        over.set()
