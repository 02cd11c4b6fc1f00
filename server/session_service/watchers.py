"""Who counts what all viewers bring and see: the fleet of their devices, and a running experiment if there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from abr.core.device import DeviceProfile
from abr.core.events import AnyEvent, Shown
from abr.core.options import PriceList
from server.experiments.service import RunningExperiment
from server.fleet.service import Fleet
from server.monitoring.shown_quality import ShownQuality
from server.sessions.state import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchers:
    """What counts goes on when a store is away: nobody waits for it."""

    fleet: Fleet
    experiment: RunningExperiment | None = None

    async def count_session(self, state: SessionState, profile: DeviceProfile | None, prices: PriceList) -> None:
        """A session was opened with this profile, and is offered these options."""
        self.fleet.count_session(state, profile, prices)
        if self.experiment:
            await self.experiment.count_session(state)

    async def note(
        self, state: SessionState, events: Sequence[AnyEvent], quality_of: Callable[[Shown], ShownQuality | None]
    ) -> None:
        """Count what a player tells of a session."""
        await self.fleet.note(state, events, quality_of)
        if self.experiment:
            await self.experiment.note(state, events, quality_of)
