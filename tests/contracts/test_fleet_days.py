"""What every store of the fleet's days promises: in memory, and in Redis against a real redis-server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from server.fleet.memory_days import MemoryDays
from server.fleet.redis_days import RedisDays
from server.fleet.tally import DayStore


@pytest.fixture(params=["memory", "redis"])
async def stores(request) -> AsyncIterator[tuple[DayStore, DayStore]]:
    """Two who share a store; one and the same in memory."""
    if request.param == "memory":
        store = MemoryDays()
        yield store, store
        return
    url = request.getfixturevalue("redis_url")
    client = Redis.from_url(url)
    await client.flushall()
    both = RedisDays(url, timeout_s=60.0), RedisDays(url, timeout_s=60.0)
    yield both
    async for key in client.scan_iter():
        assert await client.ttl(key) > 0, f"{key} would live for ever"
    for each in both:
        await each.close()
    await client.aclose()


async def test_what_one_counts_the_other_knows_and_old_days_are_left_out(stores):
    one, other = stores
    await one.add(100, {"24fps//sessions": 2, "24fps/low/gain": -5})
    await other.add(101, {"24fps//sessions": 1, "24fps/low/gain": 3})
    assert dict(await one.since(101, 7)) == {"24fps//sessions": 3, "24fps/low/gain": -2}
    assert dict(await one.since(107, 7)) == {"24fps//sessions": 1, "24fps/low/gain": 3}
    assert dict(await other.since(200, 7)) == {}
