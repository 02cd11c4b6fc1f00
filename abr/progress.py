"""Progress of long work: reported by the process that works, drawn as bars by the one at the terminal.

Work with phases of known length opens a bar for each (`ProgressBars`). Work that knows how far it is says so
(`ShareListener`). Both end in a `ProgressListener`, which hears of many jobs at once.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from abr.jobs.local_pool import Tell

REPORT_EVERY_S = 0.1

ProgressListener = Callable[[object, str, float, float], None]
"""Called with the job ("" if there is only one), the phase, how much of it there is, and how much is done."""
ShareListener = Callable[[str, float], None]
"""Called with the phase and the share of it that is done, 0–1."""
Advance = Callable[[float], None]
"""Called with how much further a phase is. May be called from any thread."""


class ProgressBars(Protocol):
    """Opens one bar: for a phase, and how much of it there is."""

    def __call__(self, phase: str, total: float) -> AbstractContextManager[Advance]:
        """Open a bar that is full at `total`."""
        ...


@contextmanager
def no_bars(phase: str, total: float) -> Iterator[Advance]:
    """`ProgressBars` for work that nobody watches."""
    yield lambda _amount: None


def bars_reporting_to(tell: Tell) -> ProgressBars:
    """Bars that report to `tell`, at most every REPORT_EVERY_S seconds."""

    @contextmanager
    def bar(phase: str, total: float) -> Iterator[Advance]:
        lock = threading.Lock()
        done, next_s = 0.0, 0.0

        def advance(amount: float) -> None:
            nonlocal done, next_s
            with lock:
                done += amount
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + REPORT_EVERY_S
                    tell(phase, total, done)

        tell(phase, total, 0.0)
        yield advance
        tell(phase, total, total)

    return bar


@contextmanager
def show_progress(*, transient: bool = False) -> Iterator[ProgressListener]:
    """Bars on stderr when it is a terminal, one for each phase of each job. transient: they go when the work ends.

    What a phase says after " (" may change on the way.
    """
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
    with Progress(*columns, console=Console(stderr=True), transient=transient) as progress:

        def listen(job: object, phase: str, total: float, done: float) -> None:
            text = f"{job}: {phase}" if str(job) else phase
            name = text.partition(" (")[0]
            if name not in tasks:
                tasks[name] = progress.add_task(text, total=total)
            progress.update(tasks[name], description=text, completed=done)

        yield listen


@contextmanager
def show_share() -> Iterator[ShareListener]:
    """`show_progress` for a single job that knows its share; the bars go when it ends."""
    with show_progress(transient=True) as listen:
        yield lambda phase, share: listen("", phase, 1.0, share)
