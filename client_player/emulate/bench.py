"""`toprung bench emulator`: what comes out of the emulator, timed by a process of its own, against the trace."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import urlsplit

import click
import numpy as np

from abr.core.arrays import Floats
from abr.finite_range import FiniteRange
from abr.records import Record
from abr.simulation.traces import Trace, constant, make
from client_player.emulate.proxy import emulating

LATENCY_S = 0.04
PINGS = 20
STEPS = make("steps 2-8-4-16", [(1.5, 2e6, LATENCY_S), (1.5, 8e6, LATENCY_S), (1.5, 4e6, LATENCY_S), (1.5, 16e6, 0.1)])
CASES = (
    constant(0.5e6, LATENCY_S, "0.5 Mbit/s"),
    constant(5e6, LATENCY_S, "5 Mbit/s"),
    constant(50e6, LATENCY_S, "50 Mbit/s"),
    STEPS,
)
TENTHS_FROM_BPS = 2e6
"""Below this rate a tenth of a second holds fewer than 17 packets, and is not judged."""


class Accuracy(Record, frozen=True):
    """The largest relative errors against the trace (0.01 is 1 %), and of the added latency in ms."""

    trace: str
    seconds: float
    bytes_expected: int
    total: float
    worst_second: float
    worst_tenth: float | None
    """None below 2 Mbit/s."""
    latency_ms: float
    """Median from a request to its first byte."""
    latency_added_error_ms: float
    """That, less the trace's latency and less the same without an emulator."""


class Arrivals(NamedTuple):
    """When bytes came out, and how many had come until then (both (N,)); seconds of the machine's monotonic clock."""

    time_s: Floats
    total_bytes: Floats
    pings_s: tuple[float, ...]
    """From a small request to its first byte, several times."""


def judge(trace: Trace, epoch_s: float, seconds: float, arrivals: Arrivals, bare_s: float) -> Accuracy:
    """Hold arrivals, beginning with the first, against a trace whose instant 0 was at `epoch_s`."""
    begin_s = float(arrivals.time_s[0]) - epoch_s
    end_s = begin_s + seconds
    tenths = _relative_errors(trace, epoch_s, begin_s, end_s, 0.1, arrivals)
    judged = float(trace.throughput_bps.min()) >= TENTHS_FROM_BPS
    came = _bytes_until(arrivals, epoch_s + end_s) - _bytes_until(arrivals, epoch_s + begin_s)
    expected = trace.bytes_between(begin_s, end_s)
    latency_s = float(np.median(arrivals.pings_s))
    return Accuracy(
        trace=trace.name,
        seconds=seconds,
        bytes_expected=round(expected),
        total=round(abs(came - expected) / expected, 6),
        worst_second=round(float(_relative_errors(trace, epoch_s, begin_s, end_s, 1.0, arrivals).max()), 6),
        worst_tenth=round(float(tenths.max()), 6) if judged else None,
        latency_ms=round(latency_s * 1e3, 2),
        latency_added_error_ms=round((latency_s - trace.latency_at(0.0) - bare_s) * 1e3, 2),
    )


def _relative_errors(
    trace: Trace, epoch_s: float, begin_s: float, end_s: float, width_s: float, arrivals: Arrivals
) -> Floats:
    """Relative error of each whole window of `width_s`."""
    edges_s = np.arange(begin_s, end_s + 1e-9, width_s)
    came = np.diff([_bytes_until(arrivals, epoch_s + edge_s) for edge_s in edges_s])
    expected = np.array([trace.bytes_between(a, b) for a, b in pairwise(edges_s.tolist())])
    return np.asarray(np.abs(came - expected) / expected)


def _bytes_until(arrivals: Arrivals, time_s: float) -> float:
    index = int(np.searchsorted(arrivals.time_s, time_s, side="right"))
    return float(arrivals.total_bytes[index - 1]) if index else 0.0


async def measure(trace: Trace, seconds: float) -> Accuracy:
    """Run the emulator here, and the one who reads from it in a process of its own."""
    server = await asyncio.start_server(_serve_endless, "127.0.0.1", 0)
    async with server:
        upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        bare = await _run_watcher(upstream, 0.2)
        async with emulating(trace, upstream) as emulated:
            arrivals = await _run_watcher(emulated.url, seconds + 0.3)
            epoch_s = emulated.emulator.epoch_s
    return judge(trace, epoch_s, seconds, arrivals, float(np.median(bare.pings_s)))


async def _serve_endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """For each byte asked, one back; after an `E`, bytes without end."""
    try:
        while request := await reader.read(1):
            writer.write(request)
            while request == b"E":
                writer.write(bytes(16 << 10))
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _run_watcher(url: str, seconds: float) -> Arrivals:
    command = (sys.executable, "-m", "client_player.emulate.bench", url, str(seconds))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    times_s, totals, pings_s = json.loads(output)
    return Arrivals(np.array(times_s), np.array(totals, dtype=np.float64), tuple(pings_s))


def watch(url: str, seconds: float) -> tuple[list[float], list[int], list[float]]:
    """Ask for endless bytes and note when they come: times, totals. Before it, small requests and their times."""
    times_s: list[float] = []
    totals: list[int] = []
    pings_s: list[float] = []
    target = urlsplit(url)
    with socket.create_connection((target.hostname, target.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PINGS):
            asked_s = time.monotonic()
            connection.sendall(b"p")
            connection.recv(1)
            pings_s.append(time.monotonic() - asked_s)
        connection.sendall(b"E")
        total = 0
        while not times_s or times_s[-1] - times_s[0] < seconds:
            total += len(connection.recv(1 << 20))
            times_s.append(time.monotonic())
            totals.append(total)
    return times_s, totals, pings_s


@click.command(name="emulator", context_settings={"show_default": True})
@click.option("--seconds", type=FiniteRange(1.0), default=12.0, help="Length of each run.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench_emulator(seconds: float, as_json: bool) -> None:
    """Emulate constant and stepping links; measure totals, every second, every 100 ms and latency against the trace."""
    results = [asyncio.run(measure(trace, seconds)) for trace in CASES]
    if as_json:
        from abr.records import dumps

        click.echo(dumps(results).decode())
        return
    _show(results)


def _show(results: Sequence[Accuracy]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("trace", "total", "worst second", "worst 100 ms", "latency", "its error")
    for result in results:
        tenth = "not judged" if result.worst_tenth is None else f"{result.worst_tenth:.2%}"
        table.add_row(
            result.trace,
            f"{result.total:.3%}",
            f"{result.worst_second:.3%}",
            tenth,
            f"{result.latency_ms:.1f} ms",
            f"{result.latency_added_error_ms:+.1f} ms",
        )
    Console().print(table)


if __name__ == "__main__":
    click.echo(json.dumps(watch(sys.argv[1], float(sys.argv[2]))))
