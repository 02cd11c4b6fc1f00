"""`toprung bench plan-qoe`: what frame plans add to sessions in the simulator, for devices of several speeds.

Each device is the profile's, so many times as fast. Its sessions are simulated twice over the same traces, with the
title's frame plans on the menu and without, by the rules of `toprung bench abr`.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from abr.controllers import make_controller
from abr.core.arrays import Floats, Indices
from abr.core.device import DeviceProfile
from abr.core.enhancement import ENHANCEMENTS_FILE, PLAIN, EnhancementTable
from abr.core.options import PriceList
from abr.core.pricing import price
from abr.core.title import TITLE_FILE, Title
from abr.errors import InputError
from abr.evaluation.benchmark import Benchmark, ControllerResult, interval, run, track_quietly
from abr.evaluation.controller_failures import ControllerFailures, quiet_guard, raise_for_failures
from abr.finite_range import FiniteRange
from abr.records import dumps_pretty, load
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace

SPEEDS = (0.3, 0.6, 1.0)
CONTROLLERS = ("toprung", "bones")
_SET = "traces"


class MenuFigures(msgspec.Struct, frozen=True):
    """Sessions with one menu. decision_ms, decision_ms_p99: of decisions for one session at a time, processor time.

    planned_share: of all segments, those shown by a frame plan.
    """

    options: int
    qoe: float
    quality: float
    stall_s: float
    enhanced_share: float
    planned_share: float
    decision_ms: float
    decision_ms_p99: float


class PlanGain(msgspec.Struct, frozen=True):
    """A device and a controller, without plans and with them. qoe_added: mean over traces, with its 95 % interval."""

    speed: float
    controller: str
    tiers: MenuFigures
    plans: MenuFigures
    qoe_added: float
    qoe_added_95: tuple[float, float]


def scale_speed(profile: DeviceProfile, speed: float) -> DeviceProfile:
    """The same device, `speed` times as fast."""
    measurements = tuple(
        msgspec.structs.replace(each, p50_ms=each.p50_ms / speed, p95_ms=each.p95_ms / speed)
        for each in profile.measurements
    )
    return msgspec.structs.replace(profile, measurements=measurements)


def lengthen(prices: PriceList, times: int) -> PriceList:
    """The same title, so many times over."""

    def again(rows: Floats) -> Floats:
        return np.tile(rows, (times, 1))

    return replace(
        prices,
        duration_s=np.tile(prices.duration_s, times),
        size_bytes=again(prices.size_bytes),
        compute_s=again(prices.compute_s),
        lead_s=again(prices.lead_s),
        quality=again(prices.quality),
        vmaf=again(prices.vmaf),
    )


def measure_plan_gains(
    title: Title,
    table: EnhancementTable,
    profile: DeviceProfile,
    traces: Sequence[Trace],
    *,
    speeds: Sequence[float] = SPEEDS,
    controllers: Sequence[str] = CONTROLLERS,
    times: int = 1,
) -> tuple[list[PlanGain], dict[str, ControllerFailures]]:
    """What plans add for each speed and controller, and how often controllers failed.

    times: the title is played so many times over in one session, as a longer one whose weights are fetched once.
    Raises InputError for a title without plans.
    """
    if not table.plans:
        raise InputError(f"{title.id} has no frame plans: make them with toprung train.")
    without, planned = msgspec.structs.replace(table, plans=()), {plan.name for plan in table.plans}
    gains: list[PlanGain] = []
    failures: dict[str, ControllerFailures] = {}
    for speed, name in track_quietly([(speed, name) for speed in speeds for name in controllers], "devices"):
        device = scale_speed(profile, speed)
        menus = [lengthen(price(title, each, device), times) for each in (without, table)]
        tiers, plans = (_simulate(menu, traces, name, planned) for menu in menus)
        added = np.subtract(plans[1].qoe(_SET), tiers[1].qoe(_SET))
        gain = PlanGain(
            speed=speed,
            controller=name,
            tiers=tiers[0],
            plans=plans[0],
            qoe_added=float(added.mean()),
            qoe_added_95=interval(added.tolist()),
        )
        gains.append(gain)
        failures |= {f"{name} at {speed:g}": plans[1].failures}
    return gains, failures


def _simulate(
    prices: PriceList, traces: Sequence[Trace], name: str, planned: Collection[str]
) -> tuple[MenuFigures, ControllerResult]:
    controller = make_controller(name)
    result = run(Benchmark(profile="", prices=prices, sets={_SET: list(traces)}), controller)
    with quiet_guard():
        shown = simulate_many(prices, traces, controller, start_lowest=True).shown
    alone_ms = 1e3 * np.asarray(result.alone_s)
    figures = MenuFigures(
        options=len(prices.choices),
        qoe=result.mean_qoe(_SET),
        quality=float(np.mean([each.quality for each in result.sets[_SET]])),
        stall_s=float(np.mean([each.stall_s for each in result.sets[_SET]])),
        enhanced_share=_share(prices, shown, {choice.enhancer for choice in prices.choices} - {PLAIN}),
        planned_share=_share(prices, shown, planned),
        decision_ms=float(alone_ms.mean()),
        decision_ms_p99=float(np.percentile(alone_ms, 99)),
    )
    return figures, result


def _share(prices: PriceList, shown: Indices, names: Collection[str]) -> float:
    """Of all segments, those that were lifted by one of these."""
    return float(np.array([choice.enhancer in names for choice in prices.choices])[shown].mean())


def _numbers(text: str) -> Iterator[float]:
    for part in text.split(","):
        try:
            speed = float(part)
        except ValueError:
            speed = 0.0
        if not 0 < speed <= 1000:
            raise InputError(f"{part!r} is no speed: give numbers above 0, at most 1000, such as 0.3,0.6,1.")
        yield speed


@click.command(context_settings={"show_default": True})
@click.argument("title", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--traces",
    "trace_paths",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Traces.",
)
@click.option(
    "--profile", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Device profile."
)
@click.option("--speeds", default=",".join(f"{speed:g}" for speed in SPEEDS), help="Times as fast as the profile.")
@click.option("--controllers", default=",".join(CONTROLLERS), help="Comma-separated names.")
@click.option("--times", type=click.IntRange(1, 1000), default=1, help="The title, so many times over in one session.")
@click.option("--scale", type=FiniteRange(0.001, 1000), default=1.0, help="Traces' throughput is multiplied by this.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_plan_qoe(
    title: Path,
    trace_paths: tuple[Path, ...],
    profile: Path,
    speeds: str,
    controllers: str,
    times: int,
    scale: float,
    as_json: bool,
) -> None:
    """What the frame plans of a title add to sessions in the simulator, for devices of several speeds.

    TITLE is a title folder.
    """
    gains, failures = measure_plan_gains(
        load(title / TITLE_FILE, Title),
        load(title / ENHANCEMENTS_FILE, EnhancementTable),
        load(profile, DeviceProfile),
        [trace.scaled(scale, trace.name) for path in trace_paths for trace in read_traces(path)],
        speeds=list(_numbers(speeds)),
        controllers=controllers.split(","),
        times=times,
    )
    if as_json:
        sys.stdout.write(dumps_pretty(gains).decode())
    else:
        _show(gains)
    raise_for_failures(failures)


def _show(gains: Sequence[PlanGain]) -> None:
    table = Table(
        "speed", "controller", "options", "QoE", "added", "lifted", "by plans", "stall s", "decision ms", "p99"
    )
    for gain in gains:
        low, high = gain.qoe_added_95
        pairs = [
            f"{gain.tiers.options} → {gain.plans.options}",
            f"{gain.tiers.qoe:.2f} → {gain.plans.qoe:.2f}",
            f"{gain.qoe_added:+.2f} [{low:.2f}, {high:.2f}]",
            f"{gain.tiers.enhanced_share:.0%} → {gain.plans.enhanced_share:.0%}",
            f"{gain.plans.planned_share:.0%}",
            f"{gain.tiers.stall_s:.2f} → {gain.plans.stall_s:.2f}",
            f"{gain.tiers.decision_ms:.3f} → {gain.plans.decision_ms:.3f}",
            f"{gain.tiers.decision_ms_p99:.3f} → {gain.plans.decision_ms_p99:.3f}",
        ]
        table.add_row(f"{gain.speed:g}", gain.controller, *pairs)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
