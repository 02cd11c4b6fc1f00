"""Your own network trace: a train that passes through two tunnels.

A trace says how fast the network is, span by span, and how long a request waits for its first byte. The simplest format
is CSV, a line for each span; Sabre's JSON, Pensieve's columns and Mahimahi's packets are read as well. Write it, then
use it wherever a command takes a trace:

    python examples/own_trace.py train.csv
    toprung simulate titles/film --trace train.csv
    toprung play http://localhost:8080 --title film --trace train.csv
    toprung emulate --trace train.csv --upstream http://localhost:8080
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

RIDE = (
    (20, 3000, 60),
    (4, 400, 180),  # the signal fades
    (6, 0, 180),  # a tunnel: nothing comes through
    (25, 2200, 70),
    (8, 150, 250),  # a longer tunnel with a weak repeater
    (17, 2600, 60),
)
"""Seconds, kbit/s and milliseconds of latency of each span. A trace that ends begins again."""


def write_trace(path: Path) -> None:
    """Write the ride as CSV, with the header by which Toprung knows the format."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["duration_ms", "bandwidth_kbps", "latency_ms"])
        rows.writerows((1000 * seconds, kbps, latency_ms) for seconds, kbps, latency_ms in RIDE)


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "train.csv")
    write_trace(path)
    length_s = sum(seconds for seconds, _, _ in RIDE)
    mean_kbps = sum(seconds * kbps for seconds, kbps, _ in RIDE) / length_s
    print(f"{path}: {length_s} s, {mean_kbps:.0f} kbit/s on average")
