"""Trusted quality and the rule of offers: what is promised of them, over figures of every kind."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from abr.quality.panel import PANEL, Member
from abr.quality.trusted import (
    DETAIL_JUDGES,
    FIDELITY_JUDGES,
    SHARE_MAX,
    SHARE_MIN,
    attested_share,
    falling_members,
    falls_allowed,
    mirrored_step,
    refusing_members,
    shares,
    trusted_quality,
)

JUDGES = (*FIDELITY_JUDGES, *DETAIL_JUDGES)
PLAIN = {
    "vmaf": 50.0,
    "vmaf_neg": 48.0,
    "psnr_hvs_db": 30.0,
    "xpsnr_y_db": 31.0,
    "ms_ssim": 0.93,
    "ssimulacra2": 20.0,
    "erqa": 0.3,
}
NEXT_RUNG = {
    "vmaf": 60.0,
    "vmaf_neg": 58.0,
    "psnr_hvs_db": 32.0,
    "xpsnr_y_db": 33.0,
    "ms_ssim": 0.95,
    "ssimulacra2": 35.0,
    "erqa": 0.4,
}


def lifted_by(share_of: dict[str, float], vmaf: float) -> dict[str, float]:
    """A picture that makes up the given shares of the step to the next rung."""
    raised = {name: PLAIN[name] + share_of[name] * (NEXT_RUNG[name] - PLAIN[name]) for name in share_of}
    return PLAIN | raised | {"vmaf": vmaf}


SHARES = st.fixed_dictionaries({judge.name: st.floats(-1.5, 2.5) for judge in JUDGES})
VMAF = st.floats(0, 100)
FIGURES = st.fixed_dictionaries(
    {}, optional={member.name: st.floats(0, 100) for member in PANEL if member.name != "vmaf"}
).flatmap(lambda figures: st.fixed_dictionaries({"vmaf": VMAF}).map(lambda vmaf: figures | vmaf))


def test_the_formula_worked_by_hand() -> None:
    """Fidelity members say 0.1, 0.2, 0.3, 0.4 of a step, detail members 0.8 and 1.0: (0.25 + 0.9) / 2 of 10 VMAF."""
    lifted = lifted_by(
        {"psnr_hvs_db": 0.1, "xpsnr_y_db": 0.2, "ms_ssim": 0.3, "ssimulacra2": 0.4, "vmaf_neg": 0.8, "erqa": 1.0},
        vmaf=64,
    )
    assert attested_share(PLAIN, lifted, NEXT_RUNG) == pytest.approx(0.575)
    assert trusted_quality(PLAIN, lifted, NEXT_RUNG) == pytest.approx(55.75)


def test_a_lift_that_only_vmaf_sees_counts_nothing() -> None:
    assert trusted_quality(PLAIN, PLAIN | {"vmaf": 70.0}, NEXT_RUNG) == 50


def test_one_member_that_disagrees_does_not_decide() -> None:
    agreed = lifted_by(dict.fromkeys((judge.name for judge in JUDGES), 0.5), vmaf=60)
    odd = agreed | {"xpsnr_y_db": 10.0}
    assert trusted_quality(PLAIN, odd, NEXT_RUNG) == pytest.approx(trusted_quality(PLAIN, agreed, NEXT_RUNG))


@given(plain=FIGURES, next_rung=st.none() | FIGURES)
def test_without_a_lift_it_is_plain_vmaf(plain: dict[str, float], next_rung: dict[str, float] | None) -> None:
    assert trusted_quality(plain, plain, next_rung) == plain["vmaf"]


@given(plain=FIGURES, lifted=FIGURES, next_rung=st.none() | FIGURES)
def test_it_is_never_above_lifted_vmaf_unless_that_fell_and_never_more_than_a_step_below_plain(
    plain: dict[str, float], lifted: dict[str, float], next_rung: dict[str, float] | None
) -> None:
    trusted = trusted_quality(plain, lifted, next_rung)
    step = max(0.0, next_rung["vmaf"] - plain["vmaf"]) if next_rung else 0.0
    assert 0 <= trusted <= max(0.0, lifted["vmaf"]) + 1e-9
    assert trusted >= min(plain["vmaf"] - step, lifted["vmaf"]) - 1e-9
    assert trusted <= plain["vmaf"] + SHARE_MAX * step + 1e-9


@given(share_of=SHARES, judge=st.sampled_from(JUDGES), more=st.floats(0, 2), vmaf=VMAF)
def test_it_never_falls_when_a_member_says_better(
    share_of: dict[str, float], judge: Member, more: float, vmaf: float
) -> None:
    better = share_of | {judge.name: share_of[judge.name] + more}
    before, after = (trusted_quality(PLAIN, lifted_by(each, vmaf), NEXT_RUNG) for each in (share_of, better))
    assert after >= before - 1e-9


@given(share_of=SHARES, vmaf=VMAF, more=st.floats(0, 20))
def test_it_never_falls_when_vmaf_says_better(share_of: dict[str, float], vmaf: float, more: float) -> None:
    before, after = (trusted_quality(PLAIN, lifted_by(share_of, each), NEXT_RUNG) for each in (vmaf, vmaf + more))
    assert after >= before - 1e-9


@given(share=st.floats(-1, 1), vmaf=st.floats(61, 90))
def test_when_all_agree_their_share_is_what_counts(share: float, vmaf: float) -> None:
    lifted = lifted_by(dict.fromkeys((judge.name for judge in JUDGES), share), vmaf)
    assert trusted_quality(PLAIN, lifted, NEXT_RUNG) == pytest.approx(50 + 10 * share)


@given(share_of=SHARES)
def test_shares_are_bounded(share_of: dict[str, float]) -> None:
    found = shares(JUDGES, PLAIN, lifted_by(share_of, 60), NEXT_RUNG)
    assert found == pytest.approx(
        {name: min(SHARE_MAX, max(SHARE_MIN, share)) for name, share in share_of.items()}, abs=1e-9
    )


@given(share_of=SHARES, fallen=st.sets(st.sampled_from(JUDGES), max_size=len(JUDGES) - 1), by=st.floats(0, 5))
def test_a_member_that_finds_the_next_rung_no_better_says_nothing(
    share_of: dict[str, float], fallen: set[Member], by: float
) -> None:
    lifted = lifted_by(share_of, 70)
    names = {judge.name for judge in fallen}
    worse = NEXT_RUNG | {name: PLAIN[name] - by for name in names}
    absent = {name: figure for name, figure in lifted.items() if name not in names}
    assert trusted_quality(PLAIN, lifted, worse) == trusted_quality(PLAIN, absent, NEXT_RUNG)


def test_a_step_within_the_members_own_noise_is_no_step() -> None:
    nearly = NEXT_RUNG | {judge.name: PLAIN[judge.name] + 2 * judge.tolerance for judge in JUDGES}
    lifted = lifted_by(dict.fromkeys((judge.name for judge in JUDGES), 1.0), 70)
    assert attested_share(PLAIN, lifted, nearly) is None
    assert trusted_quality(PLAIN, lifted, nearly) == 50


def test_with_one_group_missing_the_other_decides() -> None:
    lifted = lifted_by({"vmaf_neg": 0.6, "erqa": 0.8}, 70)
    detail = {name: lifted[name] for name in ("vmaf", "vmaf_neg", "erqa")}
    assert trusted_quality(PLAIN, detail, NEXT_RUNG) == pytest.approx(57)


def test_at_the_top_rung_only_a_loss_counts_unless_a_step_is_given() -> None:
    lifted = lifted_by(dict.fromkeys((judge.name for judge in JUDGES), 0.5), 70)
    assert trusted_quality(PLAIN, lifted, None) == 50
    assert trusted_quality(PLAIN, lifted | {"vmaf": 45.0}, None) == 45
    below = {name: 2 * PLAIN[name] - NEXT_RUNG[name] for name in PLAIN}
    assert trusted_quality(PLAIN, lifted, mirrored_step(below, PLAIN)) == pytest.approx(55)


def test_a_lifted_picture_is_never_taken_for_better_than_the_next_rung() -> None:
    lifted = lifted_by(dict.fromkeys((judge.name for judge in JUDGES), 3.0), 90)
    assert trusted_quality(PLAIN, lifted, NEXT_RUNG) == NEXT_RUNG["vmaf"]


@given(figures=FIGURES)
def test_no_member_falls_when_nothing_changed(figures: dict[str, float]) -> None:
    assert falling_members(figures, figures) == ()


@given(member=st.sampled_from(PANEL), times=st.floats(-5, 5))
def test_a_member_falls_when_it_is_worse_by_more_than_can_hardly_be_seen(member: Member, times: float) -> None:
    assume(abs(times + 1) > 1e-3)
    plain = {each.name: 10.0 for each in PANEL}
    allowed = member.hardly_visible(10.0)
    change = times * allowed if member.higher_is_better else -times * allowed
    lifted = plain | {member.name: 10.0 + change}
    assert falling_members(plain, lifted) == ((member.name,) if times < -1 else ())
    assert falling_members(plain, lifted, {member.name: 6 * allowed}) == ()


def test_flicker_is_hidden_by_what_changes_already_and_nothing_else_is() -> None:
    """Legge and Foley's law worked by hand: on sixteen times the threshold, 16^0.6 = 5.28 times as much is hidden."""
    flicker = next(member for member in PANEL if member.name == "flicker")
    assert flicker.hardly_visible(0.0) == flicker.hardly_visible(0.23) == pytest.approx(0.0575)
    assert flicker.hardly_visible(16 * 0.23) == pytest.approx(0.0575 * 5.278, rel=1e-3)
    others = [member for member in PANEL if member is not flicker]
    assert all(member.hardly_visible(90.0) == member.invisible for member in others)


