"""A running experiment, as the session service and the pages see it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from abr.core.events import AnyEvent, Shown, Stalled
from server.experiments.experiment import Arm, Experiment
from server.experiments.report import ExperimentView, report
from server.experiments.tally import TallyStore, change_of
from server.experiments.visit import Visit, dumps_visit, loads_visit
from server.monitoring.metrics import Metrics
from server.monitoring.shown_quality import ShownQuality
from server.sessions.session_ids import SessionIds
from server.sessions.state import SessionState
from server.sessions.store import StoreError

ATTEMPTS = 16
"""Changes that others may make to a visit in between."""

log = logging.getLogger("toprung.experiments")


class Place(NamedTuple):
    """Where a viewer belongs. visit: names the visit in the store, 8 bytes."""

    arm: Arm
    visit: bytes


class RunningExperiment:
    """Draws viewers into arms, counts what they see, and tells what came of it."""

    def __init__(self, experiment: Experiment, key: str, store: TallyStore, ids: SessionIds, metrics: Metrics) -> None:
        """key: names the experiment; viewers are drawn anew for another one."""
        self._experiment = experiment
        self._key = key.encode()
        self._store = store
        self._ids = ids
        self._metrics = metrics
        self._numbers = {arm.name: number for number, arm in enumerate(experiment.arms)}

    def draw(self, visit: str) -> Place:
        """The place of a viewer, the same in every worker. visit: as its player names it; empty: a visit of its own."""
        named = self._ids.digest(self._key, visit.encode()) if visit else secrets.token_bytes(16)
        return Place(self._experiment.draw(int.from_bytes(named[8:16])), named[:8])

    async def count_session(self, state: SessionState) -> None:
        """A session was opened. Without the store it goes uncounted; its viewer does not wait for that."""
        number = self._number(state)
        if number is None:
            return
        try:
            await self._store.count_session(number)
        except StoreError as error:
            self._fail(error)

    async def note(
        self, state: SessionState, events: Sequence[AnyEvent], quality_of: Callable[[Shown], ShownQuality | None]
    ) -> None:
        """Count what a player tells of a session. Without the store it goes uncounted."""
        number = self._number(state)
        if number is None or not any(isinstance(event, Shown | Stalled) for event in events):
            return
        try:
            for _ in range(ATTEMPTS):
                if await self._note(state.visit, number, events, quality_of):
                    return
            log.warning("a visit changed too often to be counted")
        except StoreError as error:
            self._fail(error)

    async def _note(
        self, key: bytes, number: int, events: Sequence[AnyEvent], quality_of: Callable[[Shown], ShownQuality | None]
    ) -> bool:
        kept = await self._store.visit(key)
        try:
            before = loads_visit(kept) if kept else Visit()
        except msgspec.DecodeError:
            before = Visit()
        after = before.after(events, quality_of)
        change = change_of(before.figures(), after.figures())
        return await self._store.swap(key, kept, dumps_visit(after), arm=number, change=change)

    async def report(self) -> ExperimentView:
        """What came of it so far, over all workers. Raises StoreError."""
        return report(self._experiment, await self._store.tallies())

    async def close(self) -> None:
        """Let go of connections."""
        await self._store.close()

    def _number(self, state: SessionState) -> int | None:
        """Of the session's arm; None when it is in none, in one of another experiment, or when its visit was lost."""
        number = self._numbers.get(state.arm)
        is_ours = number is not None and self._experiment.arms[number].controller == state.controller
        return number if is_ours and state.visit else None

    def _fail(self, error: StoreError) -> None:
        self._metrics.store_failures.inc()
        log.debug("%s; a visit is not counted", error)  # the session store warns already
