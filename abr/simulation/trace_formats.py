"""The formats of network traces, each as a `loads`/`dumps` pair; `loads` recognises them by their content.

sabre      JSON list of {"duration_ms", "bandwidth_kbps", "latency_ms"} (UMass-LIDS/sabre)
pensieve   two columns, seconds and Mbit/s; a row's throughput holds since the row before, and the first row only
           says when time begins (hongzimao/pensieve, sim/fixed_env.py); a first line may name other units, as in
           `time_ms kbps`
mahimahi   one line for each 1500-byte packet let through: the millisecond at which it may pass (mahimahi, mm-link)
csv        header `duration_ms,bandwidth_kbps,latency_ms`, then a row for each span
per-second `value,unit` for each second, unit one of bits/sec, Kbits/sec, Mbits/sec, Gbits/sec (NYU-METS); read only
many       JSON object: name → list of [duration_ms, bandwidth_kbps, latency_ms]; read only
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from abr.errors import FormatError, InputError, StorageError
from abr.simulation.trace_columns import Units, doubtful_units, header_units, split_columns
from abr.simulation.traces import DURATION_MAX_S, FILE_MAX_BYTES, LATENCY_MAX_S, THROUGHPUT_MAX_BPS, Trace, make

log = logging.getLogger(__name__)

LATENCY_S = 0.08
"""Latency where a format has none: the round trip of Pensieve's simulator (LINK_RTT)."""
PACKET_BYTES = 1500
BIN_MS = 100
"""Mahimahi packets are counted in bins of this width."""
CSV_HEADER = "duration_ms,bandwidth_kbps,latency_ms"
_UNITS = {"bits/sec": 1.0, "kbits/sec": 1e3, "mbits/sec": 1e6, "gbits/sec": 1e9}

Span = tuple[float, float, float]
T = TypeVar("T")


class SabreSpan(msgspec.Struct, frozen=True):
    """One entry of a Sabre trace."""

    duration_ms: float
    bandwidth_kbps: float
    latency_ms: float = LATENCY_S * 1000


def loads(text: str, name: str, warn: Callable[[str], None] = log.warning) -> list[Trace]:
    """The traces in `text`, whatever its format. Raises FormatError naming `name` and the line.

    warn: told of columns whose units look wrong.
    """
    head = next((line for _, line in _lines(text)), "")[:200]
    if not head:
        raise FormatError(f"Trace {name!r} is empty.")
    if head.startswith("{"):
        return loads_many(text, name)
    reader = _reader(head)
    trace = reader(text, name)
    if reader is loads_pensieve and (doubt := doubtful_units(trace)):
        warn(doubt)
    return [trace]


def _reader(first: str) -> Callable[[str, str], Trace]:
    if first.startswith("["):
        return loads_sabre
    if re.fullmatch(r"[\d.eE+-]+\s*,\s*\w*bits/sec", first):
        return loads_per_second
    cells = len(split_columns(first))
    if "," in first and cells != 2:
        return loads_csv
    return loads_mahimahi if cells == 1 else loads_pensieve


def loads_sabre(text: str, name: str) -> Trace:
    """Read a Sabre JSON trace."""
    spans = _json(text, name, list[SabreSpan])
    return _trace(name, "entry", enumerate(((s.duration_ms, s.bandwidth_kbps, s.latency_ms) for s in spans), start=1))


def dumps_sabre(trace: Trace) -> str:
    """The inverse of `loads_sabre`."""
    entries = (msgspec.json.encode(SabreSpan(*row)).decode() for row in _rows(trace))
    return "[\n" + ",\n".join(f"  {entry}" for entry in entries) + "\n]\n"


def loads_many(text: str, name: str) -> list[Trace]:
    """Read a JSON object of traces, in its order."""
    return [
        _trace(key, "entry", enumerate(spans, start=1))
        for key, spans in _json(text, name, dict[str, list[tuple[float, float, float]]]).items()
    ]


