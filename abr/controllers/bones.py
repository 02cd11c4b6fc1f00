"""BONES: Lyapunov control of download buffer and enhancement queue together (Wang et al., SIGMETRICS 2024)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from abr.control import Decision, Flight, Observation
from abr.controllers.rules import expected, ladder, per_title, quiet, start, starting, step_down
from abr.crowd import Crowd, Decisions, nothing_kept
from abr.options import Floats, Menu, PriceList, told


@per_title
def mean_vmaf(prices: PriceList) -> Floats:
    """(O,) mean quality of each option over the title; -inf where none is known."""
    known = told(prices.vmaf)
    totals = np.where(known, prices.vmaf, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), totals / np.maximum(known.sum(axis=0), 1), -np.inf)


@dataclass(frozen=True, slots=True)
class Bones:
    """gamma_p: reward of playing on, in VMAF points. aggressiveness: multiplies the weight V of quality.

    Objective (their section 4): least (buffer·p + backlog·compute - V (quality + γp)) / segment bytes, where V =
    aggressiveness · (buffer_max - p) · p / (best quality + γp) and p is a segment's duration. Options whose
    enhancement would end too late are left out, and so are the enhancers named in `skip` (the published code leaves
    out IMDN's ultra). Weights to be fetched count with the bytes, shared by the segments left.
    """

    gamma_p: float = 10.0
    aggressiveness: float = 1.0
    skip: tuple[str, ...] = ()

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        scores = self.scores(seen.menu, seen.menu.weights_bytes, seen.buffer_max_s, seen.buffer_s, seen.backlog_s)
        option = int(np.argmin(scores))
        if not np.isfinite(scores[option]):
            return Decision(option=step_down(seen.menu, 0), reason="bones: nothing else is offered")
        reason = (
            f"bones: buffer {seen.buffer_s:.1f} s, backlog {seen.backlog_s:.1f} s, score {scores[option]:.3g} "
            f"is least of {np.isfinite(scores).sum()}"
        )
        return Decision(option=option, reason=reason)

    def decide_many(self, seen: Crowd) -> Decisions:
        return self._decide_many(seen, 1.0)

    def _decide_many(self, seen: Crowd, tuned: Floats | float) -> Decisions:
        """tuned: (M, 1) or one number that the aggressiveness is multiplied by."""
        buffer_s, backlog_s = seen.buffer_s[:, None], seen.backlog_s[:, None]
        scores = self.scores(seen.menu, seen.weights_bytes, seen.buffer_max_s, buffer_s, backlog_s, tuned)
        best = np.argmin(scores, axis=1)
        known = np.isfinite(scores[np.arange(len(best)), best])
        option = np.where(known, best, ladder(seen.prices).options[0])
        return Decisions(option=option, memory=nothing_kept(len(option)))

    def scores(
        self,
        menu: Menu,
        weights_bytes: Floats,
        buffer_max_s: float,
        buffer_s: Floats | float,
        backlog_s: Floats | float,
        tuned: Floats | float = 1.0,
    ) -> Floats:
        """The objective of each option, infinite where it cannot be: (O,), or (M, O) given columns (M, 1)."""
        with quiet():
            size_bytes = menu.size_bytes[0] + weights_bytes / menu.segments_left
            scores = self.objective(menu, buffer_max_s, buffer_s, backlog_s, tuned) / size_bytes
        late = (menu.compute_s[0] > 0) & (backlog_s + menu.lead_s[0] > buffer_s)
        hole = ~told(menu.vmaf[0], menu.size_bytes[0]) | ~np.isfinite(scores)
        skipped = [choice.enhancer in self.skip for choice in menu.choices]
        return np.where(late | hole | skipped, np.inf, scores)

    def objective(
        self,
        menu: Menu,
        buffer_max_s: float,
        buffer_s: Floats | float,
        backlog_s: Floats | float,
        tuned: Floats | float = 1.0,
    ) -> Floats:
        """Drift less reward of each option, before it is divided by the bytes."""
        quality, duration_s = mean_vmaf(menu), float(menu.duration_s[0])
        best = quality[np.isfinite(quality)].max() + self.gamma_p
        weight = tuned * self.aggressiveness * max(buffer_max_s - duration_s, 0.0) * duration_s / best
        with quiet():
            drift = buffer_s * duration_s + backlog_s * menu.compute_s[0]
            return np.asarray(drift - weight * (quality + self.gamma_p))

    def at(self, seen: Observation) -> Bones:
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
class BonesAuto:
    """BONES with its aggressiveness tuned to the throughput of the session."""

    bones: Bones = Bones()

    def decide_many(self, seen: Crowd) -> Decisions:
        share = seen.expected.throughput_bps / ladder(seen.prices).bps[-1]
        step = np.clip((share * (len(MULTIPLIERS) - 1)).astype(np.intp) - 1, 0, len(MULTIPLIERS) - 1)
        return self.bones._decide_many(seen, np.array(MULTIPLIERS)[step][:, None])

    def decide(self, seen: Observation) -> Decision:
        if starting(seen):
            return start(seen)
        tuned = self.at(seen)
        decision = tuned.decide(seen)
        return msgspec.structs.replace(decision, reason=f"{decision.reason}, aggressiveness {tuned.aggressiveness}")

    def at(self, seen: Observation) -> Bones:
        """BONES as tuned for what the session has seen."""
        share = expected(seen).throughput_bps / ladder(seen.menu).bps[-1]
        step = min(max(int(share * (len(MULTIPLIERS) - 1)) - 1, 0), len(MULTIPLIERS) - 1)
        return replace(self.bones, aggressiveness=MULTIPLIERS[step])


@dataclass(frozen=True, slots=True)
class BonesMonitor:
    """BONES that goes on scoring while a segment comes (their section 5): what is left of it against the others whole.

    As in the published code it changes its mind only for another rendition and another enhancer.
    """

    bones: Bones | BonesAuto = Bones()

    def decide(self, seen: Observation) -> Decision:
        return self.bones.decide(seen)

    def reconsider(self, seen: Observation, flight: Flight) -> int | None:
        left_bytes = flight.size_bytes - flight.done_bytes
        if starting(seen) or left_bytes <= 0:
            return None
        menu, bones, buffers = seen.menu, self.bones.at(seen), (seen.buffer_max_s, seen.buffer_s, seen.backlog_s)
        scores = bones.scores(menu, menu.weights_bytes, *buffers)
        now = float(bones.objective(menu, *buffers)[flight.option]) / left_bytes
        other = int(np.argmin(scores))
        ours, theirs = menu.choices[flight.option], menu.choices[other]
        differs = theirs.rendition != ours.rendition and theirs.enhancer != ours.enhancer
        return other if differs and scores[other] < now else None
