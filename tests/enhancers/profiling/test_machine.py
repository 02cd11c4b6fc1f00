"""What the machine runs on, and what that says of how its energy is best spent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from abr.core.device import Wish
from enhancers.profiling.machine import busy_cores, power_source, thread_counts, wish_of_power


@pytest.mark.parametrize(
    ("online", "capacity", "source", "wish"),
    [
        ("1", "20", "mains", Wish.QUALITY),
        ("0", "80", "battery", Wish.BALANCED),
        ("0", "20", "battery", Wish.SAVER),
        ("0", "", "battery", Wish.BALANCED),
        ("0", "full", "battery", Wish.BALANCED),
        ("", "50", "unknown", Wish.QUALITY),
    ],
)
def test_at_the_mains_energy_is_for_quality_and_the_last_of_a_battery_is_saved(
    tmp_path: Path, online: str, capacity: str, source: str, wish: Wish
) -> None:
    for file, text in (("AC/online", online), ("BAT0/capacity", capacity)):
        (tmp_path / file).parent.mkdir()
        if text:
            (tmp_path / file).write_text(f"{text}\n")
    assert power_source(tmp_path) == source
    assert wish_of_power(tmp_path) is wish


def test_one_half_and_all_cores_are_measured() -> None:
    counts = thread_counts()
    assert counts[0] == 1 and list(counts) == sorted(set(counts)) and len(counts) <= 3


def test_what_other_programs_keep_busy_is_seen(tmp_path: Path) -> None:
    times = tmp_path / "stat"

    def write(user: int, idle: int) -> None:
        times.write_text(f"cpu  {user} 10 20 {idle} 5 0 3 1 0 0\ncpu0 1 2 3\n")

    write(1000, 5000)
    quarter = busy_cores(times, lambda _s: write(1030, 5090))
    assert quarter == pytest.approx(0.25 * (os.cpu_count() or 1))
    assert busy_cores(times, lambda _s: write(1030, 5190)) == 0.0
    assert busy_cores(tmp_path / "missing", lambda _s: None) == 0.0, "no sentence without a reason"
    times.write_text("nothing of ours")
    assert busy_cores(times, lambda _s: None) == 0.0
