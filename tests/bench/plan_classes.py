"""What it costs in QoE that devices share plans, and that plans are compact: `python plan_classes.py ABR TRACES`.

ABR: the benchmark's folder, as of `toprung bench abr`. TRACES: a folder with fcc_cooked, nyc_lte and norway_3g. Random
devices play the benchmark's title on all traces, decided by exact values and by plans. Half of the devices are as fast
as each other but for noise, half have a speed of its own for each enhancer; half enhance whole segments, half go frame
by frame. Prints JSON: for each way the mean difference to exact values, that of the worst device, and of each set.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from abr.controllers.toprung import device_classes
from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.plan_library import PlanLibrary
from abr.core.enhancement import PLAIN
from abr.core.options import PriceList
from abr.evaluation.benchmark import read_sets
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.benchmark_data import load_benchmark
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace

BASES = ("imdn_bbb_3060ti", "imdn_div2k_2080ti", "nas_1080ti")
MORE_SETS = ("fcc_cooked", "nyc_lte", "norway_3g")
TRACES_EACH = 40
SEED = 15
LOAD_MAX = 0.9


def devices(folder: Path, count: int) -> Iterator[PriceList]:
    """The title as priced for random devices."""
    chance = np.random.default_rng(SEED)
    bases = [load_benchmark(folder, name) for name in BASES]
    for number in range(count):
        prices, kind = bases[number % len(bases)], number % 4
        options = len(prices.choices)
        if kind < 2:
            times = np.exp(chance.uniform(np.log(0.15), np.log(4))) * np.exp(chance.normal(0, 0.25, options))
        else:
            times = np.exp(chance.uniform(np.log(0.1), np.log(5), options))
        compute_s, duration_s = prices.compute_s * times, prices.duration_s[:, None]
        by_frame = kind in (1, 2)
        lead_s = np.maximum(compute_s - duration_s, 0.0) if by_frame else compute_s
        offered = (compute_s[0] <= LOAD_MAX * duration_s[0]) | (not by_frame)
        yield only(replace(prices, compute_s=compute_s, lead_s=lead_s), np.flatnonzero(offered & worth_it(prices)))


def worth_it(prices: PriceList) -> np.ndarray:
    """Options that are plain or better than plain playback of their rendition."""
    plain = {choice.rendition: i for i, choice in enumerate(prices.choices) if choice.enhancer == PLAIN}
    gains = [np.nansum(prices.vmaf[:, i] - prices.vmaf[:, plain[c.rendition]]) for i, c in enumerate(prices.choices)]
    return np.array([c.enhancer == PLAIN for c in prices.choices]) | (np.array(gains) > 0)


def only(prices: PriceList, options: np.ndarray) -> PriceList:
    """The list cut down to some options."""
    columns = {
        name: getattr(prices, name)[:, options] for name in ("size_bytes", "compute_s", "lead_s", "quality", "vmaf")
    }
    weights = ((),) * len(options)
    return replace(prices, choices=tuple(prices.choices[i] for i in options), weights=weights, **columns)


def qoe(prices: PriceList, sets: dict[str, list[Trace]], controller: Toprung) -> list[float]:
    """Mean of each set."""
    every = [trace for traces in sets.values() for trace in traces]
    found = iter([each.qoe for each in simulate_many(prices, every, controller, start_lowest=True).experiences])
    return [float(np.mean([next(found) for _ in traces])) for traces in sets.values()]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("abr", type=Path)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--every", type=int, default=1, help="leave out all devices but each so manieth")
    parser.add_argument("--steps", type=float, nargs="*", default=[device_classes.COST_STEP])
    given = parser.parse_args()
    sets = read_sets(given.abr)
    sets |= {f"{name} (traces)": read_traces(given.traces / name)[:TRACES_EACH] for name in MORE_SETS}
    every = list(devices(given.abr, given.devices))[:: given.every]
    exact = np.array([qoe(prices, sets, Toprung()) for prices in every])
    shared = PlanLibrary(1 << 30)
    ways: dict[str, tuple[float, Callable[[], PlanLibrary]]] = {
        f"own class, steps of {step:g}": (step, PlanLibrary) for step in given.steps
    }
    ways["plans shared by all"] = (device_classes.COST_STEP, lambda: shared)
    report: dict[str, object] = {"devices": len(every), "sets": {name: len(traces) for name, traces in sets.items()}}
    for name, (step, library) in ways.items():
        device_classes.COST_STEP = step
        loss = np.array([qoe(prices, sets, Toprung(plans=library())) for prices in every]) - exact
        by_device = loss.mean(axis=1)
        report[name] = {
            "mean": float(by_device.mean()),
            "worst": float(by_device.min()),
            "sets": loss.mean(axis=0).round(3).tolist(),
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
