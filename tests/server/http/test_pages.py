"""The pages as files, and the feed of events that they live on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from serving import device_profile

from abr.core.events import Ended, EventBatch, Stalled, loads_log
from abr.records import dumps
from server.context import CONTEXT
from server.http.pages import GENERIC, TWO_CLIPS, WEB, page_files

JSON = {"Content-Type": "application/json"}


async def following(client, path: str = "/qoe/feed") -> AsyncIterator[dict]:
    """The feed's messages; `live` stands as an empty one."""
    async with client.get(path) as answer:
        assert answer.content_type == "text/event-stream"
        async with asyncio.timeout(120):
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:].strip() or b"{}")


async def report(client, path: str, *events) -> None:
    answer = await client.post(f"{path}/events", data=dumps(EventBatch(events=events)), headers=JSON)
    assert answer.status == 204


async def test_browsers_get_the_player_and_programs_get_links(client):
    page = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.content_type == "text/html"
    assert (await (await client.get("/")).json())["qoe"] == "/qoe"
    assert "Accept" in page.headers["Vary"]


@pytest.mark.parametrize("path", ["/qoe", *(f"/web/{name}" for name in page_files())])
async def test_every_page_file_comes_with_a_strict_policy_and_is_asked_for_again(client, path):
    answer = await client.get(path, headers={"Accept": "text/html"})
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    if path.startswith("/web/generic/"):
        assert await answer.read() == (GENERIC / path.removeprefix("/web/generic/")).read_bytes()
    elif path == "/web/rate/two_clips.js":
        assert await answer.read() == TWO_CLIPS.read_bytes()
    elif not path.startswith("/web/vendor"):
        assert (
            await answer.read() == (WEB / ("qoe.html" if path == "/qoe" else path.removeprefix("/web/"))).read_bytes()
        )
    again = await client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("path", ["/web/nothing.js", "/web/vendor/update.sh"])
async def test_nothing_else_is_served(client, path):
    assert (await client.get(path)).status == 404


async def test_who_comes_late_hears_what_was_and_then_what_happens(client, opened, title):
    path = await opened(profile=device_profile(title))
    await client.get(f"{path}/video/1.m4s")
    feed = following(client)
    started, decided, live = [await anext(feed) for _ in range(3)]
    await report(client, path, Stalled(t_s=3.0, duration_s=0.5, segment=1))
    stalled = await anext(feed)
    assert live == {}
    assert [each["event"]["event"] for each in (started, decided, stalled)] == ["started", "decided", "stalled"]
    assert started["event"]["device"] == "test device"
    assert decided["title"] == "bbb" and decided["event"]["reason"]
    assert stalled["event"]["duration_s"] == 0.5


async def test_watchers_can_find_a_session_and_never_learn_its_id(client, opened):
    path = await opened()
    other = await opened()
    session_id, shown = path.removeprefix("/sessions/"), path.removeprefix("/sessions/")[:16]
    await client.get(f"{path}/video/1.m4s")
    await client.get(f"{other}/video/1.m4s")
    feed = following(client, f"/qoe/feed?session={shown}")
    told = [await anext(feed) for _ in range(3)]
    assert {line["session"] for line in told if line} == {shown}
    assert session_id not in json.dumps(told)
    log = await client.get(f"/qoe/{shown}/log")
    assert session_id not in await log.text()
    assert [type(event).__name__ for event in loads_log(await log.read())] == ["Decided"]
    assert (await client.get(f"/qoe/{shown}", headers={"Accept": "text/html"})).content_type == "text/html"
    assert (await client.get("/qoe/AAAAAAAAAAAAAAAA/log")).status == 404


async def test_a_watcher_that_does_not_read_is_let_go(client, opened, monkeypatch):
    monkeypatch.setattr("server.monitoring.event_feed.BEHIND_MAX", 3)
    feed = client.app[CONTEXT].feed
    watching = feed.watch()
    assert await anext(watching) == b""
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    path = await opened()
    await waiting
    await report(client, path, *(Ended(t_s=1.0, reason="x", played_s=1.0) for _ in range(5)))
    assert [line async for line in watching] == []
    assert not feed.is_full
