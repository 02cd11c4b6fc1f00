"""`toprung bench plan-qoe`: what plans add in simulated sessions, on devices of several speeds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from plan_tables import device, planned_table
from titles import prepared_title

from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.errors import InputError
from abr.evaluation.bench_plan_qoe import bench_plan_qoe
from abr.records import dumps


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """The test title with two plans, a device that runs every tier, and a slow network."""
    title, source = prepared_title()
    shutil.copytree(source, tmp_path / title.id)
    (tmp_path / title.id / ENHANCEMENTS_FILE).write_bytes(dumps(planned_table(title)))
    (tmp_path / "device.json").write_bytes(dumps(device(1.0)))
    (tmp_path / "slow.json").write_text(json.dumps([{"duration_ms": 60000, "bandwidth_kbps": 300, "latency_ms": 50}]))
    folder, profile, trace = (str(tmp_path / name) for name in (title.id, "device.json", "slow.json"))
    return [folder, "--profile", profile, "--traces", trace, "--controllers", "lowest,toprung"]


def test_plans_add_to_devices_that_tiers_leave_less_to_and_nothing_to_others(arguments: list[str]) -> None:
    output = (
        CliRunner()
        .invoke(bench_plan_qoe, [*arguments, "--speeds", "0.02,0.25,1", "--json"], catch_exceptions=False)
        .stdout
    )
    gains = {(each["speed"], each["controller"]): each for each in json.loads(output)}
    for speed, options in ((0.02, 0), (0.25, 1), (1.0, 0)):
        found = gains[speed, "toprung"]
        assert found["plans"]["options"] - found["tiers"]["options"] == options
        assert (found["qoe_added"] > 1) == (found["plans"]["planned_share"] > 0) == bool(options)
        assert gains[speed, "lowest"]["qoe_added"] == 0, "who never enhances gains nothing"


def test_it_says_what_it_cannot_do(arguments: list[str]) -> None:
    for speeds in ("fast", "0", "1,,2"):
        with pytest.raises(InputError, match="is no speed"):
            CliRunner().invoke(bench_plan_qoe, [*arguments, "--speeds", speeds], catch_exceptions=False)
    table = Path(arguments[0]) / ENHANCEMENTS_FILE
    document = json.loads(table.read_text())
    document["plans"] = []
    table.write_text(json.dumps(document))
    with pytest.raises(InputError, match="no frame plans"):
        CliRunner().invoke(bench_plan_qoe, arguments, catch_exceptions=False)
