"""How often an experiment's intervals err: `python tests/bench/experiment_intervals.py`.

Whole experiments, looked at after every visit from the first interval on, beside the usual interval of 1.96 standard
errors looked at as often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from server.experiments.intervals import ALPHA, LEAST, PLANNED, widening

USUAL = 1.96
Draw = NDArray[np.float64]


class Kind(NamedTuple):
    """Experiments of one kind. draw: (shape) → QoE of visits in the first arm, and in the second."""

    name: str
    truth: float
    visits: int
    experiments: int
    draw: Callable[[np.random.Generator, tuple[int, int]], tuple[Draw, Draw]]


def normal(gain: float, deviation: float) -> Callable[[np.random.Generator, tuple[int, int]], tuple[Draw, Draw]]:
    return lambda chance, shape: (chance.normal(0, deviation, shape), chance.normal(gain, deviation, shape))


def disasters(first: float, second: float) -> Callable[[np.random.Generator, tuple[int, int]], tuple[Draw, Draw]]:
    """Nearly all visits are alike; a part of each arm has a QoE of -100."""

    def draw(chance: np.random.Generator, shape: tuple[int, int]) -> tuple[Draw, Draw]:
        usual = chance.normal(90, 1, shape)
        one, two = (np.where(chance.random(shape) < share, -100.0, usual) for share in (first, second))
        return one, two

    return draw


KINDS = (
    Kind("equal, deviation 7.5", 0.0, 400, 2000, normal(0, 7.5)),
    Kind("3 QoE, deviation 7.5", 3.0, 400, 2000, normal(3, 7.5)),
    Kind("3 QoE, deviation 5", 3.0, 400, 2000, normal(3, 5)),
    Kind("3 QoE, deviation 40", 3.0, 12_000, 200, normal(3, 40)),
    Kind("equal, 1 in 50 a disaster", 0.0, 3000, 500, disasters(0.02, 0.02)),
    Kind("1 in 50 against 1 in 25", -3.8, 3000, 500, disasters(0.02, 0.04)),
)


def measure(kind: Kind, chance: np.random.Generator) -> list[str]:
    """A row of the table."""
    shape = kind.experiments, kind.visits
    second, draws = chance.random(shape) < 0.5, kind.draw(chance, shape)
    mean, error2, fewest = np.zeros(shape), np.zeros(shape), np.full(shape, kind.visits)
    for sign, mask, values in ((-1, ~second, draws[0]), (1, second, draws[1])):
        count = mask.cumsum(axis=1)
        own = (values * mask).cumsum(axis=1) / np.maximum(count, 1)
        squares = (values**2 * mask).cumsum(axis=1) - count * own**2
        mean, error2 = mean + sign * own, error2 + squares / np.maximum(count - 1, 1) / np.maximum(count, 1)
        fewest = np.minimum(fewest, count)
    error, there = np.sqrt(error2), fewest >= LEAST
    wide = error * np.array([widening(visits, PLANNED, ALPHA) for visits in range(1, kind.visits + 1)])
    found, missed = (np.abs(mean) > wide) & there, (np.abs(mean - kind.truth) > wide) & there
    usual = (np.abs(mean - kind.truth) > USUAL * error) & there
    shares = (found.any(axis=1), found[:, -1], missed.any(axis=1), usual.any(axis=1))
    return [kind.name, str(kind.visits), *(f"{share.mean():.1%}" for share in shares)]


def main() -> None:
    chance = np.random.default_rng(1)
    table = Table("experiments", "visits", "found", "found at end", "truth ever left out", "the same, usual interval")
    for kind in KINDS:
        table.add_row(*measure(kind, chance))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
