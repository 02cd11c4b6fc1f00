"""What a round of tuning takes of a device, by formulas, and whether that may be asked of it.

A network is described by what training it comes to (`TrainingLoad`), a device by what it was seen to take for training
(`TrainingAbility`). Both are the same for a picture's network and for others, so that they can be held side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log

from abr.core.device import EnergySource
from abr.secure_aggregation.degree import choose_degree
from abr.secure_aggregation.masks import WORD_BYTES

STATE_BYTES = 20
"""Of a trained number in 32-bit floats: itself, its gradient, two moments of Adam, and its moving average."""
BACKWARD_TIMES = 3
"""Multiplications of a training step over those of running the network: forward, and twice as many back."""
NEIGHBOUR_BYTES, MESSAGES_BYTES = 592, 2500
"""Of a player's messages in a round beside its vector: for each neighbour (BENCHMARKS: 585 to 598), and the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLoad:
    """Training of one network in one round.

    trained: numbers that the optimizer holds. values: numbers that travel. macs: multiplications of running it on one
    sample of a batch. outputs: numbers that the loss looks at, of one sample. activation_bytes: that are kept of one
    sample for the way back. data_bytes: of all that is learnt from.
    """

    name: str
    trained: int
    values: int
    macs: float
    outputs: int
    activation_bytes: int
    batch: int
    steps: int
    data_bytes: int = 0

    @property
    def state_bytes(self) -> int:
        """What the optimizer holds."""
        return STATE_BYTES * self.trained

    @property
    def kept_bytes(self) -> int:
        """Activations of a batch."""
        return self.batch * self.activation_bytes

    @property
    def step_macs(self) -> float:
        """Of a training step."""
        return BACKWARD_TIMES * self.batch * self.macs


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAbility:
    """What a device takes for training, in one thread.

    base_bytes: of a process that trains a network of next to nothing. kept_times: peak bytes for each of activations.
    begin_s, step_s, output_s, mac_s: processor seconds of a beginning, of a step, of an output and of a multiplication.
    watts: above rest.
    """

    base_bytes: float
    kept_times: float
    begin_s: float
    step_s: float
    output_s: float
    mac_s: float
    watts: float
    source: EnergySource

    def slowed(self, times: float) -> TrainingAbility:
        """Of a device that takes `times` as long for everything."""
        return replace(
            self,
            begin_s=times * self.begin_s,
            step_s=times * self.step_s,
            output_s=times * self.output_s,
            mac_s=times * self.mac_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCost:
    """Of one player in one round."""

    memory_bytes: float
    seconds: float
    joules: float
    traffic_bytes: float


def cost_of(load: TrainingLoad, ability: TrainingAbility, cohort: int) -> RoundCost:
    """By the formulas. traffic_bytes: the version down, the vector up, and messages with the neighbours' shares."""
    step_s = ability.step_s + load.batch * load.outputs * ability.output_s + load.step_macs * ability.mac_s
    seconds = ability.begin_s + load.steps * step_s
    neighbours = choose_degree(cohort).neighbours
    return RoundCost(
        memory_bytes=ability.base_bytes + load.data_bytes + load.state_bytes + ability.kept_times * load.kept_bytes,
        seconds=seconds,
        joules=seconds * ability.watts,
        traffic_bytes=2 * WORD_BYTES * load.values + NEIGHBOUR_BYTES * neighbours + MESSAGES_BYTES,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be asked of a viewer's device for one round. joules: a twenty-fifth of a phone's battery.

    growth: of memory, speed, efficiency and line, a year: 0.25 stands for a quarter more.
    """

    memory_bytes: float = 512e6
    seconds: float = 60.0
    joules: float = 2000.0
    traffic_bytes: float = 5e6
    growth: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """binding: what is furthest beyond its limit, or nearest to it. share: of the limit. year: viable then."""

    goes: bool
    binding: str
    share: float
    year: int | None


def judge_cost(cost: RoundCost, limits: Limits, year: int) -> Verdict:
    """Whether all is within the limits now, and else in which year, were the devices to grow as stated."""
    shares = {
        "memory": cost.memory_bytes / limits.memory_bytes,
        "time": cost.seconds / limits.seconds,
        "energy": cost.joules / limits.joules,
        "bytes": cost.traffic_bytes / limits.traffic_bytes,
    }
    binding = max(shares, key=lambda name: shares[name])
    worst = shares[binding]
    if worst <= 1:
        return Verdict(goes=True, binding=binding, share=worst, year=year)
    viable = None if limits.growth <= 0 else year + ceil(log(worst) / log(1 + limits.growth))
    return Verdict(goes=False, binding=binding, share=worst, year=viable)
