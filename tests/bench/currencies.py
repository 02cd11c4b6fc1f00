"""What the panel says of sessions decided by trusted quality and by VMAF: `python currencies.py PROFILE TITLE...`.

Each TITLE (a folder) was prepared and trained, so that the panel has judged segments of it as each option shows them:
all of them with `--panel-every 1`. Its sessions are simulated on one device by the same controller over the same
traces, once in each currency. A member's figure of a session is the mean over the judged segments as shown. Prints
JSON: by title, the means over traces, in how many sessions each currency is better, and stalls.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

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


class Judged(NamedTuple):
    """What the panel says of a title's options. segments: (J,) those judged. figures: member → (J, O)."""

    segments: npt.NDArray[np.intp]
    figures: dict[str, Table]


def judge(title: Title, table: EnhancementTable, prices: PriceList) -> Judged:
    """Raises InputError when not all options were judged in the same segments."""
    shown = [
        _quality(title, table, choice.enhancer, prices.rendition_ids[choice.rendition]) for choice in prices.choices
    ]
    panels = [quality.panel for quality in shown if quality.panel is not None]
    segments = {panel.segment for panel in panels}
    if len(panels) < len(shown) or len(segments) != 1:
        raise InputError(f"The panel has not judged the same segments of each option of {title.id!r}.")
    members = set.intersection(*(set(panel.figures) for panel in panels))
    figures = {name: np.array([panel.figures[name] for panel in panels]).T for name in members}
    return Judged(np.array(segments.pop()), figures)


def _quality(title: Title, table: EnhancementTable, enhancer: str, rendition: str) -> Quality:
    if enhancer == PLAIN:
        return title.plain_quality[rendition]
    offer = table.entry(enhancer).offer(rendition)
    assert offer is not None
    return offer.quality


def seen(sessions: Sessions, judged: Judged) -> dict[str, Table]:
    """Member → (M,) mean over the judged segments as shown; stalls in seconds and megabytes beside them."""
    rows, shown = np.arange(len(judged.segments)), sessions.shown[:, judged.segments]
    figures = {name: table[rows, shown].mean(axis=1) for name, table in judged.figures.items()}
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
            by[currency] = seen(sessions, judge(title, table, prices))
        found[title.id] = compare(by)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
