"""Fit what `enhancers.runtime.exit_policy` knows of motion, and hold the policy against plans on clips it has not seen.

    python tests/bench/fit_exit_policy.py CLIP… --test CLIP…

Each clip is coded as a rung of 180 lines, and what is left of the generic network's gain after each step is measured.
Prints the constants, how well they foretell the steps of each clip, and for each budget how much of what a plan brings
beyond tiers that share time the policy brings too: in points as plans are made by (`enhancers.planning`), not by a
meter.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from abr.core.arrays import Floats
from enhancers.measurement.speed import encode_rung
from enhancers.networks import catalog
from enhancers.planning.kept_gain import measure_kept
from enhancers.planning.segment_plans import BUDGETS, CARRY_COST
from enhancers.planning.solver import SpanProblem, solve, value_of
from enhancers.runtime.exit_policy import GAINS, ExitPolicy, choose_actions, mean_motion_px
from enhancers.runtime.frames import decode_file, decode_segment
from enhancers.runtime.loader import load_exits, open_network
from enhancers.runtime.motion import MotionFollower

FRAMES = 120
EXIT_COSTS = (1.0, 2.185, 4.16)
"""Of the exits at ×4, in runs of the first."""
_UNITS = 20


def measure(clip: Path) -> tuple[list[float | None], Floats]:
    """Mean motion of each frame, px, None where nothing can be carried to it; (F,) what is kept after each step."""
    first = next(islice(decode_file(str(clip)), 1))
    size_px = (round(180 * first.width_px / first.height_px / 2) * 2, 180)
    frames = list(decode_segment(encode_rung(clip, size_px, frames=FRAMES), motion=True))
    lightest = load_exits(catalog.generic_chunks(catalog.architecture(4)))[0]
    network = open_network(lightest, "", size_px=size_px, display_px=(size_px[0] * 4, 720))
    kept = measure_kept(frames, network, 4.0)
    follower = MotionFollower()
    moved: list[float | None] = []
    for frame, share in zip(frames, kept, strict=True):
        motion = follower.motion_to(frame.picture)
        moved.append(mean_motion_px(motion) if motion is not None and share > 0 else None)
    return moved, kept


def as_rows(moved: list[float | None], kept: Floats) -> tuple[Floats, Floats]:
    """(N, 2) a one and the motion of each step that can be carried; (N,) the logarithm of what is kept."""
    pairs = [((1.0, each), share) for each, share in zip(moved, kept, strict=True) if each is not None]
    return np.array([row for row, _ in pairs]), np.log([share for _, share in pairs])


def explained(steps: Floats, losses: Floats, weights: Floats) -> str:
    """How well the steps of a clip are foretold."""
    error = losses - steps @ weights
    return f"R² {1 - error.var() / losses.var():5.2f}  mean error {error.mean():+.4f}"


def advantage(moved: list[float | None], kept: Floats, weights: Floats, budget: float) -> float:
    """The share of what a plan brings beyond time-shared tiers that the policy brings too."""
    frames = len(kept)
    known = SpanProblem(
        gains=np.tile(GAINS, (frames, 1)),
        kept=np.tile(kept[:, None], (1, len(GAINS))),
        carry_cost=round(_UNITS * CARRY_COST),
        exit_costs=tuple(round(_UNITS * cost) for cost in EXIT_COSTS),
    )
    policy = ExitPolicy(exit_costs=EXIT_COSTS, carry_cost=CARRY_COST, budget=budget)
    forecast = [0.0 if each is None else float(np.exp(np.dot(weights, (1.0, each)))) for each in moved]
    chosen = np.array(list(choose_actions(policy, forecast, kept.tolist())), np.uint8)
    (best,) = solve(known, [int(budget * _UNITS * frames)])
    shared = frames * float(np.interp(budget, (0.0, *EXIT_COSTS), (0.0, *GAINS)))
    return (value_of(known, chosen) - shared) / (best.value - shared)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--test", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    found = {clip: measure(clip) for clip in (*given.clips, *given.test)}
    rows = [as_rows(*found[clip]) for clip in given.clips]
    steps, losses = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    weights = np.linalg.lstsq(steps, losses, rcond=None)[0]
    print(f"lost with a step {-weights[0]:.4f}, with a pixel of motion {-weights[1]:.4f}")
    for clip, (moved, kept) in found.items():
        shares = "  ".join(f"{budget:g}: {advantage(moved, kept, weights, budget):4.0%}" for budget in BUDGETS)
        seen = "fitted" if clip in given.clips else "unseen"
        print(f"{clip.name:<34}{seen}  {explained(*as_rows(moved, kept), weights)}  {shares}", flush=True)


if __name__ == "__main__":
    main()
