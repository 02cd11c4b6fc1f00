"""A site whose nodes meet in Redis (or Valkey). Files go from node to node; Redis only knows who has them.

    toprung:edge:node:ID        the node's URL, for as long as it lives: told again every HEARTBEAT_S
    toprung:edge:lease:KEY      ID of the node that makes a file; void when that node no longer lives
    toprung:edge:holders:KEY    IDs of the nodes that have it
    toprung:edge:choice:KEY     what was decided of a segment

Each question is one Lua script, so that it is answered at one instant. While Redis is away nobody is asked, and each
node works for itself; when it is back, each tells what it has.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

import hiredis

from client_player.edge.site.peer_files import PeerFiles
from server.redis_client import Argument, RedisClient
from server.redis_url import without_password

HEARTBEAT_S = 1.0
LIFE_S = 10.0
"""A node that was not heard of for so long is dead, and its leases with it."""
TIMEOUT_S = 2.0
"""A Redis that is slow for a moment is waited for: a lift takes longer than that."""
LOOK_S = 0.1
"""How often a node looks whether another has made what it waits for."""
KEPT_S = 86_400.0
"""How long Redis remembers who has a file, and what was decided."""
_LEASE_S = 300.0
_AT_ONCE = 256
_PREFIX = "toprung:edge:"

_HOLDERS = """
local urls = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if id ~= ARGV[2] then
    local url = redis.call('GET', ARGV[1] .. id)
    if url then table.insert(urls, {id, url}) else redis.call('SREM', KEYS[1], id) end
  end
end
return urls
"""
# KEYS: holders. ARGV: what names of nodes begin with, this node.
_CLAIM = """
local maker = redis.call('GET', KEYS[1])
if maker and maker ~= ARGV[2] and redis.call('EXISTS', ARGV[1] .. maker) == 1 then return 0 end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if id ~= ARGV[2] and redis.call('EXISTS', ARGV[1] .. id) == 1 then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
# KEYS: lease, holders. ARGV: what names of nodes begin with, this node, milliseconds.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if ARGV[2] == '1' then
  redis.call('SADD', KEYS[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1
"""
# KEYS: lease, holders. ARGV: this node, 1 if it has the file, milliseconds.
_IS_LEASED = """
local maker = redis.call('GET', KEYS[1])
if maker and maker ~= ARGV[2] then return redis.call('EXISTS', ARGV[1] .. maker) end
return 0
"""
# KEYS: lease. ARGV: what names of nodes begin with, this node.

log = logging.getLogger("toprung.edge")


class RedisSite:
    """See Site. Raises InputError for a URL that cannot be read. Use `joined` around the time in which it serves."""

    def __init__(self, url: str, peers: PeerFiles) -> None:
        self._redis = RedisClient(url, timeout_s=TIMEOUT_S)
        self._shown, self._peers = without_password(url), peers
        self._id = secrets.token_hex(8)
        self._own_url = ""
        self.is_shared = False

    @asynccontextmanager
    async def joined(self, own_url: str, keys: Callable[[], Collection[str]]) -> AsyncIterator[None]:
        """One of the site's nodes while the block runs. own_url: where others reach it. keys: of what it has."""
        self._own_url = own_url
        await self._beat(keys)
        if not self.is_shared:
            log.warning("Redis at %s does not answer: this node works for itself until it does.", self._shown)
        beating = asyncio.create_task(self._keep_beating(keys))
        try:
            yield
        finally:
            beating.cancel()
            with suppress(OSError, TimeoutError, hiredis.HiredisError):
                await self._redis.execute("DEL", self._node(self._id))
            await self._redis.close()

    async def find(self, key: str) -> bytes | None:
        """See Site."""
        for holder, url in await self._run(_HOLDERS, [_holders(key)], self._node(""), self._id) or ():
            if (body := await self._peers.get(url.decode(errors="replace"), key)) is not None:
                return body
            await self._ask("SREM", _holders(key), holder)
        return None

    async def claim(self, key: str) -> bool:
        """See Site."""
        arguments = (self._node(""), self._id, round(_LEASE_S * 1000))
        return bool(await self._run(_CLAIM, [_lease(key), _holders(key)], *arguments, otherwise=1))

    async def release(self, key: str, *, is_here: bool) -> None:
        """See Site."""
        arguments = (self._id, int(is_here), round(KEPT_S * 1000))
        await self._run(_RELEASE, [_lease(key), _holders(key)], *arguments)

    async def until_released(self, key: str) -> None:
        """See Site."""
        while True:
            if not await self._run(_IS_LEASED, [_lease(key)], self._node(""), self._id):
                return
            await asyncio.sleep(LOOK_S)

    async def agree(self, key: str, decided: bytes) -> bytes:
        """See Site."""
        await self._ask("SET", _choice(key), decided, "NX", "PX", round(KEPT_S * 1000))
        return await self.decided(key) or decided

    async def decided(self, key: str) -> bytes | None:
        """See Site."""
        found: bytes | None = await self._ask("GET", _choice(key))
        return found

    async def revise(self, key: str, decided: bytes) -> None:
        """See Site."""
        await self._ask("SET", _choice(key), decided, "PX", round(KEPT_S * 1000))

    async def _run(self, script: str, keys: list[str], *arguments: Argument, otherwise: Any = None) -> Any:
        return await self._ask("EVAL", script, len(keys), *keys, *arguments, otherwise=otherwise)

    async def _ask(self, *arguments: Argument, otherwise: Any = None) -> Any:
        """The reply; `otherwise` while Redis is away, whom nobody waits for twice."""
        if not self.is_shared:
            return otherwise
        try:
            return await self._redis.execute(*arguments)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            self._lose(error)
            return otherwise

    async def _keep_beating(self, keys: Callable[[], Collection[str]]) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._beat(keys)

    async def _beat(self, keys: Callable[[], Collection[str]]) -> None:
        """Tell that this node lives; and what it has, when Redis may not know."""
        try:
            await self._redis.execute("SET", self._node(self._id), self._own_url, "PX", round(LIFE_S * 1000))
            if not self.is_shared:
                await self._tell(keys())
                self.is_shared = True
                log.info("Redis at %s answers: what other nodes of this site have made is used.", self._shown)
        except (OSError, TimeoutError, hiredis.HiredisError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        if self.is_shared:
            self.is_shared = False
            log.warning("Redis at %s does not answer (%s): this node works for itself.", self._shown, error)

    async def _tell(self, keys: Collection[str]) -> None:
        left = iter(keys)
        while some := list(islice(left, _AT_ONCE)):
            await asyncio.gather(*(self._tell_one(key) for key in some))

    async def _tell_one(self, key: str) -> None:
        arguments = (2, _lease(key), _holders(key), self._id, 1, round(KEPT_S * 1000))
        await self._redis.execute("EVAL", _RELEASE, *arguments)

    def _node(self, name: str) -> str:
        return f"{_PREFIX}node:{name}"


def _lease(key: str) -> str:
    return f"{_PREFIX}lease:{key}"


def _holders(key: str) -> str:
    return f"{_PREFIX}holders:{key}"


def _choice(key: str) -> str:
    return f"{_PREFIX}choice:{key}"
