"""How far forecasts of a live stream's segment sizes err, by how they are made.

    python tests/bench/live_forecast.py FILM... [--json OUT]

Each film is encoded by `toprung live` as fast as it goes. From the eighth segment on, every later segment within reach
is forecast from those before. An error is the sum of |forecast − size| over that of the sizes, the mean of all rungs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from abr.core.arrays import Floats
from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.records import dumps_pretty, load
from server.live_titles.forecast import forecast_sizes

AHEAD = (1, 2, 4, 8)
FIRST = 8
HEIGHTS = "180,270,360,540,720"
Forecast = Callable[[Floats], Floats]


def fading(half_life: float) -> Forecast:
    """A mean that forgets by half in so many segments."""

    def forecast(sizes: Floats) -> Floats:
        kept = np.exp2(-np.arange(len(sizes) - 1, -1.0, -1.0) / half_life)
        mean: Floats = kept @ sizes / kept.sum()
        return mean

    return forecast


def mean_of(segments: int) -> Forecast:
    """A mean of the last segments."""
    return lambda sizes: np.asarray(sizes[-segments:].mean(axis=0))


WAYS: Mapping[str, Forecast] = {
    "what is used": forecast_sizes,
    "the last segment again": mean_of(1),
    "mean of 4": mean_of(4),
    "mean of 8": mean_of(8),
    "half-life 1": fading(1),
    "half-life 2": fading(2),
    "half-life 8": fading(8),
    "mean of all so far": mean_of(1 << 20),
}


def sizes_of(film: Path) -> Floats:
    """(S, R) bytes of the film's segments, lowest rung first."""
    with tempfile.TemporaryDirectory() as library:
        command = [sys.executable, "-m", "abr", "live", str(film), "--library", library, "--name", "film"]
        more = ["--window", "1h", "--heights", HEIGHTS, "--measure-share", "0"]
        subprocess.run([*command, *more], check=True, capture_output=True)
        tables = load(Path(library) / "film" / TABLES_FILE, LiveTables)
    rungs = [tables.sizes[rendition.id] for rendition in tables.typical.renditions]
    return np.array(rungs, dtype=np.float64).T[:-1]  # the last segment may be short


def error(sizes: Floats, way: Forecast, ahead: int) -> float:
    """Share of the bytes."""
    now = range(FIRST - 1, len(sizes) - ahead)
    forecast, found = np.array([way(sizes[: each + 1]) for each in now]), sizes[FIRST - 1 + ahead :]
    return float((np.abs(forecast - found).sum(axis=0) / found.sum(axis=0)).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {}
    for film in arguments.films:
        sizes = sizes_of(film)
        found[film.stem] = {name: [round(error(sizes, way, n), 4) for n in AHEAD] for name, way in WAYS.items()}
        print(film.stem, len(sizes), "segments")
        for name, errors in found[film.stem].items():
            print("  ", name.ljust(24), *(f"{100 * each:6.1f} %" for each in errors))
    if arguments.json:
        arguments.json.write_bytes(dumps_pretty(found))


if __name__ == "__main__":
    main()
