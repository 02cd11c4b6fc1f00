"""`toprung bench plan`: all curves on the same frames, each point at the cost that it has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from titles import SMALL_CLIP, TITLE_ID, prepared_title

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, EnhancerEntry, Family, Tier
from abr.errors import InputError
from abr.records import dumps
from enhancers.bench import plan as bench
from enhancers.cli.plans import bench_plan
from enhancers.measurement.publish import generic_offer
from enhancers.networks import catalog


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A title that offers the generic networks, at what plain playback is worth: the benchmark measures anew."""
    title, folder = prepared_title(SMALL_CLIP)
    shutil.copytree(folder, tmp_path / "library" / TITLE_ID)
    offer = generic_offer("90p", str(catalog.architecture(4)), title.plain_quality["90p"])
    entry = EnhancerEntry(name="generic-high", family=Family.GENERIC, tier=Tier.HIGH, offers=(offer,))
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))
    (tmp_path / "library" / TITLE_ID / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return tmp_path / "library"


def run(library: Path, *options: str) -> str:
    arguments = [TITLE_ID, "--library", str(library), "--source", str(SMALL_CLIP), "--family", "generic", *options]
    return CliRunner().invoke(bench_plan, arguments, catch_exceptions=False).stdout


@pytest.mark.slow
def test_a_plan_shows_more_than_tiers_that_share_time(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BUDGETS", (0.5,))
    found = json.loads(run(library, "--rung", "90p", "--segments", "1", "--vmaf-every", "5", "--json"))
    points = {curve: {point["name"]: point for point in points} for curve, points in found["curves"].items()}
    assert points["tiers"].keys() == {"none", "low", "reuse", "medium", "high"}
    low_macs = points["tiers"]["low"]["macs"]
    shared, planned, best = (points[curve]["0.5"] for curve in ("time-shared", "plan", "optimum"))
    assert shared["macs"] == pytest.approx(0.5 * low_macs, rel=0.1)
    assert planned["macs"] <= 0.5 * low_macs
    neg = [each["figures"]["vmaf_neg"] for each in (points["tiers"]["none"], shared, planned)]
    assert neg[0] < neg[1] < neg[2]
    assert best["figures"]["vmaf_neg"] > neg[1]
    assert 0 < found["plan_bytes_share"] < 0.01, "of a rung of 90 lines"


def test_it_says_what_a_title_lacks(library: Path) -> None:
    with pytest.raises(InputError, match="offers no generic-high for 120p"):
        run(library, "--rung", "120p", "--segments", "2")
    with pytest.raises(InputError, match="give --segments of no more"):
        run(library, "--rung", "90p", "--segments", "9")
