"""The live page over several processes: whoever answers knows of all sessions, and says when it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import redis.asyncio
from aiohttp.test_utils import TestClient, TestServer
from redis_server import redis_in, running_redis

from server.app import create_app
from server.monitoring import feed_relay
from server.settings import Settings


async def feed(client: TestClient) -> AsyncIterator[tuple[str, str]]:
    """(session, kind of event) of each line; ("", name) of what the server says of the feed itself."""
    async with client.get("/qoe/feed") as answer, asyncio.timeout(120):
        async for line in answer.content:
            if line.startswith(b"event: "):
                yield "", line[7:].strip().decode()
            elif line.startswith(b"data: "):
                told = json.loads(line[6:])
                yield told["session"], told["event"]["event"]


async def opened(client: TestClient) -> str:
    """A session with its first segment decided; the part of its id that is shown."""
    path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
    assert (await client.get(f"{path}/video/1.m4s")).status == 200
    return path.removeprefix("/sessions/")[:16]


async def two_servers(stack: AsyncExitStack, settings: Settings, url: str) -> list[TestClient]:
    apps = [create_app(replace(settings, redis_url=url, redis_timeout_s=60.0)) for _ in range(2)]
    return [await stack.enter_async_context(TestClient(TestServer(app))) for app in apps]


async def test_a_watcher_hears_of_sessions_that_other_processes_serve(settings: Settings):
    async with AsyncExitStack() as stack:
        one, other = await two_servers(stack, settings, stack.enter_context(running_redis()))
        before = await opened(other)
        lines = feed(one)
        assert await anext(lines) == ("", "live")
        assert [await anext(lines) for _ in range(2)] == [(before, "started"), (before, "decided")]
        mine, theirs = await opened(one), await opened(other)
        heard = [await anext(lines) for _ in range(4)]
        assert sorted(heard) == sorted((name, kind) for name in (mine, theirs) for kind in ("started", "decided"))


async def test_without_the_store_the_watcher_is_told_and_hears_of_its_own_process(settings: Settings, tmp_path: Path):
    async with AsyncExitStack() as stack:
        with redis_in(tmp_path) as (url, _):
            one, other = await two_servers(stack, settings, url)
            lines = feed(one)
            assert await anext(lines) == ("", "live")
        assert await anext(lines) == ("", "alone")
        mine, theirs = await opened(one), await opened(other)
        assert [await anext(lines) for _ in range(2)] == [(mine, "started"), (mine, "decided")]
        late = feed(one)
        assert [await anext(late) for _ in range(4)][2:] == [("", "live"), ("", "alone")]
        with redis_in(tmp_path):
            assert await anext(lines) == ("", "together")
            assert [await anext(lines) for _ in range(2)] == [(theirs, "started"), (theirs, "decided")]


async def test_what_the_store_keeps_of_the_feed_is_bounded(settings: Settings, monkeypatch):
    monkeypatch.setattr(feed_relay, "ENTRIES_MAX", 3)
    monkeypatch.setattr(feed_relay, "TICK_S", 0.001)
    with running_redis() as url:
        async with AsyncExitStack() as stack:
            one, _ = await two_servers(stack, settings, url)
            path = (await one.post("/sessions", json={"title": "bbb"})).headers["Location"]
            ended = {"events": [{"event": "ended", "t_s": 1.0, "reason": "x" * 1000, "played_s": 1.0}] * 100}
            for _ in range(30):
                assert (await one.post(f"{path}/events", json=ended)).status == 204
        async with redis.asyncio.Redis.from_url(url) as store:
            assert 1 <= await store.xlen(feed_relay.KEY) <= 4
            assert 0 < await store.ttl(feed_relay.KEY) <= feed_relay.KEPT_S
