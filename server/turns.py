"""Who comes first is served first: one at a time for each name, and nothing remembered of names at rest."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Locks by name: after `begin` comes `end`, whatever happens between. Taking one that is free waits for nothing."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def begin(self, name: str) -> None:
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
                self.end(name)
            raise

    def end(self, name: str) -> None:
        queue = self._waiting[name]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[name]
