"""What is submitted in one turn of the event loop, done together.

Deciding for several viewers at once, and sending to them one right after the other, takes less of the processor than
going all the way with each: code and data stay in its caches while they are needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from typing import Any, ClassVar, Generic, TypeVar

BATCH_MAX = 16
"""At once, so that who comes first does not wait for all."""

A = TypeVar("A")
R = TypeVar("R")


class BatchEntry(Generic[A, R]):
    """One argument of a batch; awaited, which is to be once, it joins the batch and then is its result.

    A task waits for it as for a future. For that it has the methods of asyncio.Future that a task calls. Whoever drives
    the coroutine without a task sets `resume` instead, and is called as soon as the result is there.
    """

    __slots__ = ("_asyncio_future_blocking", "_batcher", "argument", "error", "outcome", "resume")
    outcome: R
    resume: Callable[[], object]

    def __init__(self, batcher: TurnBatcher[A, R], argument: A) -> None:
        self._asyncio_future_blocking: bool | None = None  # not yet a future: asyncio.gather makes a task of it
        self._batcher = batcher
        self.argument = argument
        self.error: Exception | None = None

    def __await__(self) -> Generator[Any, None, R]:
        self._asyncio_future_blocking = True
        self._batcher.join(self)
        yield self
        if self.error is not None:
            raise self.error
        return self.outcome

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """A task waits: it goes on in the next turn of the loop, as it would with a future."""
        loop = self.get_loop()
        self.resume = lambda: loop.call_soon(callback, self, context=context)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of whoever waits."""
        return asyncio.get_running_loop()

    def cancel(self, msg: object = None) -> bool:
        """False: a task that is cancelled meanwhile ends when the batch is done, before it gets the result."""
        return False

    def result(self) -> None:
        """What the task hands to the coroutine: nothing, since `__await__` knows the result."""


class TurnBatcher(Generic[A, R]):
    """Does what was submitted in a turn of the loop at the beginning of the next, up to `batch_max` at once.

    What those who had waited for a batch submit to another batcher is done right after it, in the same turn: whoever
    was decided for together is sent to together.

    do: gets the arguments, returns as many results.
    """

    _following: ClassVar[list[TurnBatcher[Any, Any]] | None] = None
    """Those that come next, while a batch is being resumed."""

    def __init__(
        self,
        do: Callable[[Sequence[A]], Sequence[R]],
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._do = do
        self._batch_max = batch_max
        self._entries: list[BatchEntry[A, R]] = []

    def submit(self, argument: A) -> BatchEntry[A, R]:
        """Awaited, it is the result, or raises what went wrong, with all that were done at once."""
        return BatchEntry(self, argument)

    def join(self, entry: BatchEntry[A, R]) -> None:
        """Called by an entry that is awaited."""
        if not self._entries:
            if TurnBatcher._following is None:
                asyncio.get_running_loop().call_soon(self._run)
            else:
                TurnBatcher._following.append(self)
        self._entries.append(entry)

    def _run(self) -> None:
        entries, self._entries = self._entries[: self._batch_max], self._entries[self._batch_max :]
        is_more = bool(self._entries)
        loop = asyncio.get_running_loop()
        try:
            for entry, outcome in zip(entries, self._do([entry.argument for entry in entries]), strict=True):
                entry.outcome = outcome
        except Exception as error:  # noqa: BLE001 - theirs who asked
            for entry in entries:
                entry.error = error
        following: list[TurnBatcher[Any, Any]] = []
        TurnBatcher._following = following
        for entry in entries:
            try:
                entry.resume()
            except Exception as error:  # noqa: BLE001 - none of the others' business
                loop.call_exception_handler({"message": "going on after a batch", "exception": error})
        TurnBatcher._following = None
        for batcher in following:
            batcher._run()
        if is_more:
            loop.call_soon(self._run)