def test_members_that_a_side_lacks_do_not_fall() -> None:
    assert falling_members({"ssim": 0.9}, {"erqa": 0.1}) == ()


@pytest.mark.parametrize(("segments", "bad", "offered"), [(20, 1, True), (20, 2, False), (19, 1, False), (7, 0, True)])
def test_a_member_may_fall_on_one_segment_in_twenty(segments: int, bad: int, offered: bool) -> None:
    plain = [{"ssim": 0.9, "flicker": 1.0}] * segments
    lifted = [{"ssim": 0.9, "flicker": 1.5}] * bad + [{"ssim": 0.95, "flicker": 0.5}] * (segments - bad)
    assert refusing_members(plain, lifted) == (() if offered else ("flicker",))


def test_different_members_may_each_fall_on_a_segment_of_their_own() -> None:
    plain = [{"ssim": 0.9, "flicker": 1.0}] * 20
    lifted = [{"ssim": 0.8, "flicker": 1.0}, {"ssim": 0.9, "flicker": 2.0}, *plain[2:]]
    assert refusing_members(plain, lifted) == ()


def test_titles_of_different_length_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        refusing_members([{"ssim": 1.0}], [])


@pytest.mark.parametrize(("judged", "allowed"), [(0, 0), (1, 1), (6, 1), (10, 2), (30, 4), (100, 9)])
def test_a_sample_refuses_only_what_chance_does_not_explain(judged, allowed):
    """Binomial tables: of 6 segments two falls are beyond 5 %, of 100 ten are."""
    assert falls_allowed(judged) == allowed
