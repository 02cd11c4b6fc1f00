"""Locks by name, first come, first served; nothing is remembered of names at rest."""

from __future__ import annotations

import asyncio
from collections import deque


class KeyedLock:
    """Locks by name: after `acquire` comes `release`, whatever happens between.

    Taking one that is free waits for nothing.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def acquire(self, name: str) -> None:
        """Wait until the lock of this name is free, and take it."""
        queue = self._waiting.get(name)
        if queue is None:
            self._waiting[name] = deque()
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                queue.remove(turn)
            else:  # it came at the same moment: on to the next
                self.release(name)
            raise

    def release(self, name: str) -> None:
        """Hand the lock of this name to the next who waits for it."""
        queue = self._waiting[name]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[name]
