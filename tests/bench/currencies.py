"""What the panel says of sessions decided by trusted quality and by VMAF: `python currencies.py PROFILE TITLE...`.

Each TITLE (a folder) was prepared with `--panel-every 1` and then trained, so that the panel has judged each segment as
each option shows it. Its sessions are simulated on one device by the same controller over the same traces, once in each
currency. A member's figure of a session is the mean over its segments as shown. Prints JSON: by title, the means over
traces, in how many sessions each currency is better, and stalls.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abr.controllers import make_controller
from abr.core.enhancement import ENHANCEMENTS_FILE, PLAIN, Currency, EnhancementTable
from abr.core.options import PriceList
from abr.core.title import TITLE_FILE, Quality, Title
from abr.errors import InputError
from abr.quality.panel import PANEL
from abr.records import load
from abr.simulation.batch_simulator import Sessions, simulate_many
from abr.simulation.benchmark_data import load_title
from abr.simulation.trace_formats import read_traces

Table = npt.NDArray[np.float64]


def panel_of(title: Title, table: EnhancementTable, prices: PriceList) -> dict[str, Table]:
    """Member → (S, O), as the options of `prices`. Raises InputError when a segment was not judged."""
    shown = [
        _quality(title, table, choice.enhancer, prices.rendition_ids[choice.rendition]) for choice in prices.choices
    ]
    figures = [quality.panel.figures if quality.panel else {} for quality in shown]
    members = set.intersection(*(set(each) for each in figures))
    found = {name: np.array([each[name] for each in figures]).T for name in members}
    if not found or any(len(each) != len(prices.duration_s) for each in found.values()):
        raise InputError(f"The panel has not judged each segment of {title.id!r}; prepare it with --panel-every 1.")
    return found


def _quality(title: Title, table: EnhancementTable, enhancer: str, rendition: str) -> Quality:
    if enhancer == PLAIN:
        return title.plain_quality[rendition]
    offer = table.entry(enhancer).offer(rendition)
    assert offer is not None
    return offer.quality


def seen(sessions: Sessions, panel: dict[str, Table]) -> dict[str, Table]:
    """Member → (M,) mean over the segments as shown; stalls in seconds beside them."""
    segments = np.arange(sessions.shown.shape[1])
    figures = {name: table[segments, sessions.shown].mean(axis=1) for name, table in panel.items()}
    return figures | {"stall_s": sessions.stall_s, "mbytes": sessions.size_bytes / 1e6}


def compare(by: dict[Currency, dict[str, Table]]) -> dict[str, dict[str, float]]:
    """Member → what both currencies come to, and in how many sessions each is better by more than the meter's noise."""
    rows = {}
    for name in ("stall_s", "mbytes"):
        rows[name] = {currency.value: float(by[currency][name].mean()) for currency in Currency}
    for member in PANEL:
        if member.name not in by[Currency.VMAF]:
            continue
        trusted, vmaf = by[Currency.TRUSTED][member.name], by[Currency.VMAF][member.name]
        gains = (trusted - vmaf) * (1 if member.higher_is_better else -1)
        rows[member.label] = {
            "trusted": float(trusted.mean()),
            "vmaf": float(vmaf.mean()),
            "trusted better in": int((gains > member.tolerance).sum()),
            "vmaf better in": int((gains < -member.tolerance).sum()),
        }
    return rows


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", type=Path)
    parser.add_argument("titles", type=Path, nargs="+")
    parser.add_argument("--traces", type=Path, nargs="+", required=True)
    parser.add_argument("--controller", default="toprung")
    given = parser.parse_args()
    traces = [trace for path in given.traces for trace in read_traces(path)]
    found: dict[str, object] = {"traces": len(traces)}
    for folder in given.titles:
        title, table = load(folder / TITLE_FILE, Title), load(folder / ENHANCEMENTS_FILE, EnhancementTable)
        by = {}
        for currency in Currency:
            prices = load_title(folder, given.profile, currency)
            sessions = simulate_many(prices, traces, make_controller(given.controller))
            by[currency] = seen(sessions, panel_of(title, table, prices))
        found[title.id] = compare(by)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
