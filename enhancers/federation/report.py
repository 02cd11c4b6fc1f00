"""Whether devices may train at all: what a round takes by tier, what binds, and when it would be viable.

The same formulas are held against speech, where the question was first asked: see `abr.federation.speech`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

import msgspec
from jinja2 import Environment

from abr.core.device import Device, DeviceProfile, EnergySource
from abr.core.enhancement import Tier
from abr.federation import speech
from abr.federation.costs import Limits, RoundCost, TrainingAbility, TrainingLoad, cost_of, judge_cost
from abr.federation.gains import SIMULATED, GainCurve
from abr.records import Record
from enhancers.federation.ability import FRAMES, SCALE, SIZE_PX
from enhancers.federation.loads import load_of

TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """gain_points: of VMAF-NEG that tuning is to bring. cohort: players of a round. year: now.

    is_measured: whether training was measured on the device, or reckoned from how it runs networks.
    """

    gain_points: float
    cohort: int
    batch: int
    steps: int
    limits: Limits
    year: int
    is_measured: bool


class ReportRow(Record, frozen=True):
    """One network. rounds: to the gain; None where it is never reached. share: of the binding limit."""

    network: str
    values: int
    memory_mb: float
    seconds: float
    joules: float
    traffic_mb: float
    rounds: int | None
    goes: bool
    binding: str
    share: float
    year: int | None


class FeasibilityReport(Record, frozen=True):
    """All of it. energy_source: of the joules. gain_limit: points that tuning never passes, by the fit."""

    device: Device
    is_measured: bool
    energy_source: EnergySource
    cohort: int
    batch: int
    steps: int
    gain_points: float
    gain_limit: float
    gain_span_rounds: float
    growth: float
    limits: dict[str, float]
    rows: tuple[ReportRow, ...]


def make_report(profile: DeviceProfile, ability: TrainingAbility, request: ReportRequest) -> FeasibilityReport:
    """Of a device whose ability is known."""
    curve = GainCurve(SIMULATED)
    limits = request.limits
    return FeasibilityReport(
        device=profile.device,
        is_measured=request.is_measured,
        energy_source=ability.source,
        cohort=request.cohort,
        batch=request.batch,
        steps=request.steps,
        gain_points=request.gain_points,
        gain_limit=round(curve.limit, 3),
        gain_span_rounds=round(curve.span, 2),
        growth=limits.growth,
        limits={
            "memory_mb": limits.memory_bytes / 1e6,
            "seconds": limits.seconds,
            "joules": limits.joules,
            "traffic_mb": limits.traffic_bytes / 1e6,
        },
        rows=tuple(_rows(ability, request, curve)),
    )


def _rows(ability: TrainingAbility, request: ReportRequest, curve: GainCurve) -> Iterator[ReportRow]:
    rounds = curve.rounds_to(request.gain_points)
    for tier in TIERS:
        load = load_of(
            SCALE, tier, batch=request.batch, steps=request.steps, frames=FRAMES, size_px=(SIZE_PX[0], SIZE_PX[1])
        )
        yield _row(load, cost_of(load, ability, request.cohort), rounds, request)
    load = speech.wav2vec_base(request.steps)
    cost = cost_of(load, ability, request.cohort)
    yield _row(load, cost, speech.rounds_of(request.cohort, request.steps), request)


def _row(load: TrainingLoad, cost: RoundCost, rounds: int | None, request: ReportRequest) -> ReportRow:
    verdict = judge_cost(cost, request.limits, request.year)
    is_reached = rounds is not None
    return ReportRow(
        network=load.name,
        values=load.values,
        memory_mb=round(cost.memory_bytes / 1e6, 1),
        seconds=round(cost.seconds, 2),
        joules=round(cost.joules, 1),
        traffic_mb=round(cost.traffic_bytes / 1e6, 3),
        rounds=rounds,
        goes=verdict.goes and is_reached,
        binding=verdict.binding if is_reached else "gain",
        share=round(verdict.share, 3),
        year=verdict.year if is_reached else None,
    )


HEADS = ("network", "numbers", "memory", "time", "energy", "bytes", "rounds", "verdict", "by", "of limit", "year")


def cells_of(report: FeasibilityReport) -> list[Sequence[str]]:
    """The table as text."""
    mark = "~" if report.energy_source.is_estimate else ""
    return [
        (
            row.network,
            f"{row.values:,}",
            f"{row.memory_mb:,.0f} MB",
            f"{row.seconds:,.1f} s",
            f"{mark}{row.joules:,.0f} J",
            f"{row.traffic_mb:,.2f} MB",
            "never" if row.rounds is None else f"{row.rounds:,}",
            "go" if row.goes else "no",
            row.binding,
            f"{row.share:.0%}" if row.share < 100 else f"{row.share:,.0f}×",
            "never" if row.year is None else str(row.year),
        )
        for row in report.rows
    ]


def notes_of(report: FeasibilityReport) -> list[str]:
    """What the figures rest on, a sentence each."""
    limits = report.limits
    seen = "measured on this machine" if report.is_measured else "reckoned from how fast it runs networks"
    energy = "an estimate from processor time and watts (~)" if report.energy_source.is_estimate else "measured"
    return [
        f"{report.device.name}, {report.device.processor}: training was {seen}; energy is {energy}"
        f" ({report.energy_source}).",
        f"One round: {report.cohort} players, {report.steps} steps of {report.batch} patches; in speech, of 6 crops.",
        f"Limits: {limits['memory_mb']:,.0f} MB, {limits['seconds']:,g} s of a core, {limits['joules']:,g} J and"
        f" {limits['traffic_mb']:,g} MB a round.",
        f"Rounds: to {report.gain_points:g} points of VMAF-NEG, by a simulated federation of tier low that would not"
        f" pass {report.gain_limit:g}; other tiers are taken to learn as quickly. Speech: the published updates.",
        f"Year: when what binds fits its limit, if devices grow by {report.growth:.0%} a year in all of them."
        f" For speech arXiv 2204.02804 expected {speech.PAPER_YEAR}.",
    ]


def as_text(report: FeasibilityReport) -> str:
    """A line a network, and the notes."""
    lines = [HEADS, *cells_of(report)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS))]
    shown = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    return "\n".join([*shown, "", *notes_of(report)])


def as_html(report: FeasibilityReport) -> str:
    """One page that needs nothing else."""
    template = files("enhancers.federation").joinpath("report.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True).from_string(template)
    return page.render(
        heads=HEADS,
        rows=list(zip(cells_of(report), (row.goes for row in report.rows), strict=True)),
        notes=notes_of(report),
        report=msgspec.to_builtins(report),
    )
