"""What viewers give of their own will, where it is asked for: opinions, sums in private, the tuning of a network."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from abr.private_telemetry.layout import TELEMETRY
from abr.secure_aggregation.secrets import load_libraries
from server.clock import Clock
from server.federation.judge import Judge
from server.federation.plan import FederationPlan
from server.federation.tuning import Tuning
from server.monitoring.metrics import Metrics
from server.opinions.opinion_box import OpinionBox
from server.private.rounds import Channel, Pace, PrivateRounds
from server.settings import Settings


class SecureRounds(NamedTuple):
    """What rounds of secure aggregation are about, where not telemetry, and the network that is tuned by some."""

    channel: Channel | None = None
    federation: FederationPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributions:
    """Each is None where it is not asked for."""

    opinions: OpinionBox | None
    private_rounds: PrivateRounds | None
    tuning: Tuning | None

    @property
    def tuning_rounds(self) -> PrivateRounds | None:
        """The rounds in which a network is tuned."""
        return self.tuning.rounds if self.tuning is not None else None

    async def close(self) -> None:
        """Those who wait for a round are let go."""
        if self.private_rounds is not None:
            await self.private_rounds.close()
        if self.tuning is not None:
            await self.tuning.close()


async def start_contributions(
    settings: Settings, rounds: SecureRounds, metrics: Metrics, clock: Clock, stack: AsyncExitStack
) -> Contributions:
    """Those that are asked for. What has to be closed goes on the stack. Raises MissingExtraError, as Tuning.start."""
    return Contributions(
        opinions=await asyncio.to_thread(OpinionBox, Path(settings.rate)) if settings.rate else None,
        private_rounds=await _start_private_rounds(settings, rounds.channel, metrics, clock),
        tuning=await _start_tuning(rounds.federation, metrics, clock, stack),
    )


async def _start_private_rounds(
    settings: Settings, channel: Channel | None, metrics: Metrics, clock: Clock
) -> PrivateRounds | None:
    if not settings.private_telemetry:
        return None
    await asyncio.to_thread(load_libraries)
    channel = channel or Channel(words=TELEMETRY.words, layout=TELEMETRY.fingerprint, listener=metrics.private)
    pace = Pace(
        period_s=settings.private_period_s,
        stage_s=settings.private_stage_s,
        cohort=settings.private_cohort,
        members_max=settings.private_cohort_max,
    )
    return PrivateRounds(channel, pace, _ticks(clock))


async def _start_tuning(
    plan: FederationPlan | None, metrics: Metrics, clock: Clock, stack: AsyncExitStack
) -> Tuning | None:
    if plan is None:
        return None
    await asyncio.to_thread(load_libraries)
    tuning = Tuning(plan, Judge(plan), metrics.federation)
    stack.push_async_callback(tuning.close)
    await tuning.start(_ticks(clock))
    return tuning


def _ticks(clock: Clock) -> Clock:
    """For rounds: seconds that only grow."""
    return time.monotonic if clock is time.time else clock
