"""Coroutines that begin at once and take no task: what need not wait costs no turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from server.together import Place


class Errand:
    """A coroutine that goes as far as it can, and on from there as soon as what it waits for is there.

    It runs in no task, so it must not ask for one, as asyncio.timeout does; nobody can cancel it.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], done: Callable[[BaseException | None], None]) -> None:
        """done: called once at its end, with what it raised."""
        self._coroutine = coroutine
        self._done = done

    def go_on(self, _: object = None) -> None:
        """Begins it, or goes on with it."""
        Place.in_no_task = True
        ended = True
        error: BaseException | None = None
        try:
            waiting = self._coroutine.send(None)
        except StopIteration:
            pass
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - as a task would keep it
            error = raised
        else:
            ended = False
        finally:
            Place.in_no_task = False
        if ended:
            self._done(error)
        elif isinstance(waiting, Place):
            waiting.go_on = self.go_on
        elif waiting is None:  # only a turn of the loop
            asyncio.get_running_loop().call_soon(self.go_on)
        else:
            waiting._asyncio_future_blocking = False  # as a task does, to say that it waits
            waiting.add_done_callback(self.go_on)
