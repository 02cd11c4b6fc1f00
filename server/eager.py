"""Coroutines that begin at once, as tasks of Python 3.12 can: what need not wait costs no task, no turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


def begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Runs it as far as it goes without waiting; None when that was to its end, else the task that does the rest.

    Raises what the coroutine raises before it first waits. Until then it runs in no task: it must not ask for one, as
    asyncio.timeout does.
    """
    try:
        waiting = coroutine.send(None)
    except StopIteration:
        return None
    return asyncio.get_running_loop().create_task(_finish(coroutine, waiting))


async def _finish(coroutine: Coroutine[Any, Any, None], waiting: Any) -> None:
    await _Rest(coroutine, waiting)


class _Rest:
    """A coroutine that already waits for `waiting`."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waiting: Any) -> None:
        self._coroutine, self._waiting = coroutine, waiting

    def __await__(self) -> Generator[Any, Any, None]:
        waiting = self._waiting
        while True:
            try:
                sent = yield waiting
            except BaseException as error:  # noqa: BLE001 - a cancellation too belongs to the coroutine
                go_on = partial(self._coroutine.throw, error)
            else:
                go_on = partial(self._coroutine.send, sent)
            try:
                waiting = go_on()
            except StopIteration:
                return
