"""Attacks over a raw socket: none succeeds, and the server goes on serving others."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from serving import FAST_PATH

from server import rate_limits
from server.app import create_app
from server.connection import accepting, listener
from server.logging_setup import not_about_bad_http
from server.rate_limits import RateLimits, TokenBucket
from server.settings import Settings

STRICT = {"shutdown_timeout_s": 0.1, "head_bytes_max": 4096, "body_bytes_max": 2000}
IMPATIENT = {"header_timeout_s": 0.3, "keepalive_timeout_s": 0.6, "request_timeout_s": 0.3}
"""For tests of these limits alone: elsewhere a busy machine must not reach them."""
PLAIN = b"GET /titles/bbb/video/180p/seg-00001.m4s HTTP/1.1\r\nHost: a\r\n\r\n"
SECRET = "never-to-be-told"


@pytest.fixture(autouse=True)
def sweep_often(monkeypatch) -> None:
    monkeypatch.setattr(accepting, "SWEEP_S", 0.05)


@pytest.fixture
async def start(library, clock) -> AsyncIterator[Callable[..., object]]:
    async with AsyncExitStack() as servers:

        async def started(**over: object) -> int:
            settings = Settings(**{"library": str(library), "fast_path": FAST_PATH, **STRICT, **over})
            app = create_app(settings, clock=clock)
            return await servers.enter_async_context(listener.listening(app, "127.0.0.1", 0))

        yield started


@pytest.fixture
def time_stands_still(monkeypatch) -> None:
    """For limits a second: no bucket fills again while a busy machine takes its time."""
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=lambda: 1.0))


async def tell(port: int, *pieces: bytes, pause_s: float = 0.0, until: bytes = b"", count: int = 1) -> bytes:
    """All that the server says to these pieces until it hangs up, or has said `until` so many times."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        while not (until and said.count(until) >= count) and (block := await reader.read(1 << 16)):
            said += block
    except ConnectionError:
        pass
    finally:
        writer.close()
    return said


def status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


async def ask(port: int, head: str, body: bytes = b"") -> bytes:
    return await tell(port, f"{head}\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1") + body)


