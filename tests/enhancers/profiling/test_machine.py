"""What the machine runs on, and what that says of how its energy is best spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from abr.core.device import Wish
from enhancers.profiling.machine import power_source, thread_counts, wish_of_power


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