def loads_csv(text: str, name: str) -> Trace:
    """Read a CSV trace."""
    lines = _lines(text)
    number, header = next(lines)
    if header.replace(" ", "").lower() != CSV_HEADER:
        raise FormatError(f"Trace {name!r}, line {number}: expected the header {CSV_HEADER!r}, got {header[:60]!r}.")
    rows = ((number, _numbers(name, number, line.split(","), 3)) for number, line in lines)
    return _trace(name, "line", ((number, (a, b, c)) for number, (a, b, c) in rows))


def dumps_csv(trace: Trace) -> str:
    """The inverse of `loads_csv`."""
    return "\n".join([CSV_HEADER, *(",".join(map(_number, row)) for row in _rows(trace))]) + "\n"


def loads_per_second(text: str, name: str) -> Trace:
    """Read a `value,unit` a second trace."""
    return _trace(name, "line", ((number, _second(name, number, line)) for number, line in _lines(text)))


def loads_pensieve(text: str, name: str) -> Trace:
    """Read a Pensieve trace, with or without a header that names its units. Latency is `LATENCY_S`."""
    return _trace(name, "line", _pensieve_spans(text, name))


def dumps_pensieve(trace: Trace) -> str:
    """The inverse of `loads_pensieve`, latency aside."""
    ends_s = np.round(np.cumsum(trace.duration_s), 6).tolist()
    mbps = (trace.throughput_bps / 1e6).tolist()
    return "".join(f"{_number(t)}\t{_number(v)}\n" for t, v in zip([0.0, *ends_s], [mbps[0], *mbps], strict=True))


def loads_mahimahi(text: str, name: str) -> Trace:
    """Read a Mahimahi trace into bins of `BIN_MS`. Latency is `LATENCY_S`."""
    packets: list[int] = []
    for number, line in _lines(text):
        if not line.isascii() or not line.isdigit() or int(line) > DURATION_MAX_S * 1000:
            raise FormatError(
                f"Trace {name!r}, line {number}: expected a time in whole milliseconds, got {line[:40]!r}."
            )
        if packets and int(line) < packets[-1]:
            raise FormatError(f"Trace {name!r}, line {number}: time runs backwards, {line} after {packets[-1]}.")
        packets.append(int(line))
    length_ms = max(packets[-1], 1)
    edges = np.append(np.arange(0, length_ms, BIN_MS), length_ms)
    counts = np.histogram(np.maximum(packets, 1), bins=edges + 0.5)[0]
    widths_ms = np.diff(edges)
    kbps = counts * PACKET_BYTES * 8 / widths_ms
    spans = zip(widths_ms.tolist(), kbps.tolist(), [LATENCY_S * 1000] * len(kbps), strict=True)
    return _trace(name, "bin", enumerate(spans, start=1))


def dumps_mahimahi(trace: Trace) -> str:
    """The nearest Mahimahi trace: whole milliseconds and packets, latency left out."""
    edges_s = np.append(np.arange(0, trace.length_s, 0.001), trace.length_s)
    ends_s = np.concatenate([[0.0], np.cumsum(trace.duration_s)])
    sent = np.concatenate([[0.0], np.cumsum(trace.duration_s * trace.throughput_bps / 8)])
    packets = np.floor(np.interp(edges_s, ends_s, sent) / PACKET_BYTES + 1e-6).astype(np.int64)
    times_ms = np.repeat(np.arange(1, len(packets)), np.diff(packets))
    if len(times_ms) == 0:
        raise FormatError(f"Trace {trace.name!r} lets less than one packet through; Mahimahi cannot say that.")
    return "".join(f"{time_ms}\n" for time_ms in times_ms)


DUMPS: dict[str, Callable[[Trace], str]] = {
    "sabre": dumps_sabre,
    "pensieve": dumps_pensieve,
    "mahimahi": dumps_mahimahi,
    "csv": dumps_csv,
}


def _rows(trace: Trace) -> Iterator[Span]:
    columns = (column.tolist() for column in (trace.duration_s, trace.throughput_bps, trace.latency_s))
    for duration_s, bps, latency_s in zip(*columns, strict=True):
        yield round(duration_s * 1e3, 6), round(bps / 1e3, 6), round(latency_s * 1e3, 6)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; empty ones and comments left out."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return ((number, line) for number, line in lines if line and not line.startswith("#"))


