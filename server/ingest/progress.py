"""Progress of the phases: a bar with ETA for each at a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[float], None]


class Bars(Protocol):
    """Opens one bar; what the context gives is told how much further the work is. May be called from any thread."""

    def __call__(self, label: str, total: float) -> AbstractContextManager[Advance]: ...


@contextmanager
def silent(label: str, total: float) -> Iterator[Advance]:
    """No bar at all."""
    yield lambda _amount: None


@contextmanager
def rich_bars() -> Iterator[Bars]:
    """Bars on stderr when it is a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
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
    with Progress(*columns, console=Console(stderr=True)) as progress:

        @contextmanager
        def bar(label: str, total: float) -> Iterator[Advance]:
            task = progress.add_task(label, total=total)
            yield lambda amount: progress.advance(task, amount)
            progress.update(task, completed=total)

        yield bar
