"""`toprung bench opinions`: ways to learn from raters who disagree, on contents that were never seen."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.core.arrays import Floats
from abr.evaluation.benchmark import track_quietly
from abr.evaluation.sureal_scores import sureal_scores
from abr.opinions.collected import read_opinions
from abr.opinions.dataset import OpinionSet
from abr.opinions.evaluation import (
    SplitFigures,
    judge_split,
    kappa_differences,
    paired_p,
    rank_correlation,
    splits_of,
)
from abr.opinions.methods import DEFAULT, METHODS
from abr.opinions.raters import item_scores
from abr.records import dumps_pretty

FIGURES = tuple(field.name for field in fields(SplitFigures))


class MethodFigures(msgspec.Struct, frozen=True):
    """A method over all splits: means, and κ's deviation over splits. ahead: κ of the default less its own.

    regularised: the share of splits in which agreement learning found a λ above 0 better than none.

    p: two-sided, of that difference being chance, signs of splits flipped at random.
    """

    method: str
    kappa: float
    kappa_sd: float
    srocc: float
    srocc_within: float
    ece: float
    regularised: float
    ahead: float
    p: float


class OpinionReport(msgspec.Struct, frozen=True):
    """One test. oracle: who scored the items that srocc is against. oracle_rank: our own scores' rank correlation."""

    test: str
    items: int
    contents: int
    raters: int
    raters_an_item: int
    splits: int
    seed: int
    oracle: str
    oracle_rank: float
    methods: tuple[MethodFigures, ...]


def judge(
    opinions: OpinionSet,
    *,
    methods: Sequence[str],
    splits: int,
    raters: int,
    seed: int,
    expert: bool = False,
) -> OpinionReport:
    """All methods on the same splits. The default is among them."""
    own, theirs = item_scores(opinions.scores), sureal_scores(opinions)
    reference = own if theirs is None else theirs
    each = [
        judge_split(opinions, split, reference, methods, expert=expert)
        for split in track_quietly(list(splits_of(opinions, splits, raters, seed)), opinions.name)
    ]
    return OpinionReport(
        test=opinions.name,
        items=len(opinions.files),
        contents=len(np.unique(opinions.contents)),
        raters=opinions.scores.shape[1],
        raters_an_item=raters,
        splits=splits,
        seed=seed,
        oracle="ours" if theirs is None else "sureal",
        oracle_rank=rank_correlation(own, reference),
        methods=tuple(_over_splits(each, method) for method in methods),
    )


def _over_splits(splits: Sequence[Mapping[str, SplitFigures]], method: str) -> MethodFigures:
    table: Floats = np.array([[getattr(each[method], figure) for figure in FIGURES] for each in splits])
    kappa, srocc, within, ece, _ = (float(mean) for mean in np.nanmean(table, axis=0))
    ahead = kappa_differences(splits, DEFAULT, method)
    return MethodFigures(
        method=method,
        kappa=kappa,
        kappa_sd=float(table[:, 0].std(ddof=1)),
        srocc=srocc,
        srocc_within=within,
        ece=ece,
        regularised=float((table[:, FIGURES.index("strength")] > 0).mean()),
        ahead=float(ahead.mean()),
        p=paired_p(ahead),
    )


@click.command("opinions", context_settings={"show_default": True})
@click.argument(
    "ratings",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="RATINGS…",
)
@click.option("--splits", type=click.IntRange(2, 1000), default=32, help="Splits by content, a third held out.")
@click.option("--raters", type=click.IntRange(1, 1000), default=5, help="Votes left of each item to learn from.")
@click.option("--seed", type=int, default=1, help="Draws the splits and the votes.")
@click.option("--expert", is_flag=True, help="Learn from the expert's opinion that NFLX_public's file names tell.")
@click.option("--methods", default=",".join(METHODS), help=f"Separated by commas; {DEFAULT} is always among them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_opinions(
    ratings: tuple[Path, ...], splits: int, raters: int, seed: int, expert: bool, methods: str, as_json: bool
) -> None:
    """Ways to learn from raters who disagree, on contents that were never seen.

    RATINGS are files of opinion scores; each is judged by itself. κ is quadratic, the mean over all raters of the
    contents held out. SROCC is with the scores that `sureal` gives these items from all votes, if it is installed.
    """
    names = list(dict.fromkeys((DEFAULT, *methods.split(","))))
    for name in names:
        if name not in METHODS:
            raise click.BadParameter(f"there is no method {name!r}; known: {', '.join(METHODS)}.")
    reports = [
        judge(read_opinions(path), methods=names, splits=splits, raters=raters, seed=seed, expert=expert)
        for path in ratings
    ]
    if as_json:
        sys.stdout.write(dumps_pretty(reports).decode())
    else:
        _show(reports)


def _show(reports: Sequence[OpinionReport]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    for report in reports:
        table = Table(
            *("method", "κ", "± splits", "SROCC", "within contents", "ECE", f"{DEFAULT} ahead by", "p"),
            title=f"{report.test}: {report.splits} splits, {report.raters_an_item} raters an item, "
            f"scores by {report.oracle}",
        )
        for each in report.methods:
            cells = [f"{each.kappa:.3f}", f"{each.kappa_sd:.3f}", f"{each.srocc:.3f}", f"{each.srocc_within:.3f}"]
            table.add_row(each.method, *cells, f"{each.ece:.3f}", f"{each.ahead:+.3f}", f"{each.p:.4f}")
        console.print(table)
