"""`toprung qoe fit`: a quality of experience learnt from people's opinions."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.core.arrays import Floats
from abr.errors import InputError
from abr.files import write_atomically
from abr.opinions.collected import read_opinions
from abr.opinions.dataset import OpinionSet, join
from abr.opinions.features import LOGARITHMIC, values_of
from abr.opinions.fitted import FittedQoe, fit_qoe
from abr.opinions.methods import DEFAULT, METHODS
from abr.opinions.raters import item_scores, mean_kappa
from abr.records import dumps_pretty

_SCORE_STEP_MIN = 0.01
"""From the least of a feature to its most: less is no difference."""


@click.command(context_settings={"show_default": True})
@click.argument("ratings", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="RATINGS…")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the fitted QoE as JSON.")
@click.option("--method", type=click.Choice(list(METHODS)), default=DEFAULT, help="How to learn from who disagree.")
@click.option("--features", help="Learn from these alone, separated by commas, such as rate_kbps.  [default: all]")
@click.option("--expert", is_flag=True, help="Learn from the expert's opinion that NFLX_public's file names tell.")
@click.option("--json", "as_json", is_flag=True, help="Print the fitted QoE as JSON.")
def qoe_fit(
    ratings: tuple[Path, ...], out: Path | None, method: str, features: str | None, expert: bool, as_json: bool
) -> None:
    """Learn from people who disagree what they think of a picture, as a QoE that `--qoe` takes.

    RATINGS are files of opinion scores from 1 to 5, as the reference of file formats has them, or folders in which
    `toprung serve --rate` collected. Several count as one test in which nobody took part twice.
    """
    opinions = join([read_opinions(path) for path in ratings])
    chosen = tuple(name.strip() for name in features.split(",")) if features else ()
    fitted = fit_qoe(opinions, method=method, features=chosen, expert=expert)
    _check_differs(fitted)
    data = dumps_pretty(fitted)
    if out is not None:
        write_atomically(out, data)
    if as_json:
        sys.stdout.write(data.decode())
    else:
        _show(fitted, opinions, expert)


def _check_differs(fitted: FittedQoe) -> None:
    """Raises InputError for a QoE that finds everything alike: a server that decides by it would choose blindly."""
    scores = [scores for _, _, _, scores in _steps(fitted)]
    if all(abs(high - low) < _SCORE_STEP_MIN for low, high in scores):
        raise InputError(
            f"In these opinions nothing depends on {', '.join(feature.name for feature in fitted.design.features)}: "
            f"the score stays {scores[0][0]:.2f}. Give opinions of more items, or of items that differ more."
        )


def _show(fitted: FittedQoe, opinions: OpinionSet, expert: bool) -> None:
    """What it makes of the items that it was learnt from, and of each feature by itself."""
    columns = fitted.design.columns(values_of(opinions, expert=expert))
    labels, expected = fitted.rater.labels(columns), fitted.rater.scores(columns)
    kappa = mean_kappa(labels, opinions.scores)
    table = Table("learnt from", "items", "raters", "votes", "method", "κ with raters", "off their scores by")
    table.add_row(
        fitted.made_from,
        str(fitted.items),
        str(fitted.raters),
        str(fitted.votes),
        fitted.method,
        "–" if math.isnan(kappa) else f"{kappa:.3f}",
        f"{float(np.abs(expected - item_scores(opinions.scores)).mean()):.2f}",
    )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    steps = Table("feature", "from", "to", "score", caption="one feature after the other, the others in the middle")
    for name, low, high, scores in _steps(fitted):
        steps.add_row(name, f"{low:g}", f"{high:g}", f"{scores[0]:.2f} → {scores[1]:.2f}")
    console.print(steps)


def _steps(fitted: FittedQoe) -> Iterator[tuple[str, float, float, Floats]]:
    """For each feature its least and greatest value, and the expected scores there."""
    ends: dict[str, tuple[float, float]] = {}
    for feature in fitted.design.features:
        low, high = (feature.knots[0], feature.knots[-1]) if feature.knots else (0.0, 1.0)
        ends[feature.name] = (math.exp(low), math.exp(high)) if feature.name in LOGARITHMIC else (low, high)
    for name, (low, high) in ends.items():
        middle = {each: np.full(2, (a + b) / 2 if each != name else 0.0) for each, (a, b) in ends.items()}
        scores = fitted.rater.scores(fitted.design.columns(middle | {name: np.array([low, high])}))
        yield name, low, high, scores
