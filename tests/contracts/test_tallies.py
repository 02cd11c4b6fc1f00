"""What every store of tallies promises: the one in memory, and the one in Redis against a real redis-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from server.experiments.memory_tallies import MemoryTallies
from server.experiments.redis_tallies import RedisTallies
from server.experiments.tally import TallyStore, change_of
from server.sessions.store import StoreError

TTL_S = 100.0
VISIT = b"visit-01"
WELL, BETTER = (80.0, 85.0, 0.01, 1.5), (-12.5, 86.25, 0.0, 0.0)


@dataclass
class Kept:
    """Two who share a store (one and the same in memory), and a way to let time pass for it."""

    store: TallyStore
    other: TallyStore
    elapse: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
async def kept(request) -> AsyncIterator[Kept]:
    if request.param == "memory":
        now = [0.0]
        store = MemoryTallies(2, lambda: now[0], ttl_s=TTL_S, visits_max=50)

        async def elapse(seconds: float) -> None:
            now[0] += seconds

        yield Kept(store, store, elapse)
        return
    client = Redis.from_url(request.getfixturevalue("redis_url"))
    await client.flushall()

    async def elapse_there(seconds: float) -> None:
        async for key in client.scan_iter():
            left_ms = await client.pttl(key)
            assert left_ms > 0, f"{key} would live for ever"
            await client.pexpire(key, round(left_ms - seconds * 1000))

    url = request.getfixturevalue("redis_url")
    stores = [RedisTallies(url, "abc", 2, ttl_s=TTL_S, timeout_s=60.0) for _ in range(2)]
    yield Kept(*stores, elapse_there)
    for each in (*stores, client):
        await (each.aclose() if isinstance(each, Redis) else each.close())


async def test_it_begins_with_nothing(kept: Kept):
    assert [(tally.sessions, tally.visits) for tally in await kept.store.tallies()] == [(0, 0), (0, 0)]
    assert await kept.store.visit(VISIT) == b""


async def test_what_one_counts_the_other_knows(kept: Kept):
    await kept.store.count_session(1)
    await kept.other.count_session(1)
    assert await kept.store.swap(VISIT, b"", b"one", arm=1, change=change_of(None, WELL))
    assert await kept.other.visit(VISIT) == b"one"
    assert await kept.other.swap(VISIT, b"one", b"two", arm=1, change=change_of(WELL, BETTER))
    nothing, arm = await kept.store.tallies()
    assert (nothing.sessions, nothing.visits, arm.sessions, arm.visits) == (0, 0, 2, 1)
    assert [arm.moments(place).mean for place in range(4)] == list(BETTER)


async def test_who_comes_second_is_refused_and_changes_nothing(kept: Kept):
    assert await kept.store.swap(VISIT, b"", b"one", arm=0, change=change_of(None, WELL))
    assert not await kept.other.swap(VISIT, b"", b"mine", arm=0, change=change_of(None, BETTER))
    assert await kept.store.visit(VISIT) == b"one"
    assert (await kept.store.tallies())[0].moments(0).mean == 80.0


async def test_of_many_at_once_none_is_lost(kept: Kept):
    async def count(number: int) -> None:
        store = kept.store if number % 2 else kept.other
        key = b"visit-%02d" % (number % 5)
        while True:
            before = await store.visit(key)
            if await store.swap(key, before, before + b".", arm=0, change=change_of(None, WELL)):
                return

    await asyncio.gather(*(count(number) for number in range(40)))
    assert (await kept.store.tallies())[0].visits == 40
    assert [len(await kept.store.visit(b"visit-%02d" % number)) for number in range(5)] == [8] * 5


async def test_a_visit_is_forgotten_and_its_figures_stay(kept: Kept):
    await kept.store.swap(VISIT, b"", b"one", arm=0, change=change_of(None, WELL))
    await kept.elapse(TTL_S - 1)
    await kept.store.swap(VISIT, b"one", b"two", arm=0, change=change_of(WELL, WELL))
    await kept.elapse(TTL_S - 1)
    assert await kept.store.visit(VISIT) == b"two", "it goes on"
    await kept.elapse(2)
    assert await kept.store.visit(VISIT) == b""
    assert (await kept.store.tallies())[0].visits == 1


async def test_visits_in_memory_are_bounded():
    store = MemoryTallies(2, lambda: 0.0, ttl_s=TTL_S, visits_max=3)
    for number in range(5):
        assert await store.swap(b"%d" % number, b"", b"seen", arm=0, change=change_of(None, WELL))
    assert [bool(await store.visit(b"%d" % number)) for number in range(5)] == [False, False, True, True, True]


async def test_experiments_in_one_redis_do_not_mix(redis_url: str):
    one, two = (RedisTallies(redis_url, key, 2, ttl_s=TTL_S, timeout_s=60.0) for key in ("one", "two"))
    await one.swap(VISIT, b"", b"seen", arm=0, change=change_of(None, WELL))
    assert (await two.tallies())[0].visits == 0 and await two.visit(VISIT) == b""
    await one.close()
    await two.close()


async def test_without_redis_it_says_so_in_a_sentence():
    store = RedisTallies("redis://:hidden@127.0.0.1:1/0", "abc", 2, ttl_s=TTL_S, timeout_s=1.0)
    for ask in (store.tallies(), store.count_session(0), store.swap(b"a", b"", b"b", arm=0, change=(1,))):
        with pytest.raises(StoreError, match=r"Redis at redis://:\*\*\*@127.0.0.1:1/0 does not answer"):
            await ask
    await store.close()
