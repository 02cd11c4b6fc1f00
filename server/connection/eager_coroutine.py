"""Coroutines that begin at once and take no task: what need not wait costs no turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from server.concurrency.batcher import BatchEntry


class EagerCoroutine:
    """A coroutine that goes as far as it can, and on from there as soon as what it waits for is there.

    It runs in no task, so it must not ask for one, as asyncio.timeout does; nobody can cancel it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_end: Callable[[BaseException | None], None]) -> None:
        """on_end: called once at its end, with what it raised."""
        self._coroutine = coroutine
        self._on_end = on_end

    def advance(self, _: object = None) -> None:
        """Begins the coroutine, or goes on with it."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            self._on_end(None)
            return
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as a task would keep it
            self._on_end(error)
            return
        if isinstance(awaited, BatchEntry):
            awaited.resume = self.advance
        elif awaited is None:  # only a turn of the loop
            asyncio.get_running_loop().call_soon(self.advance)
        else:
            awaited._asyncio_future_blocking = False  # as a task does, to say that it waits
            awaited.add_done_callback(self.advance)
