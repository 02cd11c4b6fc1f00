"""What a running stream is worth is measured beside it, by a process that never makes the ladder late."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from live_process import TEST_SOURCE, finish, live
from waiting import wait_until

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.errors import ToprungError
from abr.records import load
from server.live.quality.measuring import Measuring
from server.live.quality.prior import PLAIN_VMAF, assumed_vmaf
from server.live.samples.files import SampledStream

WAITS = (sys.executable, "-c", "import sys; sys.stdin.read()")
"""In the place of what measures: it only waits."""


def state_of(pid: int) -> str:
    """R, S, T and so on, as proc(5) has them."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Ticks:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def measuring(tmp_path: Path, ticks: Ticks):
    stream = SampledStream(folder=tmp_path, work=tmp_path / "work", rungs=["90p"], segment_frames=50, segment_s=2.0)
    with Measuring(stream, 0.1, measured=lambda _: None, told=lambda _: None, command=WAITS, ticks=ticks) as measuring:
        yield measuring


def test_it_stands_still_while_segments_are_late_and_goes_on_when_they_are_in_time(measuring):
    assert measuring.pid is not None
    measuring.listed(0, 0.3)
    assert state_of(measuring.pid) != "T"
    measuring.listed(1, 1.2)
    wait_until(lambda: state_of(measuring.pid) == "T", "that it stands still")
    measuring.listed(2, 0.4)
    wait_until(lambda: state_of(measuring.pid) != "T", "that it goes on")


def test_it_stands_still_for_as_long_as_segments_are_late_or_the_ladder_is_not_whole(measuring):
    measuring.listed(0, 1.5)
    for segment in (1, 2):
        measuring.watch(None, segment, 0)  # type: ignore[arg-type]
        assert measuring.is_resting, "the next segment has begun, and that is all"
        measuring.listed(segment, 0.1, is_short=True)
        assert measuring.is_resting
    measuring.listed(3, 0.1)
    assert not measuring.is_resting


def test_it_stands_still_when_no_segment_comes_at_all(measuring, ticks):
    measuring.listed(0, 0.3)
    ticks.now_s = 4.1
    measuring.watch(None, 2, 0)  # type: ignore[arg-type]
    wait_until(lambda: state_of(measuring.pid) == "T", "that it stands still")


def test_that_it_died_is_told_though_nothing_is_asked_of_it(tmp_path: Path):
    stream = SampledStream(folder=tmp_path, work=tmp_path / "work", rungs=["90p"], segment_frames=50, segment_s=2.0)
    told: list[str] = []
    with Measuring(stream, 0.1, measured=lambda _: None, told=told.append, command=WAITS) as measuring:
        measuring.listed(0, 1.9)  # late: it rests
        os.kill(measuring.pid, signal.SIGKILL)
        wait_until(lambda: (measuring.listed(1, 1.9), told)[1], "a sentence")
    assert told == ["what measures its pictures has ended; decisions go on by what was measured until then."]


def test_when_the_block_is_over_nothing_of_it_is_left(tmp_path: Path):
    stream = SampledStream(folder=tmp_path, work=tmp_path / "work", rungs=["90p"], segment_frames=50, segment_s=2.0)
    with Measuring(stream, 0.1, measured=lambda _: None, told=lambda _: None, command=WAITS) as measuring:
        pid = measuring.pid
        measuring.listed(0, 9.0)
    assert not Path(f"/proc/{pid}").exists() and not (tmp_path / "work").exists()


def measurers(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"live_quality" in Path(f"/proc/{child}/cmdline").read_bytes()]


def measured(folder: Path) -> LiveTables | None:
    """The tables of a live title, once they rest on a measurement."""
    try:
        tables = load(folder / TABLES_FILE, LiveTables)
    except ToprungError:
        return None
    return tables if tables.measured else None


@pytest.mark.slow
def test_a_running_stream_tells_what_its_rungs_and_the_generic_networks_are_worth(tmp_path: Path):
    ladder = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--measure-share", "1")
    with live(tmp_path, *TEST_SOURCE, *ladder, "--name", "cam") as process:
        wait_until(lambda: measured(tmp_path / "cam"), "a measurement")
        finish(process)
    tables = measured(tmp_path / "cam")
    assert tables is not None
    low, high = (tables.typical.plain_quality[name] for name in ("90p", "180p"))
    assert 0 < low.vmaf[0] < high.vmaf[0] <= 100 and low.ssim[0] < high.ssim[0]
    assert tables.typical.meter.tool.startswith("libvmaf")
    assert tables.enhancements is not None
    for entry in tables.enhancements.enhancers:
        for offer in entry.offers:
            plain = tables.typical.plain_quality[offer.rendition]
            assert offer.chunks == (), "generic weights ship with players"
            assert offer.quality.trusted[0] > plain.vmaf[0], "what does not win is not offered"
            assert offer.quality.vmaf_neg[0] > plain.vmaf_neg[0]
    assert not list(tmp_path.glob(".building-*")), "no sample is left"


@pytest.mark.slow
def test_a_stream_goes_on_when_what_measures_it_is_killed(tmp_path: Path):
    ladder = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "0.5", "--measure-share", "1")
    with live(tmp_path, *TEST_SOURCE, *ladder, "--name", "cam") as process:
        wait_until(lambda: (tmp_path / "cam" / TABLES_FILE).is_file(), "the tables")
        (measurer,) = measurers(process.pid)
        os.kill(measurer, signal.SIGKILL)
        end = load(tmp_path / "cam" / TABLES_FILE, LiveTables).end
        wait_until(lambda: load(tmp_path / "cam" / TABLES_FILE, LiveTables).end >= end + 6, "six more segments")
        said = finish(process)
    assert "what measures its pictures has ended" in said


@pytest.mark.slow
def test_killed_while_it_measures_a_stream_leaves_no_process_behind(tmp_path: Path):
    ladder = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "0.5", "--measure-share", "1")
    with live(tmp_path, *TEST_SOURCE, *ladder, "--name", "cam") as process:
        wait_until(lambda: measured(tmp_path / "cam"), "a measurement")
        (measurer,) = measurers(process.pid)
        os.kill(measurer, signal.SIGSTOP)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not Path(f"/proc/{measurer}").exists() or state_of(measurer) == "Z", "that it is gone")


def test_until_then_a_rung_is_worth_what_rungs_of_its_size_usually_are():
    shares = [share for share, _ in PLAIN_VMAF]
    assert [assumed_vmaf(share) for share in shares] == [vmaf for _, vmaf in PLAIN_VMAF]
    assert assumed_vmaf(0.1) == PLAIN_VMAF[0][1] and assumed_vmaf(1.5) == PLAIN_VMAF[-1][1]
    between = [assumed_vmaf(share / 100) for share in range(10, 120)]
    assert between == sorted(between)