def _numbers(name: str, number: int, words: list[str], count: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise FormatError(f"Trace {name!r}, line {number}: expected {count} numbers, got {' '.join(words)[:60]!r}.")
    return values


def _second(name: str, number: int, line: str) -> Span:
    value, _, unit = line.partition(",")
    factor = _UNITS.get(unit.strip().lower())
    if factor is None:
        raise FormatError(f"Trace {name!r}, line {number}: unknown unit {unit[:20]!r}; expected {', '.join(_UNITS)}.")
    return 1000.0, _numbers(name, number, [value], 1)[0] * factor / 1000, LATENCY_S * 1000


def _pensieve_spans(text: str, name: str) -> Iterator[tuple[int, Span]]:
    before_s: float | None = None
    units: Units | None = None
    for number, line in _lines(text):
        if units is None:
            named = header_units(line)
            units = named or Units()
            if named:
                continue
        time, rate = _numbers(name, number, split_columns(line), 2)
        time_s, mbps = time * units.time_s, rate * units.rate_mbps
        if before_s is not None:
            if time_s <= before_s:
                raise FormatError(f"Trace {name!r}, line {number}: time must grow, got {time_s} after {before_s}.")
            yield number, (round((time_s - before_s) * 1000, 6), mbps * 1000, LATENCY_S * 1000)
        before_s = time_s


def _json(text: str, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FormatError(f"Trace {name!r} is not valid: {error}.") from error


def _trace(name: str, place: str, rows: Iterable[tuple[int, Span]]) -> Trace:
    spans: list[Span] = []
    for number, (duration_ms, kbps, latency_ms) in rows:
        span = duration_ms / 1000, kbps * 1000, latency_ms / 1000
        if not (0 < span[0] <= DURATION_MAX_S and 0 <= span[1] <= THROUGHPUT_MAX_BPS and 0 <= span[2] <= LATENCY_MAX_S):
            raise FormatError(
                f"Trace {name!r}, {place} {number}: {duration_ms:g} ms at {kbps:g} kbit/s, latency {latency_ms:g} ms,"
                " makes no sense; expected a positive duration and nothing negative or absurd."
            )
        spans.append(span)
    return make(name, spans)


def read_trace(path: Path, warn: Callable[[str], None] = log.warning) -> Trace:
    """Read one trace of any known format (see abr.simulation.trace_formats), recognised by its content.

    Raises FormatError (with the line) when it is malformed, StorageError when it cannot be read.
    """
    traces = read_file(path, warn)
    if len(traces) != 1:
        raise InputError(f"{path} holds {len(traces)} traces where one is wanted; split it or give it to `compare`.")
    return traces[0]


def read_traces(path: Path, warn: Callable[[str], None] = log.warning) -> list[Trace]:
    """All traces of a file, or of all the files in a folder (sorted by name; hidden files and INDEX.csv left out).

    warn: told of each file of a folder that is no trace and passed over, and of columns whose units look wrong.
    Raises InputError when a folder holds no trace, and errors as for `read_trace`.
    """
    if not path.is_dir():
        return read_file(path, warn)
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith((".", "INDEX"))]
    traces: list[Trace] = []
    for file in files:
        try:
            traces += read_file(file, warn)
        except FormatError as error:
            warn(f"{file} is passed over. {error}")
    if not traces:
        raise InputError(f"The folder {path} holds no traces.")
    return traces


def read_file(path: Path, warn: Callable[[str], None] = log.warning) -> list[Trace]:
    """The traces of one file; most formats hold one. Errors as for `read_trace`."""
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise FormatError(f"{path} is larger than {FILE_MAX_BYTES >> 20} MiB: that is no trace.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no trace: it is not text ({error.reason}).") from error
    except OSError as error:
        raise StorageError(f"Cannot read the trace {path}: {error.strerror}.") from error
    return loads(text, path.stem, warn)
