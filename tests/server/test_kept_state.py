"""What a server keeps of its viewers is bounded, survives damage, and comes back when its store is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis
from aiohttp.test_utils import TestClient, TestServer
from redis_server import running_redis
from serve_process import ask, opened, serving
from serving import FAST_PATH
from waiting import wait_until

from abr.core.events import EventBatch, Failed, loads_log
from abr.records import dumps
from server.app import create_app
from server.monitoring import event_feed
from server.monitoring.event_feed import BoundedLines, EventFeed
from server.settings import Settings

KNOWN = "?CMCD=mtp%3D5000"
"""A viewer who tells its throughput: how a segment went out is not saved after the answer, beside what a test does."""


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """These tests serve from another process, or ask Redis themselves."""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


def events(count: int) -> EventBatch:
    return EventBatch(events=tuple(Failed(t_s=at, what="x", detail="é" * 1000) for at in range(count)))


@pytest.mark.parametrize(("field", "value"), [("s", b"\xc1nonsense"), ("v", b"x"), ("p", b"nowhere"), ("s", None)])
async def test_a_session_whose_state_is_damaged_begins_anew(library, redis_url, field, value):
    settings = Settings(library=str(library), redis_url=redis_url, redis_timeout_s=60.0, fast_path=FAST_PATH)
    here, there = create_app(settings), create_app(settings)
    async with TestClient(TestServer(here)) as one, TestClient(TestServer(there)) as two:
        path = (await one.post("/sessions", json={"title": "bbb"})).headers["Location"]
        assert (await one.get(f"{path}/video/1.m4s{KNOWN}")).status == 200
        key = f"toprung:session:{path.rpartition('/')[2][:16]}"
        with redis.Redis.from_url(redis_url) as client:
            client.hdel(key, field) if value is None else client.hset(key, field, value)
        for client in (two, one, two):
            assert (await client.get(path)).status == 200
            assert (await client.get(f"{path}/video/2.m4s{KNOWN}")).status == 200
            assert (await client.post(f"{path}/events", json={"events": []})).status == 204


async def test_a_damaged_profile_means_plain_playback(library, redis_url, title):
    from serving import device_profile

    settings = Settings(library=str(library), redis_url=redis_url, redis_timeout_s=60.0, fast_path=FAST_PATH)
    async with TestClient(TestServer(create_app(settings))) as one, TestClient(TestServer(create_app(settings))) as two:
        body = dumps({"title": "bbb", "profile": device_profile(title)})
        answer = await one.post("/sessions", data=body, headers={"Content-Type": "application/json"})
        with redis.Redis.from_url(redis_url) as client:
            for key in client.scan_iter("toprung:profile:*"):
                client.set(key, b"{", ex=100)
        answer = await two.get(f"{answer.headers['Location']}/video/1.m4s")
        assert (answer.status, answer.headers["Toprung-Enhancer"]) == (200, "none")


@pytest.mark.parametrize("with_redis", [False, True], ids=["memory", "redis"])
async def test_the_log_of_a_session_is_bounded_in_bytes(library, redis_url, with_redis):
    settings = Settings(
        library=str(library),
        redis_url=redis_url if with_redis else "",
        redis_timeout_s=60.0,
        log_session_bytes_max=100_000,
    )
    async with TestClient(TestServer(create_app(settings))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        for _ in range(5):
            body = dumps(events(100))
            answer = await client.post(f"{path}/events", data=body, headers={"Content-Type": "application/json"})
            assert answer.status == 204
        log = await (await client.get(f"{path}/log")).read()
        assert 90_000 < len(log) <= 100_000
        assert loads_log(log)[-1].t_s == 99


async def test_what_one_address_may_post_is_bounded(library):
    settings = Settings(library=str(library), trusted_peers=(), peer_posted_bytes_per_s=20_000)
    async with TestClient(TestServer(create_app(settings))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        body, answers = dumps(events(20)), []
        for _ in range(10):
            answer = await client.post(f"{path}/events", data=body, headers={"Content-Type": "application/json"})
            answers.append(answer.status)
        assert answers[0] == 204
        assert answers[-1] == 429
        assert (await client.get(f"{path}/video/1.m4s")).status == 200, "it is watched on"


async def test_the_feed_in_redis_is_bounded_in_bytes(library, redis_url, monkeypatch):
    monkeypatch.setattr("server.monitoring.feed_relay.ENTRIES_MAX", 4)
    monkeypatch.setattr("server.monitoring.feed_relay.TICK_S", 0.01)
    settings = Settings(library=str(library), redis_url=redis_url, redis_timeout_s=60.0)
    async with TestClient(TestServer(create_app(settings))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        for _ in range(30):
            body = dumps(events(100))
            await client.post(f"{path}/events", data=body, headers={"Content-Type": "application/json"})
    with redis.Redis.from_url(redis_url) as store:
        entries = store.xrange("toprung:feed")
        assert entries
        assert all(len(fields[b"lines"]) <= event_feed.OUTBOX_BYTES_MAX + 1024 for _, fields in entries)
        assert len(entries) <= 8


def test_what_the_feed_keeps_is_bounded_in_bytes():
    feed = EventFeed(lambda: 0.0, is_shared=True)
    feed.publish("A" * 40, "bbb", events(1000).events)
    kept = [line for lines in feed._kept.values() for line in lines]
    assert 0 < sum(map(len, kept)) <= event_feed.KEPT_BYTES_MAX
    assert 0 < sum(map(len, feed.outbox)) <= event_feed.OUTBOX_BYTES_MAX
    assert msgspec.json.decode(kept[-1])["event"]["t_s"] == 999


def test_lines_that_came_while_others_were_sent_are_kept():
    lines = BoundedLines(3, 1000)
    for line in (b"a", b"b"):
        lines.append(line)
    sent = lines.added
    for line in (b"c", b"d"):
        lines.append(line)
    lines.drop_until(sent)
    assert list(lines) == [b"c", b"d"]


def test_a_state_store_that_was_killed_is_started_again_with_what_it_knew(library, tmp_path):
    config = tmp_path / "server.toml"
    config.write_text("secret = 'the same'\nstate_bytes_max = 67108864\n")
    state = tmp_path / "s"
    with serving("--library", str(library), "--state", str(state), "--config", str(config)) as (url, process):
        path = opened(url)
        client = redis.Redis(unix_socket_path=str(state / "valkey.sock"))
        assert client.config_get("maxmemory")["maxmemory"] == "67108864"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-ttl"
        wait_until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, "the disk to have it")
        for _ in range(2):
            os.kill(store_of(process.pid), signal.SIGKILL)
            assert ask(f"{url}{path}/video/1.m4s")[0] == 200, "viewers watch on meanwhile"
            wait_until(lambda: answers(client), "the store to be back")
        assert json.loads(ask(f"{url}{path}")[1])["title"] == "bbb"
        process.terminate()
        _, errors = process.communicate(timeout=120)
        assert errors.count("starting it again") == 2
    assert not answers(client), "it ends with the server"


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def store_of(pid: int) -> int:
    """The process that keeps the state of server `pid`."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for task in tasks for child in task.read_text().split()}
    (found,) = (child for child in children if b"valkey" in Path(f"/proc/{child}/cmdline").read_bytes())
    return found


COMPUTING = """
import sys, threading, time
from pathlib import Path
import numpy as np
from server.embedded_redis import embedded_store

matrix, solved = np.cov(np.random.default_rng(1).normal(size=(300, 400))), threading.Semaphore(0)

def compute():
    while True:
        np.linalg.eigh(matrix)
        solved.release()

threading.Thread(target=compute, daemon=True).start()
for _ in range(5):
    with embedded_store(Path(sys.argv[1])):
        pass
while solved.acquire(blocking=False):
    pass
sys.exit(0 if solved.acquire(timeout=60) else 1)
"""


def test_a_plan_that_is_being_computed_outlives_the_start_of_a_state_store(tmp_path):
    """A fork beside it would leave the thread in OpenBLAS for ever, and the server unable to stop."""
    command = [sys.executable, "-c", COMPUTING, str(tmp_path / "s")]
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    assert subprocess.run(command, env=environment, timeout=200, check=False).returncode == 0