def is_problem(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return b"application/problem+json" in head and json.loads(body)["status"] == status(answer)


TRAVERSALS = [
    "/titles/bbb/../../etc/passwd",
    "/titles/" + "../" * 50 + "etc/passwd",
    "/titles/bbb/..%2f..%2fetc%2fpasswd",
    "/titles/bbb/%2e%2e/%2e%2e/etc/passwd",
    "/titles/bbb/%252e%252e/%252e%252e/etc/passwd",
    "/titles/bbb/video/..%5c..%5ctitle.json",
    "/titles/bbb/video/../../../secret.txt",
    "/titles/bbb//etc/passwd",
    "/titles/bbb/%2fetc%2fpasswd",
    "/titles/bbb/video/%00",
    "/titles/bbb/title.json%00.png",
    "/titles/bbb/",
    "/titles/bbb/video",
    "/titles/bbb/video/..",
    "/titles/bbb/.hidden",
    "/titles/bbb/" + "a" * 3000,
    "/titles/../secret.txt",
    "/titles/%2e%2e/secret.txt",
    "/titles/.hidden/title.json",
    "/titles/bbb/video/link-out.m4s",
    "/titles/bbb/video/folder-out/secret.txt",
    "/titles/linked/title.json",
    "/web/../app.py",
    "/web/..%2fapp.py",
    "/web/%2e%2e/pages.py",
    "/web/%252e%252e/app.py",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_no_path_leads_out_of_a_title(start, library, tmp_path, path):
    shutil.copytree(library, tmp_path / "library")
    (tmp_path / "secret.txt").write_text("root:x:0")
    (tmp_path / "library" / "secret.txt").write_text("root:x:0")
    (tmp_path / "library" / "bbb" / ".hidden").write_text("root:x:0")
    video = tmp_path / "library" / "bbb" / "video"
    (video / "link-out.m4s").symlink_to(tmp_path / "secret.txt")
    (video / "folder-out").symlink_to(tmp_path)
    (tmp_path / "library" / "linked").symlink_to(tmp_path / "library" / "bbb")
    (tmp_path / "library" / ".hidden").mkdir()
    shutil.copy(library / "bbb" / "title.json", tmp_path / "library" / ".hidden" / "title.json")
    port = await start(library=str(tmp_path / "library"))
    for version in ("HTTP/1.1", "HTTP/1.0"):
        answer = await ask(port, f"GET {path} {version}")
        assert status(answer) in (400, 404), answer[:200]
        assert b"root:" not in answer
        assert is_problem(answer)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00" + os.urandom(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW\x00 / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\x01: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(3_000)) + b"\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem_and_the_end(start, data, caplog):
    await is_refused(start, data, 400, caplog)


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_too_long_is_a_problem_that_says_so_and_the_end(start, data, refusal, caplog):
    await is_refused(start, data, refusal, caplog)


async def is_refused(start, data: bytes, refusal: int, caplog) -> None:
    port = await start(head_bytes_max=Settings().head_bytes_max)
    answer = await tell(port, data)
    assert status(answer) == refusal and is_problem(answer)
    assert b"nosniff" in answer
    assert [record for record in caplog.records if not_about_bad_http(record)] == [], "not our fault: no stack trace"
    assert status(await ask(port, "GET /healthz HTTP/1.1")) == 200


@pytest.mark.parametrize(
    "pieces",
    [
        (b"G",),
        (b"GET / HTTP/1.1\r\n", b"Host: a\r\n"),
        (b"GET / HTTP/1.1\r\n", *[b"X-a: b\r\n"] * 8),
        (PLAIN + b"GET /titles HTTP/1.1\r\nHo",),
        (),
    ],
)
async def test_who_never_ends_a_head_is_hung_up_on(start, pieces):
    port = await start(**IMPATIENT)
    answer = await tell(port, *pieces, pause_s=0.08)
    assert b"HTTP/1.1 408" in answer or len(pieces) > 5, "who goes on sending may miss the word"


@pytest.mark.parametrize("head", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_who_never_sends_the_body_is_told_so(start, head):
    port = await start(**IMPATIENT)
    begun = f"POST /sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode()
    answer = await tell(port, begun, *[b"1\r\n{\r\n"] * 5, pause_s=0.05)
    assert status(answer) in (400, 408), answer[:100]


@pytest.mark.parametrize(
    "body",
    [b"zzz", gzip.compress(b"{}", mtime=0)[:-4] + b"crc!", gzip.compress(b"{}", mtime=0)[:9]],
    ids=["no gzip", "another checksum", "cut off"],
)
@pytest.mark.parametrize("request_line", ["POST /sessions", "GET /titles"])
async def test_a_body_that_is_not_packed_as_it_says_is_the_senders_fault(start, request_line, body, caplog):
    port = await start()
    head = f"{request_line} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Encoding: gzip"
    answer = await ask(port, f"{head}\r\nContent-Length: {len(body)}", body)
    assert status(answer) == 400 if request_line.startswith("POST") else status(answer) in (200, 400), answer[:200]
    assert [record for record in caplog.records if record.exc_info] == [], "no stack trace"


async def test_bodies_larger_than_agreed_are_refused_however_sent(start):
    port = await start()
    head = "POST /sessions HTTP/1.1\r\nContent-Type: application/json\r\n"
    assert status(await ask(port, head + "Content-Length: 2001", b" " * 2001)) == 413
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    assert status(await ask(port, head + "Transfer-Encoding: chunked", chunk * 3 + b"0\r\n\r\n")) == 413
    bomb = "Content-Encoding: gzip\r\nContent-Length: "
    packed = gzip.compress(b" " * 10_000_000)[:1999]
    assert status(await ask(port, f"{head}{bomb}{len(packed)}", packed)) in (400, 413)
    assert status(await ask(port, "GET /healthz HTTP/1.1")) == 200


@pytest.mark.parametrize(
    "lines",
    [
        [b"X: " + b"y" * 9000 + b"\r\n"],
        [b"X-%d: y\r\n" % index for index in range(1000)],
        [b"X-%d: %s\r\n" % (index, b"y" * 500) for index in range(40)],
    ],
)
async def test_heads_without_measure_are_refused(start, lines):
    port = await start()
    answer = await tell(port, b"GET / HTTP/1.1\r\n", *lines)
    assert status(answer) in (400, 431, 0), answer[:100]
    assert status(await ask(port, "GET /healthz HTTP/1.1")) == 200


async def test_an_address_gets_its_share_of_connections_and_others_theirs(start):
    port = await start(peer_connections_max=3, trusted_peers=())
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    answer = await tell(port, PLAIN)
    assert status(answer) == 503 and is_problem(answer)
    held.pop()[1].close()
    while status(await ask(port, "GET /healthz HTTP/1.1")) != 200:
        pass  # the server has not seen yet that one hung up
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("request_head", ["GET /healthz HTTP/1.1", "GET /titles/bbb/video/180p/seg-00001.m4s HTTP/1.1"])
@pytest.mark.usefixtures("time_stands_still")
async def test_an_address_gets_its_share_of_requests(start, request_head):
    port = await start(peer_requests_per_s=1.0, trusted_peers=())
    request = f"{request_head}\r\nHost: a\r\n\r\n".encode()
    said = await tell(port, *[request] * 9, pause_s=0.01, until=b"Retry-After: 1")
    found = [int(code) for code in re.findall(rb"HTTP/1.1 (\d{3}) ", said)]
    assert set(found) == {200, 429} and found.count(200) == 5


@pytest.mark.usefixtures("time_stands_still")
async def test_sessions_are_opened_at_a_bounded_rate(start):
    port = await start(peer_sessions_per_s=1.0, trusted_peers=())
    body = b'{"title":"bbb"}'
    head = f"POST /sessions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    found = [status(await ask(port, head, body)) for _ in range(8)]
    assert found == [201] * 5 + [429] * 3


def test_a_bucket_fills_again_and_never_beyond_its_burst():
    rate = TokenBucket(2.0)
    assert sum(rate.take("a", 0.0) for _ in range(50)) == 10
    assert sum(rate.take("a", 1.0) for _ in range(50)) == 2
    assert sum(rate.take("a", 1e6) for _ in range(50)) == 10
    assert rate.take("b", 0.0), "others have their own"
    unlimited = TokenBucket(0.0)
    assert all(unlimited.take("a", 0.0) for _ in range(1000))


def test_connections_given_back_are_forgotten():
    limits = RateLimits(Settings(connections_max=2, peer_connections_max=1, trusted_peers=("10.0.0.7",)))
    assert limits.admit_connection("a") and not limits.admit_connection("a") and limits.admit_connection("10.0.0.7")
    assert not limits.admit_connection("10.0.0.7"), "the process has its bound too"
    limits.release_connection("a")
    assert limits.admit_connection("b")


async def test_what_tells_of_all_viewers_is_the_operators(start):
    port = await start(trusted_peers=(), operator_token=SECRET)
    bearer, basic = f"Bearer {SECRET}", "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    for path in ("/qoe", "/qoe/AAAAAAAAAAAAAAAA", "/qoe/AAAAAAAAAAAAAAAA/log"):
        for wrong in ("", "Authorization: Bearer wrong\r\n", "Authorization: Basic ????\r\n"):
            answer = await tell(port, f"GET {path} HTTP/1.1\r\nHost: a\r\n{wrong}Connection: close\r\n\r\n".encode())
            assert status(answer) == 401 and is_problem(answer)
        for right in (bearer, basic):
            asked = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {right}\r\nConnection: close\r\n\r\n"
            assert status(await tell(port, asked.encode())) in (200, 404)
    closed = await start(trusted_peers=())
    answer = await tell(closed, b"GET /qoe HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \r\nConnection: close\r\n\r\n")
    assert status(answer) == 401, "without a token nobody gets in"


async def test_logs_and_metrics_tell_no_secrets(start, caplog):
    port = await start(secret=SECRET, operator_token=SECRET)
    body = b'{"title":"bbb"}'
    head = f"POST /sessions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with caplog.at_level(logging.DEBUG):
        opened = await ask(port, head, body)
        session_id = re.search(rb"Location: /sessions/(\S+)", opened)[1].decode()
        for tail in ("", "/video/1.m4s", "/log", "/video/9999.m4s"):
            await ask(port, f"GET /sessions/{session_id}{tail} HTTP/1.1")
        metrics = await ask(port, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text")
    told = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert session_id[:40] not in told and session_id[:40] not in metrics.decode()
    assert SECRET not in told and SECRET not in metrics.decode()
    assert session_id[:8] in told, "enough to find it"


async def test_every_answer_carries_what_keeps_pages_safe(start):
    port = await start()
    for head in ("GET / HTTP/1.1", "GET /nowhere HTTP/1.1", PLAIN.split(b"\r\n")[0].decode(), "GET /titles HTTP/1.1"):
        answer = (await ask(port, head)).partition(b"\r\n\r\n")[0].decode()
        assert "X-Content-Type-Options: nosniff" in answer
        assert "Content-Security-Policy: " in answer
        assert "Referrer-Policy: no-referrer" in answer
        assert "Server: toprung" in answer and "Python" not in answer
