"""What is said of controllers that failed while they were compared: their figures are partly the guard's."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from abr.controllers import guard
from abr.errors import ControllerError
from abr.simulation.batch_simulator import Sessions

FIRST_MAX = 300
"""Characters of the first failure's reason in the sentence about it."""


class ControllerFailures(msgspec.Struct, frozen=True, kw_only=True):
    """How often a controller failed in all its sessions, of how many decisions, and why the first time."""

    failures: int
    decisions: int
    first: str

    @classmethod
    def of(cls, sessions: Sessions, *, start_lowest: bool = False) -> ControllerFailures:
        """Of simulated sessions. start_lowest: nobody was asked about their first segments."""
        shown = sessions.shown[:, 1:] if start_lowest else sessions.shown
        return cls(
            failures=int(sessions.failures.sum()),
            decisions=int(shown.size),
            first=sessions.first_failure,
        )


def raise_for_failures(counts: Mapping[str, ControllerFailures]) -> None:
    """Raise ControllerError if any controller, by its name, failed; the message says which."""
    failed = [
        f"{name} failed {count.failures} times in {count.decisions} decisions; first: {count.first[:FIRST_MAX]}."
        for name, count in counts.items()
        if count.failures
    ]
    if failed:
        raise ControllerError(" ".join([*failed, "The figures are not its own: mend the controller and run again."]))


@contextmanager
def quiet_guard() -> Iterator[None]:
    """Leave out the line about each single failure: they are counted."""
    log = logging.getLogger(guard.__name__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
