"""What codecs and enhancers buy together: `python tests/bench/codec_rates.py BASE OTHER...`.

Each a file that `toprung bench enhance CLIP --codec … --json` printed, all of the same clip. Prints BD-rates in
percent, minus is better: of each plain and each lifted ladder against the plain ladder of BASE, and of each lifted one
against its own plain ladder. Bytes of weights are spread over ten minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from abr.quality.bdrate import Point, bd_rate
from enhancers.bench.enhance import PANEL_MEAN
from enhancers.measurement.ladder_planner import TITLE_S

METRICS = ("trusted", "vmaf", "vmaf_neg", *PANEL_MEAN)


def curve(rungs: list[Mapping[str, Any]], metric: str, *, lifted: bool) -> list[Point]:
    """Kilobits a second and quality of each rung; lifted: by the enhancer that trusted quality likes best."""
    return [point(rung, metric, lifted=lifted) for rung in rungs]


def point(rung: Mapping[str, Any], metric: str, *, lifted: bool) -> Point:
    """Of one rung."""
    if not lifted or not rung["enhancers"]:
        return rung["kbps"], rung["plain"][metric]
    best = max(rung["enhancers"].values(), key=lambda each: each["trusted"])
    return rung["kbps"] + best["weights_bytes"] * 8 / TITLE_S / 1000, best[metric]


def main() -> None:
    """Prints the table."""
    found = {Path(name).stem: json.loads(Path(name).read_text())["rungs"] for name in sys.argv[1:]}
    base = next(iter(found.values()))
    for name, rungs in found.items():
        rows = {
            f"{name} plain": (base, False),
            f"{name} lifted": (base, True),
            f"{name} lifted against itself plain": (rungs, True),
        }
        for row, (against, lifted) in rows.items():
            rates = {
                metric: bd_rate(curve(against, metric, lifted=False), curve(rungs, metric, lifted=lifted))
                for metric in METRICS
            }
            rates["panel mean"] = fmean(rates[metric] for metric in PANEL_MEAN)
            print(f"{row:<45}", "  ".join(f"{metric} {rate:+.1f}" for metric, rate in rates.items()))


if __name__ == "__main__":
    main()
