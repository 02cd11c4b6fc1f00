"""BONES: Lyapunov control of download buffer and enhancement queue together (Wang et al., SIGMETRICS 2024)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from abr.controllers.batch import ColumnController, DecisionBatch, ObservationBatch
from abr.controllers.common import estimate_throughput, ignore_holes, is_starting, per_title
from abr.controllers.ladder import ladder_of, start, step_down
from abr.core.arrays import Floats, Indices, Number, namespace_of
from abr.core.control import Decision, DownloadInFlight, Observation
from abr.core.options import Menu, PriceList, known_cells


@per_title
def mean_vmaf(prices: PriceList) -> Floats:
    """(O,) mean quality of each option over the title; -inf where none is known."""
    known = known_cells(prices.quality)
    totals = np.where(known, prices.quality, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), totals / np.maximum(known.sum(axis=0), 1), -np.inf)


@dataclass(frozen=True, slots=True)
class Bones(ColumnController):
    """gamma_p: reward of playing on, in VMAF points. aggressiveness: multiplies the weight V of quality.

    Objective (their section 4): least (buffer·p + backlog·compute - V (quality + γp)) / segment bytes, where V =
    aggressiveness · (buffer_max - p) · p / (best quality + γp) and p is a segment's duration. Options whose
    enhancement would end too late are left out, and so are the enhancers named in `skip` (the published code leaves
    out IMDN's ultra). Weights to be fetched count with the bytes, shared by the segments left.
    """

    gamma_p: float = 10.0
    aggressiveness: float = 1.0
    skip: tuple[str, ...] = ()

    def decide(self, observation: Observation) -> Decision:
        """Play the option with the least score."""
        if is_starting(observation):
            return start(observation)
        menu, buffer_s, backlog_s = observation.menu, observation.buffer_s, observation.backlog_s
        scores = self.scores(menu, menu.weights_bytes, observation.buffer_max_s, buffer_s, backlog_s)
        option = int(np.argmin(scores))
        if not np.isfinite(scores[option]):
            return Decision(option=step_down(menu, 0), reason="bones: nothing else is offered")
        reason = (
            f"bones: buffer {buffer_s:.1f} s, backlog {backlog_s:.1f} s, score {scores[option]:.3g} "
            f"is least of {np.isfinite(scores).sum()}"
        )
        return Decision(option=option, reason=reason)

    def decide_columns(self, batch: ObservationBatch, tuning: Floats | float = 1.0) -> DecisionBatch:
        """The options with the least scores. tuning: (M, 1) or one number that multiplies the aggressiveness."""
        buffer_s, backlog_s = batch.buffer_s[:, None], batch.backlog_s[:, None]
        scores = self.scores(batch.menu, batch.weights_bytes, batch.buffer_max_s, buffer_s, backlog_s, tuning)
        possible = np.isfinite(scores.min(axis=1))
        return DecisionBatch(option=np.where(possible, scores.argmin(axis=1), ladder_of(batch.menu).options[0]))

    def scores(
        self,
        menu: Menu,
        weights_bytes: Floats,
        buffer_max_s: float,
        buffer_s: Floats | float,
        backlog_s: Floats | float,
        tuning: Floats | float = 1.0,
    ) -> Floats:
        """The objective of each option, infinite where it cannot be: (O,), or (M, O) given columns (M, 1)."""
        with ignore_holes():
            size_bytes = menu.size_bytes[0] + weights_bytes / menu.segments_left
            scores = self.objective(menu, buffer_max_s, buffer_s, backlog_s, tuning) / size_bytes
        late = (menu.compute_s[0] > 0) & (backlog_s + menu.lead_s[0] > buffer_s)
        hole = ~known_cells(menu.quality[0], menu.size_bytes[0]) | ~np.isfinite(scores)
        skipped = [choice.enhancer in self.skip for choice in menu.choices]
        return np.where(late | hole | skipped, np.inf, scores)

    def objective(
        self,
        menu: Menu,
        buffer_max_s: float,
        buffer_s: Floats | float,
        backlog_s: Floats | float,
        tuning: Floats | float = 1.0,
    ) -> Floats:
        """Drift less reward of each option, before it is divided by the bytes."""
        quality, duration_s = mean_vmaf(menu), float(menu.duration_s[0])
        best = quality[np.isfinite(quality)].max() + self.gamma_p
        weight = tuning * self.aggressiveness * max(buffer_max_s - duration_s, 0.0) * duration_s / best
        with ignore_holes():
            drift = buffer_s * duration_s + backlog_s * menu.compute_s[0]
            return np.asarray(drift - weight * (quality + self.gamma_p))

    def at(self, observation: Observation) -> Bones:
        """These very settings; see `BonesAuto.at`."""
        return self


MULTIPLIERS = (
    *(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7),
    *(0.6, 0.6, 0.6, 0.5, 0.5, 0.4, 0.3, 0.3, 0.3, 0.25, 0.2, 0.2),
)
"""Best aggressiveness for an expected throughput of 1/24, 2/24, … of the highest rung's rate and more.

Found as the paper does (its section 6.1): a grid search over sessions on synthetic normal throughput, 20 traces a cell.
The reward γp came out at 10 nearly everywhere.
"""


@dataclass(frozen=True, slots=True)
class BonesAuto(ColumnController):
    """BONES with its aggressiveness tuned to the throughput of the session."""

    bones: Bones = Bones()

    def decide(self, observation: Observation) -> Decision:
        """As BONES, with the aggressiveness that the throughput calls for."""
        if is_starting(observation):
            return start(observation)
        tuned = self.at(observation)
        decision = tuned.decide(observation)
        return msgspec.structs.replace(decision, reason=f"{decision.reason}, aggressiveness {tuned.aggressiveness}")

    def decide_columns(self, batch: ObservationBatch) -> DecisionBatch:
        """As BONES, each session with the aggressiveness that its throughput calls for."""
        return self.bones.decide_columns(batch, np.array(MULTIPLIERS)[_multiplier(batch)][:, None])

    def at(self, observation: Observation) -> Bones:
        """BONES as tuned for the throughput that the session is expected to have."""
        return replace(self.bones, aggressiveness=MULTIPLIERS[_multiplier(observation)])


def _multiplier(observation: Observation | ObservationBatch) -> int | Indices:
    """The index into MULTIPLIERS for one session, or (M,) of them."""
    share = estimate_throughput(observation).throughput_bps / ladder_of(observation.menu).bps[-1]
    xp, last = namespace_of(share), len(MULTIPLIERS) - 1
    steps: Number = xp.minimum(xp.maximum(share * last - 1, 0), last)
    return steps.astype(np.intp) if isinstance(steps, np.ndarray) else int(steps)


@dataclass(frozen=True, slots=True)
class BonesMonitor:
    """BONES that goes on scoring while a segment comes (their section 5): what is left of it against the others whole.

    As in the published code it changes its mind only for another rendition and another enhancer.
    """

    bones: Bones | BonesAuto = Bones()

    def decide(self, observation: Observation) -> Decision:
        """See Controller."""
        return self.bones.decide(observation)

    def reconsider(self, observation: Observation, flight: DownloadInFlight) -> int | None:
        """See AbandoningController."""
        left_bytes = flight.size_bytes - flight.done_bytes
        if is_starting(observation) or left_bytes <= 0:
            return None
        menu, bones = observation.menu, self.bones.at(observation)
        buffers = observation.buffer_max_s, observation.buffer_s, observation.backlog_s
        scores = bones.scores(menu, menu.weights_bytes, *buffers)
        now = float(bones.objective(menu, *buffers)[flight.option]) / left_bytes
        other = int(np.argmin(scores))
        ours, theirs = menu.choices[flight.option], menu.choices[other]
        differs = theirs.rendition != ours.rendition and theirs.enhancer != ours.enhancer
        return other if differs and scores[other] < now else None
