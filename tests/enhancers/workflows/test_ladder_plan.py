"""The enhancement-aware ladder: planned from measurements, prepared from the plan, compared by the bench."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip
from titles import TINY_CLIP, TITLE_ID, tiny_library

from abr.cli import root
from abr.core.enhancement import Currency, EnhancementTable, EnhancerEntry, Family, Tier
from abr.core.ladder_plan import LadderPlan, PlannedRung
from abr.core.title import Rendition, Title
from abr.errors import InputError
from abr.records import dumps, dumps_pretty, load
from enhancers.bench.enhance import PANEL_MEAN, EnhanceBenchOptions, EnhanceBenchResult, measure_training_curve
from enhancers.measurement.ladder_planner import LadderTrial, choose_rungs, measure_trials
from enhancers.measurement.provenance import Provenance
from enhancers.measurement.publish import generic_offer
from enhancers.networks.catalog import architecture, network_scales
from enhancers.prepared_title import open_title
from server.ingest.cli import prepare


def trial(kbps: float, quality: float, height_px: int = 180, crf: float = 25.0) -> LadderTrial:
    rendition = Rendition(
        id=f"{height_px}p",
        width_px=height_px * 16 // 9,
        height_px=height_px,
        codecs="avc3.64001F",
        bandwidth_bps=1,
        average_bps=1,
        init_bytes=1,
        segment_bytes=(1,),
    )
    return LadderTrial(rendition=rendition, crf=crf, enhancer="none", kbps=kbps, quality=quality, vmaf=50)


def test_the_hull_is_chosen_in_steps_and_the_top_rung_stays() -> None:
    top = trial(1000, 95, 360)
    good = [trial(120, 40), trial(200, 60), trial(420, 80), trial(900, 95.5)]
    others = [trial(50, 30), trial(210, 61), trial(300, 62), trial(950, 96), trial(1200, 97), trial(500, 80.5)]
    assert choose_rungs([*others, *good, top], top, least_quality=35) == [*good, top]


def test_a_lifted_rung_may_be_cheaper_than_the_lowest_but_not_worse() -> None:
    top = trial(1000, 95, 360)
    lifted, cheap, poor = trial(100, 50), trial(70, 41), trial(40, 39)
    assert choose_rungs([lifted, cheap, poor, top], top, least_quality=40) == [cheap, lifted, top]


def test_trials_cost_less_and_show_less_at_higher_crf() -> None:
    whole = tiny_library().title(TITLE_ID)
    title = msgspec.structs.replace(whole, renditions=(whole.renditions[0], whole.renditions[2]))
    prepared = replace(open_title(tiny_library().root, TITLE_ID, TINY_CLIP), title=title)
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=())
    found = {(t.rendition.id, t.crf): t for t in measure_trials(prepared, table, lambda *_: None, (24.0, 34.0))}
    assert set(found) == {(rendition.id, crf) for rendition in title.renditions for crf in (24.0, 34.0)}
    for rendition in title.renditions:
        fine, coarse = found[rendition.id, 24.0], found[rendition.id, 34.0]
        assert coarse.kbps < 0.6 * fine.kbps
        assert coarse.vmaf < fine.vmaf - 3


def table_of(title: Title, *, attested: float) -> EnhancementTable:
    """The generic network for the lowest rung, to whose lift of VMAF the panel attests that part."""
    plain = title.plain_quality[title.renditions[0].id]
    pairs = [(before + 20, before + 20 * attested) for before in plain.vmaf]
    quality = msgspec.structs.replace(
        plain, vmaf=tuple(vmaf for vmaf, _ in pairs), trusted=tuple(trusted for _, trusted in pairs)
    )
    scale = network_scales(title)[title.renditions[0].id]
    offer = generic_offer(title.renditions[0].id, str(architecture(scale, Tier.LOW)), quality)
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    return EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))


@pytest.mark.parametrize(("attested", "chosen"), [(0.5, "generic-low"), (-0.5, "none")])
def test_rungs_are_planned_by_the_part_of_the_lift_that_the_panel_attests(attested: float, chosen: str) -> None:
    whole = tiny_library().title(TITLE_ID)
    title = msgspec.structs.replace(whole, renditions=whole.renditions[:1])
    prepared = replace(open_title(tiny_library().root, TITLE_ID, TINY_CLIP), title=title)
    table = table_of(title, attested=attested)
    (trusted,), (vmaf,) = (
        measure_trials(prepared, table, lambda *_: None, (28.0,), currency)
        for currency in (Currency.TRUSTED, Currency.VMAF)
    )
    assert (vmaf.enhancer, vmaf.quality) == ("generic-low", vmaf.vmaf)
    assert trusted.enhancer == chosen
    plain = measure_trials(prepared, msgspec.structs.replace(table, enhancers=()), lambda *_: None, (28.0,))[0]
    assert plain.vmaf < vmaf.vmaf
    assert trusted.quality == pytest.approx(plain.vmaf + max(0.0, attested) * (vmaf.vmaf - plain.vmaf))


def test_a_plan_is_prepared_as_planned(tmp_path: Path) -> None:
    plan = LadderPlan(rungs=tuple(PlannedRung(height_px=h, crf=crf) for h, crf in ((64, 36), (64, 30), (256, 40))))
    (tmp_path / "plan.json").write_bytes(dumps_pretty(plan))
    options = ["--preset", "ultrafast", "--vmaf-every", "60", "--json"]
    command = [str(TINY_CLIP), "--library", str(tmp_path), "--ladder", str(tmp_path / "plan.json"), *options]
    result = CliRunner().invoke(prepare, command, catch_exceptions=False)
    assert [rung["id"] for rung in json.loads(result.stdout)["renditions"]] == ["64p-crf36", "64p-crf30", "256p"]
    title = load(tmp_path / TINY_CLIP.stem / "title.json", Title)
    rates = [rendition.average_bps for rendition in title.renditions]
    assert rates == sorted(set(rates))
    assert "64@36,64@30,256@40" in title.encoder


@pytest.mark.parametrize("rungs", [[(90, 25.0)], [(91, 25.0), (256, 25.0)], [(90, 25.0), (90, 25.0), (256, 25.0)]])
def test_impossible_plans_are_refused(tmp_path: Path, rungs: list[tuple[int, float]]) -> None:
    plan = LadderPlan(rungs=tuple(PlannedRung(height_px=height, crf=crf) for height, crf in rungs))
    (tmp_path / "plan.json").write_bytes(dumps(plan))
    command = [str(TINY_CLIP), "--library", str(tmp_path), "--ladder", str(tmp_path / "plan.json")]
    result = CliRunner().invoke(prepare, command)
    assert result.exit_code
    assert not list(tmp_path.glob("*/title.json"))


def test_the_bench_prints_rungs_and_rates(tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    options = ["--heights", "64,128,256", "--vmaf-every", "25", "--speed-seconds", "0", "--tiers", "low"]
    command = ["bench", "enhance", str(TINY_CLIP), "--generic-only", *options, "--plot", str(plot), "--json"]
    result = CliRunner().invoke(root, command, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert [rung["height_px"] for rung in found["rungs"]] == [64, 128, 256]
    lowest = found["rungs"][0]
    assert lowest["enhancers"]["generic-low"]["vmaf"] > lowest["plain"]["vmaf"]
    assert lowest["enhancers"]["generic-low"]["weights_bytes"] == 0
    assert -60 < found["bd_rate"]["vmaf"]["generic"] < 0
    assert found["bd_rate"]["vmaf"]["content_aware"] == found["bd_rate"]["vmaf"]["generic"]
    for member in ("trusted", "ssimulacra2", "psnr_hvs_db", "erqa", "ciede2000", "flicker"):
        assert found["bd_rate"][member]["generic"] is not None and member in lowest["plain"]
    judges = [found["bd_rate"][member]["generic"] for member in PANEL_MEAN]
    assert found["bd_rate_panel_mean"]["generic"] == pytest.approx(sum(judges) / len(judges), abs=0.002)
    assert plot.read_text().startswith("<svg")


def bench(*command: str) -> dict[str, Any]:
    """What `bench enhance` prints, with little measuring."""
    result = CliRunner().invoke(
        root,
        ["bench", "enhance", *command, "--speed-seconds", "0", "--train-seconds", "1", "--json"],
        catch_exceptions=False,
    )
    return json.loads(result.stdout)


def test_the_bench_of_a_clip_that_nothing_can_lift_is_plain_and_undefined(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "Ein Füßchen (1).mp4", width_px=160, height_px=90, frames=10)
    found = bench(str(clip), "--heights", "90")
    assert [(rung["height_px"], rung["enhancers"]) for rung in found["rungs"]] == [(90, {})]
    for rates in (found["bd_rate_panel_mean"], found["bd_rate"]["vmaf"], found["bd_rate"]["ssimulacra2"]):
        assert {"generic", "content_aware", "content_aware_ladder"} <= rates.keys()
        assert set(rates.values()) == {None}


def test_what_the_bench_cannot_use_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"^empty\.mp4 is empty; give a video file\.$"):
        bench(str(tmp_path / "empty.mp4"))
    night = make_clip(
        tmp_path / "night.mp4",
        width_px=640,
        height_px=180,
        frames=4,
        paint=lambda w, h, _: np.zeros((h, w, 3), np.uint8),
    )
    with pytest.raises(InputError, match="nothing to train on"):
        bench(str(night), "--heights", "90,180")


def test_quality_is_told_for_each_training_time() -> None:
    asked = EnhanceBenchOptions(
        train_seconds=0,
        tiers=(Tier.LOW, Tier.HIGH),
        content=True,
        planned=False,
        every_frames=25,
        speed_seconds=0,
        curve_s=(1.0,),
    )
    prepared = open_title(tiny_library().root, TITLE_ID, TINY_CLIP)
    generic, trained = measure_training_curve(prepared, asked, lambda *_: None)
    assert (generic["seconds"], trained["seconds"]) == (0, 1)
    assert trained["vmaf_neg"] != generic["vmaf_neg"]
    told = EnhanceBenchResult(
        clip=TINY_CLIP.name,
        provenance=Provenance(seen={}, sources=300, unknown=20),
        usual=(),
        planned=(),
        training=(generic, trained),
        seconds={},
    ).as_text()
    assert "not seen in the training of the generic weights; 280 of its 300 sources" in told
    assert f"after 1 s of training: VMAF {trained['vmaf']:.2f}" in told
