"""Progress of the phases: told by the process that works, shown by the one at the terminal as bars with ETA."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from abr.crew import Tell

TELL_EVERY_S = 0.1

Advance = Callable[[float], None]

Listener = Callable[[object, str, float, float], None]
"""Hears of a job what is being done, how much of it there is, and how much is done."""


class Bars(Protocol):
    """Opens one bar; what the context gives is told how much further the work is. May be called from any thread."""

    def __call__(self, label: str, total: float) -> AbstractContextManager[Advance]: ...


@contextmanager
def silent(label: str, total: float) -> Iterator[Advance]:
    """No bar at all."""
    yield lambda _amount: None


def told(tell: Tell) -> Bars:
    """Bars whose progress goes to `tell`, not more often than a person can see."""

    @contextmanager
    def bar(label: str, total: float) -> Iterator[Advance]:
        lock = threading.Lock()
        done, next_s = 0.0, 0.0

        def advance(amount: float) -> None:
            nonlocal done, next_s
            with lock:
                done += amount
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + TELL_EVERY_S
                    tell(label, total, done)

        tell(label, total, 0.0)
        yield advance
        tell(label, total, total)

    return bar


@contextmanager
def shown() -> Iterator[Listener]:
    """Bars on stderr when it is a terminal, one for each phase of each source."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskID,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("took"),
        TimeElapsedColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def listen(job: object, label: str, total: float, done: float) -> None:
            name = f"{job}: {label}"
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        yield listen
