"""Coroutines that begin at once, as tasks of Python 3.12 can: what need not wait costs no task, no turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from server.together import Place


class Errand:
    """A coroutine that goes as far as it can without waiting, or waiting only for what is done together
    (`server.together`); then a task does the rest. Until then it runs in no task: it must not ask for one, as
    asyncio.timeout does.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], done: Callable[[BaseException | None], None]) -> None:
        """done: called once at its end, with what it raised."""
        self._coroutine = coroutine
        self._done = done
        self._task: asyncio.Task[None] | None = None

    def go_on(self) -> None:
        """Begins it, or goes on with it."""
        Place.in_no_task = True
        try:
            waiting = self._coroutine.send(None)
        except StopIteration:
            ended, error = True, None
        except Exception as raised:  # noqa: BLE001 - as a task would keep it
            ended, error = True, raised
        else:
            ended, error = False, None
        finally:
            Place.in_no_task = False
        if ended:
            self._done(error)
        elif isinstance(waiting, Place):
            waiting.go_on = self.go_on
        else:
            self._task = asyncio.get_running_loop().create_task(_finish(self._coroutine, waiting))
            self._task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._done(None if task.cancelled() else task.exception())


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
