"""What strangers send, or do not read: it forges no log line, is counted nowhere, holds nothing."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient

from abr.core.events import EventBatch, Failed
from abr.records import dumps
from server.app import create_app
from server.connection import listener
from server.connection.fast_request import read_fast_request
from server.context import CONTEXT
from server.logging_setup import LineFormatter

FORGED = "x\n2026-01-31T12:00:00.000Z INFO toprung.access request status=200"


@pytest.fixture
async def start(settings, clock) -> AsyncIterator[Callable[..., object]]:
    """Starts a server with these settings; returns its port."""
    async with AsyncExitStack() as servers:

        async def started(**over: object) -> int:
            app = create_app(replace(settings, shutdown_timeout_s=0.1, **over), clock=clock)
            return await servers.enter_async_context(listener.listening(app, "127.0.0.1", 0))

        yield started


@pytest.mark.parametrize("control", ["\n", "\r", "\x1b[2J", "\u2028", "\x85", "\u202e", "\0"])
async def test_a_name_cannot_forge_a_log_line(client, caplog, control):
    caplog.set_level(logging.INFO, "toprung")
    name = f"x{control}2026-01-31 INFO toprung.access request status=200"
    assert (
        await client.get(f"/titles/{name.replace(control, ''.join(f'%{b:02X}' for b in control.encode()))}/a")
    ).status
    lines = [LineFormatter().format(record) for record in caplog.records if record.name == "toprung.access"]
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert len(re.findall(r" status=", re.sub(r'"[^"]*"', "", lines[0]))) == 1, "names of fields are told from values"


def test_neither_a_message_nor_an_exception_forges_a_line():
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        record = logging.LogRecord(
            "toprung.server", logging.ERROR, "", 0, "no %s", (FORGED,), (type(error), error, None)
        )
    lines = LineFormatter().format(record).split("\n")
    assert [line for line in lines[1:] if not line.startswith("    ")] == []


RAW = (
    b"GET /sessions/abc/video/1.m4s?CMCD=\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /sessions/abc/video/1.m4s?CMCD=bl%3D\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /sessions/abc/video/1.m4s?CMCD=a\r\nb:c HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /sessions/abc/video/1.m4s HTTP/1.1\r\nHost: a\r\nCMCD-Request: bl=\xff\r\n\r\n",
    b"GET /sessions/abc\xff/video/1.m4s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /titles/bbb/video/\xff.m4s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /sessions/abc/video/1.m4s?CMCD=%FF%FE HTTP/1.1\r\nHost: a\r\n\r\n",
)


@pytest.mark.parametrize("data", RAW)
async def test_bytes_outside_ascii_are_answered(start, caplog, data):
    read_fast_request(data)
    port = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    status = (await asyncio.wait_for(reader.readline(), 60)).split()[1]
    assert status in (b"400", b"404")
    writer.close()
    assert "Traceback" not in caplog.text and "Fatal" not in caplog.text


@pytest.mark.parametrize("byte", [*range(0x21), *range(0x7F, 0x100)])
def test_the_fast_path_reads_no_odd_character(byte):
    assert read_fast_request(b"GET /sessions/abc/video/1.m4s?CMCD=bl%%3D%c HTTP/1.1\r\nHost: a\r\n\r\n" % byte) is None


@pytest.mark.parametrize("path", ["/qoe", "/qoe/feed", "/qoe/AAAAAAAAAAAAAAAA/log", "/metrics", "/devices", "/%71oe"])
async def test_what_is_the_operators_is_closed_to_other_sites(client, path):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for answer in (await client.head(path), await client.options(path, headers=headers)):
        assert not [name for name in answer.headers if name.startswith("Access-Control-Allow")]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_only_sessions_that_exist_count_as_active(client, opened):
    active = client.app[CONTEXT].metrics.active
    forged = "A" * 60
    for path in (f"/sessions/{forged}/video/1.m4s", f"/sessions/{forged}", f"/sessions/{forged}/title/title.json"):
        assert (await client.get(path)).status == 404
    await client.post(f"/sessions/{forged}/cmcd", data="e=ps", headers={"Content-Type": "application/cmcd"})
    await client.post(f"/sessions/{forged}/events", json={"events": []})
    assert active.count() == 0
    path = await opened()
    active.forget(path.rpartition("/")[2][:16])
    await client.get(f"{path}/video/1.m4s")
    assert active.count() == 1


async def test_a_watcher_that_never_reads_is_hung_up_on(start, settings, clock):
    app = create_app(replace(settings, shutdown_timeout_s=0.1, request_timeout_s=0.3), clock=clock)
    async with listener.listening(app, "127.0.0.1", 0) as port:
        with socket.socket() as watcher:
            watcher.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            watcher.setblocking(False)
            await asyncio.get_running_loop().sock_connect(watcher, ("127.0.0.1", port))
            watcher.send(b"GET /qoe/feed HTTP/1.1\r\nHost: a\r\n\r\n")
            feed, limits = app[CONTEXT].feed, app[CONTEXT].limits
            async with asyncio.timeout(60):
                while not feed.has_watchers:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                event = Failed(t_s=0, what="x", detail="y" * 1000)
                while limits._all:
                    feed.publish("A" * 40, "bbb", [event] * 100)
                    await asyncio.sleep(0.01)
            assert not feed.has_watchers


async def test_a_long_log_is_not_read_by_all_at_once(client: TestClient, opened, monkeypatch):
    path = await opened()
    events = EventBatch(events=(Failed(t_s=0, what="x", detail="y" * 900),) * 200)
    await client.post(f"{path}/events", data=dumps(events), headers={"Content-Type": "application/json"})
    store = client.app[CONTEXT].sessions._repository._store
    reading, most, read = 0, 0, store.log

    async def slow_log(session_id: str) -> list[bytes]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        lines = await read(session_id)
        reading -= 1
        return lines

    monkeypatch.setattr(store, "log", slow_log)
    answers = await asyncio.gather(*(client.get(f"{path}/log") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert most <= 2
