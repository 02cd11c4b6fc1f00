"""The report of whether a device may train: as text, JSON and a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from film import own_device

from abr.core.device import EnergySource
from abr.core.enhancement import Tier
from abr.errors import InputError
from abr.federation.costs import TrainingAbility, cost_of
from abr.records import dumps
from enhancers.cli.federation import report
from enhancers.federation.ability import PROBES, Taken, fit_ability, probe_load, reckon_ability


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "device.json"
    path.write_bytes(dumps(own_device()))
    return path


def told(*arguments: object) -> dict[str, object]:
    done = CliRunner().invoke(report, [*map(str, arguments), "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_each_tier_has_a_verdict_and_speech_has_none_of_them_to_hope_for(profile: Path):
    rows = told("--profile", profile)["rows"]
    assert [row["network"] for row in rows] == ["low (×2)", "medium (×2)", "high (×2)", "wav2vec 2.0 base"]
    assert [row["goes"] for row in rows] == [True, True, True, False]
    assert rows[-1]["year"] > 2027
    for figure in ("memory_mb", "seconds", "joules", "traffic_mb"):
        values = [row[figure] for row in rows]
        assert values == sorted(values), "a larger network takes more"


def test_a_device_that_is_too_slow_for_a_tier_is_told_so_and_what_binds(tmp_path: Path):
    slow = tmp_path / "slow.json"
    slow.write_bytes(dumps(own_device(times=11.0)))
    rows = {row["network"]: row for row in told("--profile", slow)["rows"]}
    assert rows["low (×2)"]["goes"] and not rows["high (×2)"]["goes"]
    assert rows["high (×2)"]["binding"] == "time"
    assert rows["high (×2)"]["year"] > rows["low (×2)"]["year"]


def test_a_gain_that_no_round_brings_is_a_no(profile: Path):
    rows = told("--profile", profile, "--gain", 50)["rows"]
    assert [(row["goes"], row["binding"], row["rounds"]) for row in rows[:3]] == [(False, "gain", None)] * 3


def test_the_page_holds_every_row_and_says_what_is_an_estimate(profile: Path, tmp_path: Path):
    done = CliRunner().invoke(report, ["--profile", str(profile), "--html", str(tmp_path / "r.html")])
    assert done.exit_code == 0
    page = (tmp_path / "r.html").read_text()
    assert all(name in page for name in ("low (×2)", "high (×2)", "wav2vec 2.0 base", "2204.02804"))
    assert "energy is an estimate" in page and "energy is an estimate" in done.stdout
    assert "http" not in page.replace("http-equiv", ""), "it fetches nothing"


def test_the_constants_of_a_machine_are_found_again():
    true = TrainingAbility(
        base_bytes=3e8,
        kept_times=1.5,
        begin_s=0.5,
        step_s=0.02,
        output_s=1e-7,
        mac_s=2e-11,
        watts=4.0,
        source=EnergySource.RAPL,
    )
    loads = [probe_load(*probe) for probe in PROBES]
    costs = [cost_of(load, true, 20) for load in loads]
    taken = [
        Taken(processor_s=c.seconds, peak_bytes=round(c.memory_bytes), joules=c.joules, source=EnergySource.RAPL)
        for c in costs
    ]
    found = fit_ability(loads, taken)
    other = probe_load(Tier.MEDIUM, 16, 20)
    assert cost_of(other, found, 20).seconds == pytest.approx(cost_of(other, true, 20).seconds, rel=1e-3)
    assert cost_of(other, found, 20).memory_bytes == pytest.approx(cost_of(other, true, 20).memory_bytes, rel=1e-3)
    assert (found.source, np.isclose(found.watts, 4.0)) == (EnergySource.RAPL, True)


def test_a_profile_that_says_nothing_of_tier_low_is_refused():
    empty = own_device()
    with pytest.raises(InputError, match="tier low"):
        reckon_ability(type(empty)(device=empty.device, measurements=()))
