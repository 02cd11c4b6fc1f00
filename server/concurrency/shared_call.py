"""One computation for all who ask for the same while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from server.concurrency.shared_task import SharedTasks

T = TypeVar("T")


class SharedCalls(Generic[T]):
    """Runs blocking calls in threads, some at a time; those for the same key are made once and shared."""

    def __init__(self, at_once: int = 1) -> None:
        self._tasks = SharedTasks[T]()
        self._free = asyncio.Semaphore(at_once)

    async def run(
        self, key: Hashable, function: Callable[..., T], *arguments: Any, keep: Callable[[T], None] | None = None
    ) -> T:
        """What `function` returns or raises. `key` says which calls are the same.

        keep: is given the result, in the event loop, before the next call with this key could begin: who asks after
        the call finds what was kept.
        """
        return await self._tasks.run(key, lambda: self._run(function, arguments, keep))

    async def _run(self, function: Callable[..., T], arguments: tuple[Any, ...], keep: Callable[[T], None] | None) -> T:
        async with self._free:
            result = await asyncio.to_thread(function, *arguments)
        if keep is not None:
            keep(result)
        return result
