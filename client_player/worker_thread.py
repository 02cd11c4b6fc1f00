"""Work for one thread: first in, first out, charged to virtual time at what it truly takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Task = tuple[Future[Any], Callable[[], Any]]


class _DaemonThreadExecutor(Executor):
    """One daemon thread: a decoder that never comes back must not keep the program from ending."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._tasks.put((future, lambda: fn(*args, **kwargs)))
        return future

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 (whatever it is, it belongs to who asked)
                    future.set_exception(error)
            del task, future, work

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        while cancel_futures and not self._tasks.empty():
            task = self._tasks.get()
            if task is not None:
                task[0].cancel()
        self._tasks.put(None)


class WorkerThread:
    """One thread. Use it as a context manager; leaving it drops work that has not begun."""

    def __init__(self, name: str) -> None:
        self._name = f"toprung-{name}"
        self._executor = _DaemonThreadExecutor(self._name)

    def __enter__(self) -> WorkerThread:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, done in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*args, **kwargs))

    async def run_within(self, limit_s: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Likewise, in at most `limit_s`. Raises TimeoutError after that.

        The work is then abandoned with its thread, and a new thread takes over.
        """
        try:
            async with asyncio.timeout(limit_s):  # wait_for may swallow a cancellation that comes with the result
                return await self.run(work, *args, **kwargs)
        except TimeoutError:
            self._executor.shutdown(cancel_futures=True)
            self._executor = _DaemonThreadExecutor(self._name)
            raise
