"""What every session store promises: the one in memory and the one in Redis, the latter against a real redis-server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec
import pytest
from redis.asyncio import Redis
from redis_server import redis_in

from abr.core.enhancement import Family
from server.sessions.memory_store import MemoryStore
from server.sessions.redis_store import RedisStore
from server.sessions.state import SessionState
from server.sessions.store import DamagedStateError, SessionStore, StoreError, VersionedState

TTL_S = 100.0
LINES_MAX = 5
LOG_BYTES_MAX = 1000


@dataclass
class Kept:
    """A store, and a way to let time pass for it."""

    store: SessionStore
    elapse: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
async def kept(request) -> AsyncIterator[Kept]:
    if request.param == "memory":
        now = [1000.0]
        store = MemoryStore(
            lambda: now[0],
            ttl_s=TTL_S,
            sessions_max=100,
            log_events_max=LINES_MAX,
            log_session_bytes_max=LOG_BYTES_MAX,
            log_bytes_max=1 << 20,
        )

        async def elapse(seconds: float) -> None:
            now[0] += seconds

        yield Kept(store, elapse)
    else:
        url = request.getfixturevalue("redis_url")
        client = Redis.from_url(url)
        await client.flushall()

        async def elapse(seconds: float) -> None:
            """Redis has no clock to turn, so all that lives is brought nearer to its end."""
            async for key in client.scan_iter():
                if key == b"toprung:since":
                    continue
                left_ms = await client.pttl(key)
                assert left_ms > 0, f"{key} would live for ever"
                await client.pexpire(key, round(left_ms - seconds * 1000))

        store = RedisStore(
            url, lambda: 1.0, ttl_s=TTL_S, log_events_max=LINES_MAX, log_session_bytes_max=LOG_BYTES_MAX, timeout_s=60.0
        )
        yield Kept(store, elapse)
        await client.aclose()
    await store.close()


def state(**over: object) -> SessionState:
    fields: dict[str, object] = {
        "title": "bbb",
        "controller": "toprung",
        "families": (Family.GENERIC,),
        "profile": b"",
        "buffer_max_s": 60.0,
        "created_s": 1.5,
    }
    return SessionState(**fields | over)


async def test_what_was_saved_is_loaded(kept):
    saved = state(downloads=((1, 2, 3, 4),), memory=(0.1, -2.0), choices=b"\x01\x00\x02", owned=b"abcd", last=1)
    assert await kept.store.save("s", saved, version=0)
    assert (await kept.store.load("s")) == (1, saved)
    assert await kept.store.load("other") is None


async def test_a_stale_save_is_refused_and_changes_nothing(kept):
    await kept.store.save("s", state(), version=0)
    assert await kept.store.save("s", state(last=1), version=1, lines=[b"one\n"])
    assert not await kept.store.save("s", state(last=2), version=1, lines=[b"two\n"])
    assert not await kept.store.save("s", state(last=3), version=0, lines=[b"three\n"])
    assert (await kept.store.load("s")).state.last == 1
    assert await kept.store.log("s") == [b"one\n"]


async def test_saving_does_not_bring_a_deleted_session_back(kept):
    await kept.store.save("s", state(), version=0)
    assert await kept.store.delete("s")
    assert not await kept.store.save("s", state(), version=1)
    assert await kept.store.load("s") is None
    assert not await kept.store.delete("s")


async def test_of_many_who_save_at_once_each_gets_its_turn_and_nothing_is_lost(kept):
    await kept.store.save("s", state(), version=0)

    async def add_one(name: int) -> None:
        for _ in range(64):
            version, found = await kept.store.load("s")
            grown = msgspec.structs.replace(found, memory=(*found.memory, float(name)))
            if await kept.store.save("s", grown, version=version):
                return
        pytest.fail("never got its turn")

    await asyncio.gather(*map(add_one, range(16)))
    version, found = await kept.store.load("s")
    assert sorted(found.memory) == list(range(16))
    assert version == 17


async def test_a_session_lives_for_its_time_after_the_last_touch(kept):
    await kept.store.save("s", state(), version=0)
    await kept.elapse(0.75 * TTL_S)
    assert await kept.store.touch("s")
    await kept.elapse(0.75 * TTL_S)
    assert await kept.store.load("s") is not None, "loading it is possible, and does not touch"
    await kept.elapse(0.3 * TTL_S)
    assert await kept.store.load("s") is None
    assert not await kept.store.touch("s")
    assert not await kept.store.append("s", [b"x\n"])
    assert await kept.store.log("s") == []


async def test_saving_and_logging_touch(kept):
    await kept.store.save("s", state(), version=0)
    await kept.elapse(0.6 * TTL_S)
    await kept.store.save("s", state(), version=1)
    await kept.elapse(0.6 * TTL_S)
    await kept.store.append("s", [b"x\n"])
    await kept.elapse(0.6 * TTL_S)
    assert await kept.store.load("s") is not None
    assert await kept.store.log("s") == [b"x\n"]


async def test_a_log_keeps_its_newest_lines_in_order(kept):
    await kept.store.save("s", state(), version=0, lines=[b"0\n"])
    assert await kept.store.append("s", [b"1\n", b"2\n", b"3\n"])
    await kept.store.save("s", state(), version=1, lines=[b"4\n", b"5\n"])
    assert await kept.store.append("s", [])
    assert await kept.store.log("s") == [b"1\n", b"2\n", b"3\n", b"4\n", b"5\n"]


async def test_a_log_keeps_so_many_bytes_of_its_newest_lines(kept):
    await kept.store.save("a", state(), version=0)
    for number in range(40):
        await kept.store.append("a", [b"%d" % (number % 10) * 300])
    assert await kept.store.log("a") == [b"7" * 300, b"8" * 300, b"9" * 300]
    await kept.store.append("a", [b"x" * 5000])
    assert await kept.store.log("a") == [], "not even a line that is longer by itself"
    await kept.store.append("a", [b"y" * 300] * 5)
    assert await kept.store.log("a") == [b"y" * 300] * 3, "what went is not counted any more"


async def test_sessions_do_not_share_logs(kept):
    await kept.store.save("a", state(), version=0, lines=[b"a\n"])
    await kept.store.save("b", state(), version=0, lines=[b"b\n"])
    await kept.store.delete("a")
    assert await kept.store.log("b") == [b"b\n"]
    assert await kept.store.log("a") == []


async def test_a_profile_lives_as_long_as_a_session_that_names_it(kept):
    await kept.store.put_profile(b"key", b"profile")
    await kept.store.put_profile(b"lonely", b"profile")
    await kept.store.save("s", state(profile=b"key"), version=0)
    for step in range(4):
        await kept.elapse(0.6 * TTL_S)
        await (kept.store.touch("s") if step % 2 else kept.store.append("s", [b"x\n"]))
    assert await kept.store.profile(b"key") == b"profile"
    assert await kept.store.profile(b"lonely") is None
    assert await kept.store.profile(b"unknown") is None


async def test_memory_is_bounded_in_sessions_and_in_bytes_of_log():
    store = MemoryStore(lambda: 0.0, ttl_s=TTL_S, sessions_max=3, log_events_max=100, log_bytes_max=1000)
    for name in "abc":
        await store.save(name, state(), version=0, lines=[b"." * 400])
    logs = [b"".join(await store.log(name)) for name in "abc"]
    assert sum(map(len, logs)) <= 1000
    assert await store.log("c") != [], "the oldest lines of the longest unheard of go first"
    await store.touch("a")
    await store.save("d", state(), version=0)
    assert [name for name in "abcd" if await store.load(name)] == ["a", "c", "d"]


async def test_expired_sessions_do_not_stay_in_memory():
    now = [0.0]
    store = MemoryStore(lambda: now[0], ttl_s=TTL_S, sessions_max=100, log_events_max=9, log_bytes_max=1000)
    for name in "abc":
        await store.save(name, state(), version=0)
    now[0] = 2 * TTL_S
    await store.save("d", state(), version=0)
    assert len(store) == 1


async def test_a_redis_that_is_not_there_is_a_store_error_without_its_password():
    store = RedisStore("redis://user:s3cret@127.0.0.1:1/0", lambda: 0.0, ttl_s=TTL_S, log_events_max=LINES_MAX)
    with pytest.raises(StoreError, match=r"redis://user:\*\*\*@127.0.0.1:1/0 does not answer") as caught:
        await store.ping()
    assert "s3cret" not in str(caught.value)
    await store.close()


async def test_what_a_process_saw_last_is_known_without_asking_and_never_saved_over_what_came_since(kept):
    assert kept.store.cached("s") is None
    await kept.store.save("s", state(last=1), version=0)
    assert kept.store.cached("s") == (1, state(last=1))
    await kept.store.delete("s")
    assert kept.store.cached("s") is None


async def test_workers_who_share_a_redis_learn_of_each_other_by_being_refused(redis_url):
    async with two_workers(redis_url) as (one, other):
        await one.save("s", state(last=1), version=0)
        assert (await other.load("s")) == (1, state(last=1))
        assert await other.save("s", state(last=2), version=1, lines=[b"two\n"])
        assert one.cached("s") == (1, state(last=1)), "out of date"
        assert not await one.save("s", state(last=3), version=1, lines=[b"three\n"])
        assert one.cached("s") == (2, state(last=2)), "the refusal told"
        assert await one.log("s") == [b"two\n"]


async def test_what_could_not_be_saved_is_saved_with_what_follows_even_if_redis_has_lost_all(redis_url):
    async with two_workers(redis_url) as (one, other):
        assert await one.complete_since() == 1.0
        await one.save("s", state(created_s=2.0), version=0, lines=[b"lost with the rest\n"])
        one.keep_unsaved("s", state(created_s=2.0, last=7), version=1, lines=[b"kept\n"])
        assert one.cached("s") == (1, state(created_s=2.0, last=7))
        client = Redis.from_url(redis_url)
        await client.flushall()
        await client.set("toprung:since", "3.0")
        assert await one.save("s", state(created_s=2.0, last=8), version=1, lines=[b"new\n"])
        assert (await other.load("s")).state.last == 8
        assert await other.log("s") == [b"kept\n", b"new\n"]
        await client.flushall()
        await client.set("toprung:since", "1.0")
        assert not await one.save("s", state(created_s=2.0), version=2), "not lost but ended"
        await client.aclose()


async def test_a_decision_costs_redis_one_round_trip(redis_url):
    async with two_workers(redis_url) as (one, _):
        await one.save("s", state(), version=0)
        client = Redis.from_url(redis_url)
        before = (await client.info("stats"))["total_commands_processed"]
        for version in range(1, 11):
            known = one.cached("s")
            assert await one.save("s", known.state, version=known.version, lines=[b"x\n"])
            assert known.version == version
        calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert calls >= 10
        inside = 10 * 7  # HMGET HSET RPUSH LPOP HSET PEXPIRE PEXPIRE PEXPIRE, counted by Redis too
        assert (await client.info("stats"))["total_commands_processed"] - before <= 10 + inside + 15
        await client.aclose()


async def test_many_at_once_go_to_redis_together(redis_url):
    store = RedisStore(redis_url, lambda: 1.0, ttl_s=TTL_S, log_events_max=LINES_MAX, timeout_s=60.0)
    await asyncio.gather(*(store.save(f"s{n}", state(last=n), version=0) for n in range(200)))
    found = await asyncio.gather(*(store.load(f"s{n}") for n in range(200)))
    assert [each.state.last for each in found] == list(range(200))
    await store.close()


async def test_a_late_reply_is_a_store_error_and_the_next_one_in_time_is_not(tmp_path):
    with redis_in(tmp_path) as (url, process):
        async with two_workers(url) as (patient, _):
            await patient.save("s", state(last=1), version=0)
        store = RedisStore(url, lambda: 1.0, ttl_s=TTL_S, log_events_max=LINES_MAX, timeout_s=0.2)
        await loaded_when_up(store)
        try:
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(StoreError, match="no reply within"):
                await store.load("s")
            assert not store.is_up
        finally:
            process.send_signal(signal.SIGCONT)
        assert (await loaded_when_up(store)).state.last == 1
        await store.close()


async def loaded_when_up(store: RedisStore) -> VersionedState:
    """What the store has of `s`, as soon as a reply comes in time."""
    while True:
        with suppress(StoreError):
            if found := await store.load("s"):
                return found
        await asyncio.sleep(0.02)


@asynccontextmanager
async def two_workers(url: str) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    client = Redis.from_url(url)
    await client.flushall()
    await client.aclose()
    stores = [RedisStore(url, lambda: 1.0, ttl_s=TTL_S, log_events_max=LINES_MAX, timeout_s=60.0) for _ in range(2)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


async def test_a_full_log_costs_no_more_for_many_sessions_than_for_few():
    """What is dropped is found at once, not by going through all sessions that have nothing left to drop."""
    store = MemoryStore(lambda: 0.0, ttl_s=TTL_S, sessions_max=10_000, log_events_max=100, log_bytes_max=500)
    for name in range(300):
        await store.save(str(name), state(), version=0, lines=[b"." * 100])
    assert [len(await store.log(str(name))) for name in range(300)] == [0] * 295 + [1] * 5
    await store.delete("299")
    await store.append("0", [b"." * 100] * 2)
    assert [name for name in range(300) if await store.log(str(name))] == [0, 296, 297, 298]


async def test_profiles_in_memory_are_bounded_in_bytes():
    store = MemoryStore(
        lambda: 0.0, ttl_s=TTL_S, sessions_max=99, log_events_max=9, log_bytes_max=9, profile_bytes_max=1000
    )
    for name in (b"a", b"b", b"c", b"c", b"d"):
        await store.put_profile(name, b"." * 400)
    assert [name for name in (b"a", b"b", b"c", b"d") if await store.profile(name)] == [b"c", b"d"]


DAMAGE = [("s", b"\xc1nonsense"), ("s", b""), ("s", b"\x93\x01\x02\x03"), ("v", b"x"), ("v", b"")]


@pytest.mark.parametrize(("field", "value"), DAMAGE)
async def test_damaged_state_is_told_once_and_makes_room_for_the_session_begun_anew(redis_url, field, value):
    async with Redis.from_url(redis_url) as client, two_workers(redis_url) as (store, other):
        assert await other.save("a", state(), version=0)
        await client.hset("toprung:session:a", field, value)
        with pytest.raises(DamagedStateError):
            await store.load("a")
        assert await store.load("a") is None
        assert await store.save("a", state(), version=0)
        assert await other.save("a", state(), version=1), "it knew of version 1"
