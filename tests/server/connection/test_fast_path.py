"""The fast path answers as aiohttp's side does, and leaves to it all that is unusual."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
from serving import device_profile

from abr.protocols import cmcd
from abr.protocols.cmcd import ViewerState, from_viewer
from abr.records import dumps
from server.app import create_app
from server.connection import listener
from server.connection.fast_request import read_fast_request

PLAIN = b"GET /titles/bbb/video/180p/seg-00001.m4s HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=[True, False], ids=["fast path", "aiohttp"])
async def port(settings, clock, request) -> AsyncIterator[int]:
    """A server with the fast path and one without it, whose larger files go out by sendfile."""
    settings = replace(settings, fast_path=request.param, cache_file_bytes_max=20_000, shutdown_timeout_s=0.1)
    async with listener.listening(create_app(settings, clock=clock), "127.0.0.1", 0) as port:
        yield port


@asynccontextmanager
async def connected(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).decode("ascii")
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert len(headers) == len(lines), "each header once"
    return int(status.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def ask(port: int, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    async with connected(port) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        return await answer(reader)


async def opened(port: int, title) -> str:
    body = dumps({"title": "bbb", "profile": device_profile(title), "controller": "fixed"})
    head = b"POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    status, headers, _ = await ask(port, head % len(body) + body)
    assert status == 201
    return headers["location"]


def slowly(request: bytes) -> bytes:
    """The same request, in a way that only aiohttp reads."""
    return request.replace(b"\r\n\r\n", b"\r\nRange: nonsense\r\n\r\n")


@pytest.mark.parametrize("file", ["video/180p/seg-00001.m4s", "video/720p/seg-00002.m4s", "audio/{audio}/init.mp4"])
async def test_a_file_is_the_same_by_either_way(port, title, library, file):
    file = file.format(audio=title.audio[0].id)
    request = f"GET /titles/bbb/{file} HTTP/1.1\r\nHost: a\r\nUser-Agent: é\r\n\r\n".replace("é", "e").encode()
    assert read_fast_request(request) is not None
    assert read_fast_request(slowly(request)) is None
    fast, slow = await ask(port, request), await ask(port, slowly(request))
    assert fast[2] == (library / "bbb" / file).read_bytes()
    assert fast[0] == slow[0] == 200
    assert fast[2] == slow[2]
    assert fast[1] | {"date": ""} == slow[1] | {"date": ""}


async def test_a_decided_segment_is_the_same_by_either_way(port, title):
    path = await opened(port, title)
    told = cmcd.to_headers(from_viewer(ViewerState(buffer_s=1.5, now_s=3.0, playing=True, owned=())))
    fields = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    request = f"GET {path}/video/1.m4s HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n{fields}\r\n".encode()
    assert read_fast_request(request).headers == told
    fast, slow = await ask(port, request), await ask(port, slowly(request))
    changes = {"date": "", "toprung-reason": ""}
    assert (fast[0], fast[1] | changes, fast[2]) == (slow[0], slow[1] | changes, slow[2])
    assert fast[1]["toprung-rendition"] == "720p"
    assert slow[1]["toprung-reason"] == "as decided before"


async def test_cmcd_in_the_query_counts_too(port, title):
    path = await opened(port, title)
    argument = cmcd.to_query(from_viewer(ViewerState(buffer_s=4.25, now_s=9.0)))
    request = f"GET {path}/video/2.m4s?{argument} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert read_fast_request(request) is not None
    assert (await ask(port, request))[0] == 200
    log = (await ask(port, f"GET {path}/log HTTP/1.1\r\nHost: a\r\n\r\n".encode()))[2]
    assert b'"t_s":9.0' in log
    assert b'"buffer_s":4.25' in log


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /titles/bbb/video/../title.json HTTP/1.1",
        "GET /titles/bbb/video/180p/seg-09999.m4s HTTP/1.1",
        "GET /titles/nobody/video/180p/seg-00001.m4s HTTP/1.1",
        "GET /sessions/AAAAAAAAAAAAAAAAAAAAAA/video/1.m4s HTTP/1.1",
        "GET /sessions/short/video/1.m4s HTTP/1.1",
    ],
)
async def test_what_is_not_there_is_a_problem_as_ever(port, request_line):
    status, headers, _ = await ask(port, f"{request_line}\r\nHost: a\r\n\r\n".encode())
    assert (status, headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"GET", b"HEAD"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN[:-2],
        PLAIN + PLAIN,
        PLAIN.replace(b"Host: a", b"Host: a\r\nRange: bytes=0-1"),
        PLAIN.replace(b"Host: a", b"Host: a\r\nif-none-match: x"),
        PLAIN.replace(b"Host: a", b"Host: a\r\nContent-Length: 3"),
        PLAIN.replace(b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked"),
        PLAIN.replace(b"Host: a", b"Host: a\r\nConnection: close"),
        PLAIN.replace(b"Host: a", b"Host: a\r\n folded"),
        PLAIN.replace(b"Host: a", b"Host: a\x00"),
        PLAIN.replace(b"Host: a", b"Host : a"),
        PLAIN.replace(b"Host: a", b"Host: a\nRange: x"),
        PLAIN.replace(b"180p", b"%31"),
        PLAIN.replace(b"Host: a", b"CMCD-Request: bl=1\r\nCMCD-request: bl=2").replace(b"titles/bbb", b"sessions/x"),
        PLAIN.replace(b"Host: a", b"X: " + b"y" * 9000),
    ],
)
def test_the_unusual_is_left_to_aiohttp(data):
    assert read_fast_request(data) is None


async def test_a_viewer_may_go_from_one_way_to_the_other_on_one_connection(port, title, library):
    path = await opened(port, title)
    events = b'{"events":[]}'
    post = b"POST %s/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    async with connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(PLAIN)
            assert (await answer(reader))[0] == 200
            writer.write(post % (path.encode(), len(events), events))
            assert (await answer(reader))[0] == 204
            writer.write(f"GET {path}/video/1.m4s HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert (await answer(reader))[1]["toprung-rendition"] == "720p"


async def test_a_body_that_looks_like_a_request_is_a_body(port, title):
    """Else a viewer behind a shared proxy could slip requests, and their answers, to others."""
    path = await opened(port, title)
    head = b"POST %s/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with connected(port) as (reader, writer):
        writer.write(head % (path.encode(), len(PLAIN)))
        await asyncio.sleep(0.01)
        writer.write(PLAIN)
        status, headers, _ = await answer(reader)
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        writer.write(PLAIN)
        assert (await answer(reader))[1]["content-type"] == "video/iso.segment"
    async with connected(port) as (reader, writer):
        writer.write(b"GET /titles HTTP/1.1\r\nX: ")
        await asyncio.sleep(0.01)
        writer.write(PLAIN)
        status, headers, _ = await answer(reader)
        assert headers["content-type"] == "application/json", "one answer, to the request that began first"


async def test_requests_in_a_row_without_waiting_are_answered_in_order(port, library):
    numbers = [1, 2, 3, 1, 3]
    requests = [PLAIN.replace(b"00001", b"%05d" % number) for number in numbers]
    for burst in (b"".join(requests), None):
        async with connected(port) as (reader, writer):
            for request in requests if burst is None else [burst]:
                writer.write(request)
                await asyncio.sleep(0)
            for number in numbers:
                expected = (library / "bbb" / "video" / "180p" / f"seg-0000{number}.m4s").read_bytes()
                assert (await answer(reader))[2] == expected


async def test_a_viewer_who_reads_slowly_gets_every_byte(port, library):
    async with connected(port) as (reader, writer):
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        expected = (library / "bbb" / "video" / "720p" / "seg-00001.m4s").read_bytes()
        for _ in range(3):
            writer.write(PLAIN.replace(b"180p", b"720p"))
            await asyncio.sleep(0.02)
            assert (await answer(reader))[2] == expected


async def test_a_segment_cut_short_on_the_disk_is_never_passed_off_as_whole(port, library, clock):
    request = PLAIN.replace(b"180p", b"720p")
    assert (await ask(port, request))[0] == 200
    file = library / "bbb" / "video" / "720p" / "seg-00001.m4s"
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[: len(whole) // 2])
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            assert (await ask(port, request))[0] == 503
    finally:
        file.write_bytes(whole)


async def test_each_answer_is_counted_by_either_way(port):
    before = await ask(port, PLAIN)
    _, _, metrics = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    line = 'toprung_http_requests_total{method="GET",route="getTitleFile",status="200"} 1.0'
    assert line in metrics.decode()
    sent = re.search(r'toprung_http_response_bytes_total\{route="getTitleFile"\} (\S+)', metrics.decode())
    assert float(sent[1]) == len(before[2])


ACCEL = PLAIN.replace(b"Host: a", b"Host: a\r\nX-Accel-Location: /library/")


@pytest.mark.parametrize("configured", ["", "/other/"])
async def test_files_are_sent_from_here_unless_the_settings_say_where_the_proxy_has_them(settings, clock, configured):
    settings = replace(settings, accel_location=configured, shutdown_timeout_s=0.1)
    async with listener.listening(create_app(settings, clock=clock), "127.0.0.1", 0) as port:
        status, headers, body = await ask(port, ACCEL)
        assert (status, len(body) > 1000) == (200, True)
        assert "x-accel-redirect" not in headers


async def test_what_a_proxy_is_told_to_send_is_not_for_caches_to_give_to_others(settings, clock):
    settings = replace(settings, fast_path=True, accel_location="/library/", shutdown_timeout_s=0.1)
    async with listener.listening(create_app(settings, clock=clock), "127.0.0.1", 0) as port:
        told = await ask(port, ACCEL)
        assert (told[1]["x-accel-redirect"], told[2]) == ("/library/bbb/video/180p/seg-00001.m4s", b"")
        ranged = PLAIN.replace(b"Host: a", b"Host: a\r\nRange: bytes=0-")
        for _, headers, _ in (told, await ask(port, PLAIN), await ask(port, ranged)):
            assert "X-Accel-Location" in headers["vary"]


async def test_who_is_no_trusted_peer_cannot_say_so(settings, clock):
    settings = replace(settings, trusted_peers=(), accel_location="/library/", shutdown_timeout_s=0.1)
    async with listener.listening(create_app(settings, clock=clock), "127.0.0.1", 0) as port:
        assert len((await ask(port, ACCEL))[2]) > 1000
