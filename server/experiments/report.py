"""What an experiment has come to: each arm's figures, and how the arms differ, with intervals. JSON of GET /qoe."""

from __future__ import annotations

from collections.abc import Sequence

from abr.records import Record
from server.experiments.experiment import Arm, Experiment
from server.experiments.intervals import (
    ALPHA,
    LEAST,
    PLANNED,
    Estimate,
    estimate_difference,
    estimate_mean,
    is_uneven,
)
from server.experiments.tally import Tally
from server.experiments.visit import BOUNDS, FIGURES
from server.monitoring.experiment_metrics import Bounds, ExperimentMetrics


class EstimateView(Record, frozen=True):
    """A mean and the interval that holds however often it is looked at; without bounds while visits are too few."""

    mean: float
    low: float | None
    high: float | None


class ArmView(Record, frozen=True):
    """One arm. sessions: opened in it. visits: viewers that told what they saw, who are what is counted.

    qoe, quality: in points. rebuffering: part of the time, 0 to 1. switches_per_minute: changes of rendition a minute
    shown. All are None before the first visit.
    """

    name: str
    controller: str
    share: float
    sessions: int
    visits: int
    qoe: EstimateView | None
    quality: EstimateView | None
    rebuffering: EstimateView | None
    switches_per_minute: EstimateView | None


class DifferenceView(Record, frozen=True):
    """How much more each figure is in an arm than in the control. verdict: what that says of QoE, in one sentence."""

    arm: str
    control: str
    confidence: float
    """That all these differences of QoE, at every look, are within their intervals."""
    qoe: EstimateView
    quality: EstimateView
    rebuffering: EstimateView
    switches_per_minute: EstimateView
    is_shown: bool
    """Whether the interval of QoE leaves 0 out."""
    verdict: str


class ExperimentView(Record, frozen=True):
    """An experiment so far."""

    arms: tuple[ArmView, ...]
    differences: tuple[DifferenceView, ...]
    confidence: float
    least_visits: int
    """Visits that an arm needs before it has intervals."""
    warning: str
    """Empty, or why the figures cannot be trusted."""


class QoeView(Record, frozen=True):
    """Answer to GET /qoe for programs."""

    experiment: ExperimentView | None
    """None where none is running."""


def report(experiment: Experiment, tallies: Sequence[Tally]) -> ExperimentView:
    """The experiment's figures by the tallies of its arms, in their order. The first arm is the control."""
    arms = experiment.arms
    control = tallies[0]
    known = [(arm, tally) for arm, tally in zip(arms[1:], tallies[1:], strict=True) if tally.visits and control.visits]
    return ExperimentView(
        arms=tuple(_arm(experiment, arm, tally) for arm, tally in zip(arms, tallies, strict=True)),
        differences=tuple(_difference(arms, arm, tally, control) for arm, tally in known),
        confidence=1 - ALPHA,
        least_visits=LEAST,
        warning=_warning(experiment, tallies),
    )


def show(view: ExperimentView, metrics: ExperimentMetrics) -> None:
    """Put the experiment's figures where Prometheus finds them."""
    for arm in view.arms:
        views = {name: getattr(arm, name) for name in FIGURES}
        known = {name: _bounds(each) for name, each in views.items() if each is not None}
        metrics.show_arm(arm.name, arm.sessions, arm.visits, known)
    for difference in view.differences:
        metrics.show_difference(difference.arm, _bounds(difference.qoe))


def _bounds(view: EstimateView) -> Bounds:
    return Bounds(view.mean, view.low, view.high)


def _arm(experiment: Experiment, arm: Arm, tally: Tally) -> ArmView:
    share = experiment.share(arm)
    found = [estimate_mean(tally.moments(place), planned=share * PLANNED) for place in range(len(FIGURES))]
    possible = [_within(each, *bounds) for each, bounds in zip(found, BOUNDS, strict=True)]
    views = {name: _view(each) if tally.visits else None for name, each in zip(FIGURES, possible, strict=True)}
    return ArmView(
        name=arm.name, controller=arm.controller, share=share, sessions=tally.sessions, visits=tally.visits, **views
    )


def _within(estimate: Estimate, low: float, high: float) -> Estimate:
    """An interval ends where a figure does."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.mean, max(low, estimate.low), min(high, estimate.high))


def _difference(arms: Sequence[Arm], arm: Arm, tally: Tally, control: Tally) -> DifferenceView:
    alpha = ALPHA / (len(arms) - 1)  # Bonferroni: with several arms, each gets its part of the chance to err
    found = [
        estimate_difference(tally.moments(place), control.moments(place), alpha=alpha) for place in range(len(FIGURES))
    ]
    views = {name: _view(each) for name, each in zip(FIGURES, found, strict=True)}
    return DifferenceView(
        arm=arm.name,
        control=arms[0].name,
        confidence=1 - ALPHA,
        is_shown=found[0].leaves_out_zero,
        verdict=_verdict(arm.name, arms[0].name, found[0]),
        **views,
    )


def _verdict(arm: str, control: str, qoe: Estimate) -> str:
    if qoe.low is None or qoe.high is None:
        return f"Too few visits to compare {arm} with {control}: each needs {LEAST}."
    if not qoe.leaves_out_zero:
        return f"No difference shown: the QoE of {arm} is {qoe.low:+.1f} to {qoe.high:+.1f} against {control}."
    low, high = sorted((abs(qoe.low), abs(qoe.high)))
    return f"{arm} is {'better' if qoe.mean > 0 else 'worse'} than {control}, by {low:.1f} to {high:.1f} QoE."


def _warning(experiment: Experiment, tallies: Sequence[Tally]) -> str:
    visits = sum(tally.visits for tally in tallies)
    for arm, tally in zip(experiment.arms, tallies, strict=True):
        if is_uneven(tally.visits, visits, experiment.share(arm)):
            return (
                f"Arm {arm.name} has {tally.visits} of {visits} visits, where chance gives it "
                f"{experiment.share(arm):.0%}: viewers of one arm go missing, so do not trust the figures."
            )
    return ""


def _view(estimate: Estimate) -> EstimateView:
    return EstimateView(mean=estimate.mean, low=estimate.low, high=estimate.high)
