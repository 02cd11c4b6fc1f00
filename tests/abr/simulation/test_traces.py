"""Traces: exact transfer times against a slow integration, formats both ways, and what no trace may say."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from abr.errors import FormatError, InputError, StorageError
from abr.simulation import trace_formats
from abr.simulation.trace_formats import read_trace, read_traces
from abr.simulation.traces import Trace, constant, make

spans = st.lists(
    st.tuples(
        st.integers(1, 5000).map(lambda ms: ms / 1000),
        st.one_of(st.just(0.0), st.integers(1, 50_000).map(lambda kbps: kbps * 1000.0)),
        st.integers(0, 400).map(lambda ms: ms / 1000),
    ),
    min_size=1,
    max_size=12,
)
traces = spans.filter(lambda rows: any(row[1] for row in rows)).map(lambda rows: make("t", rows))


def slow_finish(trace: Trace, start_s: float, size_bytes: float) -> float:
    """Walks span by span, the way event-driven simulators do."""
    bits, time_s = size_bytes * 8, start_s
    ends = np.cumsum(trace.duration_s)
    inside = math.fmod(start_s, trace.length_s)
    index = min(int(np.searchsorted(ends, inside, side="right")), len(ends) - 1)
    left_s = float(ends[index]) - inside
    while bits > 1e-6:
        rate = float(trace.throughput_bps[index])
        if rate * left_s >= bits:
            return time_s + bits / rate
        bits -= rate * left_s
        time_s += left_s
        index = (index + 1) % len(ends)
        left_s = float(trace.duration_s[index])
    return time_s


@settings(max_examples=100, deadline=None)
@given(traces, st.floats(0, 100), st.floats(1, 2e6))
def test_finish_agrees_with_walking_the_spans(trace, start_s, size_bytes):
    assume(size_bytes * 8 / trace.mean_bps / trace.length_s * len(trace.duration_s) < 3e4)
    finish_s = trace.finish_s(start_s, size_bytes)
    assert finish_s == pytest.approx(slow_finish(trace, start_s, size_bytes), rel=1e-6, abs=1e-5)
    assert trace.bytes_between(start_s, finish_s) == pytest.approx(size_bytes, rel=1e-6, abs=1.0)


def test_nothing_passes_in_an_outage_and_the_trace_repeats():
    trace = make("outage", [(1.0, 8000.0, 0.1), (4.0, 0.0, 0.1)])
    assert trace.finish_s(0.0, 1000) == pytest.approx(1.0)
    assert trace.finish_s(0.5, 1000) == pytest.approx(5.5)
    assert trace.finish_s(2.0, 1000) == pytest.approx(6.0)
    assert trace.bytes_between(1.0, 5.0) == 0
    assert trace.fetch_s(0.0, 500) == pytest.approx(0.6)


@settings(max_examples=40, deadline=None)
@given(traces)
def test_formats_give_back_what_they_were_given(trace):
    for name, columns in (("sabre", 3), ("csv", 3), ("pensieve", 2)):
        (back,) = trace_formats.loads(trace_formats.DUMPS[name](trace), "t")
        for ours, theirs in list(
            zip(
                (trace.duration_s, trace.throughput_bps, trace.latency_s),
                (back.duration_s, back.throughput_bps, back.latency_s),
                strict=True,
            )
        )[:columns]:
            np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(traces)
def test_mahimahi_keeps_every_packet(trace):
    assume(trace.length_s * trace.mean_bps > 2 * 1500 * 8)
    assume(trace.length_s * trace.mean_bps < 1e8)
    (back,) = trace_formats.loads(trace_formats.dumps_mahimahi(trace), "t")
    for end_s in np.arange(0.1, back.length_s, 0.1):
        assert abs(back.bytes_between(0, end_s) - trace.bytes_between(0, end_s)) < 1501
    again = trace_formats.loads(trace_formats.dumps_mahimahi(back), "t")[0]
    assert again.bytes_between(0, again.length_s) == pytest.approx(back.bytes_between(0, back.length_s), abs=1501)


def test_reads_each_format_by_its_content(tmp_path: Path):
    texts = {
        "sabre.txt": '[{"duration_ms": 1000, "bandwidth_kbps": 2000, "latency_ms": 50, "note": "x"}]',
        "pensieve.json": "0.0\t9\n1.0 2.0\n2.5\t4.0\n",
        "mahimahi": "".join(f"{ms}\n" for ms in range(1, 201)),
        "rows.dat": "duration_ms,bandwidth_kbps,latency_ms\r\n500,2000,10\r\n\r\n500,4000,20\r\n",
        "lte.csv": "2,Mbits/sec\n500,Kbits/sec\n0,bits/sec\n",
        "many.json": '{"a": [[1000, 2000, 20]], "b": [[1000, 1000, 20], [500, 0, 20]]}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert read_trace(tmp_path / "sabre.txt").latency_s.tolist() == [0.05]
    pensieve = read_trace(tmp_path / "pensieve.json")
    assert pensieve.duration_s.tolist() == [1.0, 1.5] and pensieve.throughput_bps.tolist() == [2e6, 4e6]
    assert read_trace(tmp_path / "mahimahi").mean_bps == pytest.approx(12e6)
    assert read_trace(tmp_path / "rows.dat").throughput_bps.tolist() == [2e6, 4e6]
    assert read_trace(tmp_path / "lte.csv").throughput_bps.tolist() == [2e6, 5e5, 0.0]
    assert [trace.name for trace in read_traces(tmp_path / "many.json")] == ["a", "b"]
    assert len(read_traces(tmp_path)) == 7


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "empty"),
        ("[]", "empty"),
        ("[{]", "not valid"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": -5, "latency_ms": 1}]', "entry 1"),
        ('[{"duration_ms": 0, "bandwidth_kbps": 5, "latency_ms": 1}]', "entry 1"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": 0, "latency_ms": 1}]', "lets nothing through"),
        ('[{"duration_ms": 1000, "bandwidth_kbps": 1e30, "latency_ms": 1}]', "entry 1"),
        ('[{"duration_ms": "1", "bandwidth_kbps": 1}]', "not valid"),
        ("0 1\n1 x\n", "line 2"),
        ("0 1\n1 2\n1 2\n", "line 3"),
        ("0 1\n1 -2\n", "line 2"),
        ("0 1\n1 nan\n", "line 2"),
        ("0 1\n1 inf\n", "line 2"),
        ("5\n4\n", "line 2"),
        ("5\n-4\n", "line 2"),
        ("5\nabc\n", "line 2"),
        ("a,b,c\n1,2,3\n", "line 1"),
        ("duration_ms,bandwidth_kbps,latency_ms\n1000,10\n", "line 2"),
        ("duration_ms,bandwidth_kbps,latency_ms\n1000,10,99999999\n", "line 2"),
        ("3,Mbits/sec\n4,furlongs\n", "line 2"),
        ("<html>not a trace</html>", "line 1"),
        ('{"a": [[1, 2]]}', "not valid"),
        ("[" * 100_000, "not valid"),
    ],
)
def test_names_the_trace_and_the_place_of_what_is_wrong(text, place):
    with pytest.raises(FormatError) as caught:
        trace_formats.loads(text, "bad")
    assert place in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "time_s\tmbps\n0\t1.5\n2\t1.6\n4\t0.9\n",
        "time_ms kbps\n0 1500\n2000 1600\n4000 900\n",
        "time_ms,throughput_kbps\n0,1500\n2000,1600\n4000,900\n",
        "Time(ms);Rate(bps)\n0;1.5e6\n2e3;1.6e6\n4e3;9e5\n",
        "# measured on a train\n\n0 1.5\n# a tunnel\n2 1.6\n4 0.9\n",
        "t rate\n0 1.5\n2 1.6\n4 0.9\n",
    ],
)
def test_a_header_names_the_units_of_two_columns(text):
    told: list[str] = []
    (trace,) = trace_formats.loads(text, "t", told.append)
    np.testing.assert_allclose(trace.duration_s, [2, 2])
    np.testing.assert_allclose(trace.throughput_bps, [1.6e6, 0.9e6])
    assert told == []


@pytest.mark.parametrize(
    ("text", "looks_like"),
    [
        ("0 1500\n1000 1600\n2000 900\n", ["milliseconds", "kbit/s"]),
        ("0 1.5\n500 1.6\n1000 0.9\n", ["milliseconds"]),
        ("0 1500.5\n1 1600.2\n2 90.1\n3 800\n", ["kbit/s"]),
        ("time rate\n0 500000\n1 600000\n", [" bit/s"]),
        ("0 1.5\n5 12\n10 48\n", []),
        ('[{"duration_ms": 200000, "bandwidth_kbps": 400000}]', []),
    ],
)
def test_columns_that_look_like_other_units_are_warned_of(text, looks_like):
    told: list[str] = []
    trace_formats.loads(text, "t", told.append)
    assert len(told) == bool(looks_like)
    assert all(f"looks like {unit.strip()}" in told[0] for unit in looks_like)
    assert not told or told[0].count("looks like") == len(looks_like)


def test_a_folder_of_traces_may_hold_other_files(tmp_path: Path):
    (tmp_path / "a.txt").write_text("0 1\n1 2\n")
    assert [trace.name for trace in read_traces(tmp_path)] == ["a"]
    others = {
        "LICENSE": b"MIT License\n\nCopyright (c) somebody\n",
        "README.md": b"# Traces\n\nTwo columns, seconds and Mbit/s.\n",
        "SOURCES.csv": b"file,url\na.txt,https://example.org\n",
        "meta.json": b'{"name": "traces", "version": 1}',
        "list.json": b'["a.txt"]',
        "map.png": b"\x89PNG\r\n\x1a\n\xff\x00",
        "empty.txt": b"",
        "cut.txt": b"0 1\n1\n",
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    told: list[str] = []
    assert [trace.name for trace in read_traces(tmp_path, told.append)] == ["a"]
    assert [name for name in sorted(others) if any(f"{tmp_path / name} is passed over. " in word for word in told)] == (
        sorted(others)
    )
    with pytest.raises(FormatError, match="line 2"):
        read_traces(tmp_path / "cut.txt")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputError, match="holds no traces"):
        read_traces(tmp_path, told.append)


def test_says_what_is_wrong_with_a_file(tmp_path: Path):
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    with pytest.raises(FormatError, match="not text"):
        read_trace(tmp_path / "binary")
    with pytest.raises(StorageError, match="Cannot read"):
        read_trace(tmp_path / "missing")


@given(st.text(max_size=200))
def test_hostile_text_is_a_trace_or_a_format_error(text):
    with contextlib.suppress(FormatError):
        assert all(trace.mean_bps > 0 for trace in trace_formats.loads(text, "t"))


def test_scaling_divides_the_time():
    assert constant(8e6).scaled(0.1).finish_s(0, 1e6) == pytest.approx(10.0)


@given(start_s=st.floats(0, 500), time_s=st.floats(0, 500), size_bytes=st.integers(1, 10**7))
def test_a_trace_begun_later_is_the_same_trace(start_s: float, time_s: float, size_bytes: int) -> None:
    trace = make("steps", [(7.0, 1e6, 0.1), (3.5, 0.0, 0.2), (11.0, 4e6, 0.3)])
    later = trace.begun_at(start_s)
    assert later.length_s == pytest.approx(trace.length_s)
    assert later.finish_s(time_s, size_bytes) == pytest.approx(trace.finish_s(start_s + time_s, size_bytes) - start_s)
