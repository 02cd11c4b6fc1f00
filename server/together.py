"""What is asked for in one turn of the loop, done together.

Deciding for several viewers at once, and sending to them one right after the other, takes less of the processor than
going all the way with each: code and data stay in its caches while they are needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

MOST = 16
"""At once, so that who comes first does not wait for all."""

A = TypeVar("A")
R = TypeVar("R")


class Place(Generic[A, R]):
    """In the queue, from when it is awaited, which is to be once, until what is asked for is done."""

    __slots__ = ("_queue", "answer", "asked", "error", "go_on")
    in_no_task: ClassVar[bool] = False
    """Set while a coroutine runs that whoever began it goes on with (server.eager)."""
    answer: R
    go_on: Callable[[], None]
    """Called when it is done."""

    def __init__(self, queue: Together[A, R], asked: A) -> None:
        self._queue = queue
        self.asked = asked
        self.error: Exception | None = None

    def __await__(self) -> Generator[Any, None, R]:
        self._queue.join(self)
        if Place.in_no_task:
            yield self
        else:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.go_on = lambda: None if done.done() else done.set_result(None)
            yield from done
        if self.error is not None:
            raise self.error
        return self.answer


class Together(Generic[A, R]):
    """Does what it was asked for in a turn of the loop at the beginning of the next, up to `most` at once."""

    _next: ClassVar[list[Together[Any, Any]] | None] = None
    """Queues that those have joined who have just been answered by another: they need not wait for a turn."""

    def __init__(self, do: Callable[[Sequence[A]], Sequence[R]], *, most: int = MOST) -> None:
        self._do = do
        self._most = most
        self._places: list[Place[A, R]] = []

    def ask(self, asked: A) -> Place[A, R]:
        """Awaited, it is the answer, or raises what went wrong, with all that were done at once."""
        return Place(self, asked)

    def join(self, place: Place[A, R]) -> None:
        if not self._places:
            if Together._next is None:
                asyncio.get_running_loop().call_soon(self._run)
            else:
                Together._next.append(self)
        self._places.append(place)

    def _run(self) -> None:
        places, self._places = self._places[: self._most], self._places[self._most :]
        more = bool(self._places)
        try:
            for place, answer in zip(places, self._do([place.asked for place in places]), strict=True):
                place.answer = answer
        except Exception as error:  # noqa: BLE001 - theirs who asked
            for place in places:
                place.error = error
        loop, queues = asyncio.get_running_loop(), list[Together[Any, Any]]()
        Together._next = queues
        for place in places:
            try:
                place.go_on()
            except Exception as error:  # noqa: BLE001 - none of the others' business
                loop.call_exception_handler({"message": "going on together", "exception": error})
        Together._next = None
        for queue in queues:
            queue._run()
        if more:
            loop.call_soon(self._run)
