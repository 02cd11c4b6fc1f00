"""A QoE learnt from raters: it goes with what they said, never against more quality or fewer stalls, and is kept."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import RATES_KBPS, write_opinions

from abr.cli import root
from abr.errors import FormatError, InputError
from abr.opinions.agreement_learning import fit_two_streams
from abr.opinions.collected import read_opinions
from abr.opinions.dataset import OpinionSet, parse_opinions
from abr.opinions.evaluation import judge_split, splits_of
from abr.opinions.features import BEYOND, design_of, values_of
from abr.opinions.fitted import FittedQoe, StoredFeature, StoredHeads, fit_qoe, load_qoe
from abr.opinions.methods import METHODS
from abr.opinions.raters import HEADS, item_scores
from abr.records import dumps, loads


@pytest.fixture(scope="module")
def opinions(tmp_path_factory: pytest.TempPathFactory) -> OpinionSet:
    return read_opinions(write_opinions(tmp_path_factory.mktemp("opinions") / "small.json"))


def sessions(random: np.random.Generator, raters: int = 6) -> OpinionSet:
    """Viewers of sessions who mind stalls, changes and a slow start."""
    items = []
    for number in range(80):
        quality, stall = random.uniform(20, 100), random.choice([0.0, 0.0, 2.0, 6.0])
        change, startup = random.uniform(0, 10), random.uniform(0, 8)
        true = 1 + quality / 25 - 0.3 * stall - 0.05 * change - 0.02 * startup
        scores = np.clip(np.rint(true + 0.5 * random.normal(size=raters)), 1, 5).astype(int).tolist()
        told = {"quality": quality, "stall_s": stall, "change": change, "startup_s": startup}
        items.append({"file": f"s{number}", "content_id": number % 8, "scores": scores, "features": told})
    return parse_opinions(json.dumps({"items": items}).encode(), what="sessions")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ranks_contents_that_it_never_saw(opinions: OpinionSet, method: str):
    (split,) = splits_of(opinions, 1, 5, seed=1)
    figures = judge_split(opinions, split, item_scores(opinions.scores), [method])[method]
    assert figures.srocc > 0.9
    assert figures.srocc_within > 0.95
    assert figures.kappa > 0.6
    assert figures.ece < 0.15


def test_a_split_holds_whole_contents_out_and_learns_from_the_others_alone(opinions: OpinionSet):
    (split,) = splits_of(opinions, 1, 5, seed=2)
    held = set(opinions.contents[split.held].tolist())
    assert not held & set(opinions.contents[~split.held].tolist())
    reference = item_scores(opinions.scores)
    upset = opinions.with_scores(np.where(split.held[:, None], 6 - opinions.scores, opinions.scores))
    (other,) = splits_of(upset, 1, 5, seed=2)
    told = [
        judge_split(each, s, reference, ["every-rater"])["every-rater"]
        for each, s in ((opinions, split), (upset, other))
    ]
    assert told[0].srocc == told[1].srocc, "votes on contents held out change nothing of what is learnt"
    assert told[1].kappa < 0 < told[0].kappa


def test_the_agreement_stream_pulls_the_classifier_its_way(opinions: OpinionSet):
    columns = (design := design_of(values_of(opinions))).columns(values_of(opinions))
    alone, pulled = fit_two_streams(columns, opinions.scores, design.directions, (0.0, 4.0))
    np.testing.assert_allclose(alone.chances(columns), alone.classifier.chances(columns))
    agreed = pulled.agreed(columns)
    p, regularised = pulled.classifier.chances(columns), pulled.chances(columns)
    e = np.exp(4.0 * (agreed - 0.5))
    np.testing.assert_allclose(regularised, p * e / (p * e + (1 - p) / e), rtol=1e-9)
    assert ((regularised > p) == (agreed > 0.5)).all()


def test_points_go_with_what_raters_said(opinions: OpinionSet):
    fitted = fit_qoe(opinions, features=("rate_kbps",))
    points = fitted.points({"rate_kbps": np.array([*RATES_KBPS, BEYOND])})
    said = [25 * (np.nanmean(opinions.scores[at::5]) - 1) for at in range(5)]
    np.testing.assert_allclose(points[:5], said, atol=12)
    assert points[5] >= points[4]


def test_stalls_changes_and_slow_starts_are_learnt_where_people_told(tmp_path: Path):
    fitted = fit_qoe(sessions(np.random.default_rng(1)))
    usual = {"quality": 70.0, "stall_s": 0.0, "change": 2.0, "startup_s": 1.0}

    def points(**other: float) -> float:
        return float(fitted.points({name: np.array([value]) for name, value in (usual | other).items()})[0])

    assert points(stall_s=6.0) < points(stall_s=2.0) - 10 < points() - 15
    assert points(quality=95.0) > points() + 10


heads = st.floats(0, 5)


@st.composite
def fits(draw: st.DrawFn) -> FittedQoe:
    """Any fitted QoE whose file would be taken."""
    features = (
        StoredFeature(name="quality", knots=(0.0, 30.0, 60.0, 100.0)),
        StoredFeature(name="change", knots=(0.0, 10.0)),
        StoredFeature(name="stall_s", knots=(0.0, 1.0, 8.0)),
    )

    def stored() -> StoredHeads:
        weights = [draw(heads) for _ in range(6)]
        thresholds = sorted(draw(st.floats(-5, 5)) for _ in HEADS)
        return StoredHeads(weights=(*weights[:3], *(-each for each in weights[3:])), thresholds=tuple(thresholds))

    agreement = draw(st.sampled_from([None, stored()]))
    fitted = FittedQoe(
        made_from="any",
        method="agreement",
        items=1,
        raters=1,
        votes=1,
        features=features,
        classifier=stored(),
        agreement=agreement,
        strength=draw(st.floats(0, 10)) if agreement else 0.0,
    )
    fitted.check("any")
    return fitted


amount = st.floats(0, 120)


@settings(max_examples=60)
@given(fits(), amount, amount, amount, amount, st.sampled_from(["quality", "change", "stall_s"]))
def test_more_quality_is_never_worse_and_more_stalls_never_better(
    fitted: FittedQoe, quality: float, change: float, stall_s: float, other: float, name: str
):
    here = {"quality": quality, "change": change, "stall_s": stall_s}
    low, high = sorted((here[name], other))
    both = {key: np.full(2, value) for key, value in here.items()} | {name: np.array([low, high])}
    less, more = fitted.points(both)
    assert 0 <= less <= 100
    assert (more >= less - 1e-9) if name == "quality" else (more <= less + 1e-9)
    chances = fitted.rater.heads.chances(fitted.design.columns(both))
    assert (np.diff(chances, axis=1) <= 1e-9).all(), "a higher score is never likelier to be reached"


@settings(max_examples=30)
@given(fits())
def test_a_fitted_qoe_is_read_as_it_was_written(fitted: FittedQoe):
    assert loads(dumps(fitted), FittedQoe, what="fitted") == fitted


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"features": (StoredFeature(name="taste", knots=(0.0, 1.0)),)}, "no feature"),
        ({"features": (StoredFeature(name="quality", knots=(1.0, 1.0)),)}, "do not rise"),
        ({"classifier": StoredHeads(weights=(1.0,), thresholds=(0, 1, 2, 3))}, "weights where"),
        ({"classifier": StoredHeads(weights=(-1.0,) * 4, thresholds=(0, 1, 2, 3))}, "never worse"),
        ({"classifier": StoredHeads(weights=(1.0,) * 4, thresholds=(3, 1, 2, 0))}, "thresholds"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    opinions: OpinionSet, tmp_path: Path, changed: dict[str, object], sentence: str
):
    fitted = fit_qoe(opinions, features=("rate_kbps",), method="every-rater")
    path = tmp_path / "qoe.json"
    path.write_bytes(dumps(msgspec.structs.replace(fitted, **changed)))
    with pytest.raises(FormatError, match=sentence):
        load_qoe(path)


def test_features_that_are_not_there_are_named(opinions: OpinionSet):
    with pytest.raises(InputError, match="'stall_s' is not known"):
        fit_qoe(opinions, features=("stall_s",))
    with pytest.raises(InputError, match="weighs 'rate_kbps'"):
        fit_qoe(opinions, features=("rate_kbps",), method="every-rater").points({"height_px": np.ones(1)})


def run(*arguments: str):
    return CliRunner().invoke(root, arguments, catch_exceptions=True)


def test_the_command_writes_what_it_shows(tmp_path: Path):
    small, out = write_opinions(tmp_path / "small.json"), tmp_path / "qoe.json"
    shown = run("qoe", "fit", str(small), "--out", str(out), "--features", "rate_kbps", "--json")
    assert shown.exit_code == 0
    assert shown.stdout.encode() == out.read_bytes()
    assert load_qoe(out).votes == 9 * 5 * 12
    table = run("qoe", "fit", str(small))
    assert "rate_kbps" in table.stdout
    bad = tmp_path / "bad.json"
    bad.write_text('{"items": 3}')
    assert isinstance(run("qoe", "fit", str(bad)).exception, FormatError)


def test_the_bench_compares_methods_split_by_split(tmp_path: Path):
    small = write_opinions(tmp_path / "small.json")
    done = run("bench", "opinions", str(small), "--splits", "3", "--methods", "majority", "--json")
    (report,) = json.loads(done.stdout)
    assert [each["method"] for each in report["methods"]] == ["agreement", "majority"]
    assert report["contents"] == 9
    assert all(each["srocc"] > 0.9 for each in report["methods"])
    assert run("bench", "opinions", str(small), "--methods", "taste").exit_code == 2


def test_opinions_in_which_nothing_matters_make_no_qoe(tmp_path: Path):
    file, out = tmp_path / "alike.json", tmp_path / "qoe.json"
    items = [
        {"file": f"i{quality}", "content_id": 0, "scores": [3, 3], "features": {"quality": quality}}
        for quality in (20, 50, 90)
    ]
    file.write_text(json.dumps({"items": items}))
    result = CliRunner().invoke(root, ["qoe", "fit", str(file), "--out", str(out)])
    assert isinstance(result.exception, InputError)
    assert "nothing depends on quality" in str(result.exception)
    assert not out.exists()
