"""What the panel's figures say of a lifted rung: its trusted quality segment by segment, and why it is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from titles import prepared_title

from abr.core.title import PanelFigures, Quality
from abr.quality.segment_figures import LiftJudge, figures_by_segment, lift_judge, mean_figures
from abr.quality.trusted import falling_members

JUDGED = (1, 4)
PLAIN = {"psnr_hvs_db": 30.0, "xpsnr_y_db": 31.0, "ms_ssim": 0.9, "ssimulacra2": 20.0, "erqa": 0.3, "flicker": 1.0}
STEP = {"psnr_hvs_db": 2.0, "xpsnr_y_db": 2.0, "ms_ssim": 0.05, "ssimulacra2": 20.0, "erqa": 0.2, "flicker": -0.3}


def quality(vmaf: float, share: float = 0.0, **other: float) -> Quality:
    """Six segments, of which the panel judged two: `share` of the step to the next rung, save `other` members."""
    figures = {name: PLAIN[name] + share * STEP[name] for name in PLAIN} | other
    neg = 48.0 + share * 10
    return Quality(
        vmaf=(vmaf,) * 6,
        vmaf_neg=(neg,) * 6,
        ssim=(0.9 + 0.01 * share,) * 6,
        psnr_y_db=(30.0 + share,) * 6,
        panel=PanelFigures(segment=JUDGED, figures={name: (value,) * 2 for name, value in figures.items()}),
    )


AGAINST = LiftJudge(plain=figures_by_segment(quality(50.0)), above=figures_by_segment(quality(60.0, 1.0)))


def test_a_segment_takes_the_word_of_the_nearest_judged_one() -> None:
    whole = quality(50.0)
    assert whole.panel is not None
    told = replace(whole, panel=replace(whole.panel, figures={"erqa": (0.1, 0.9)}))
    assert [each["erqa"] for each in figures_by_segment(told)] == [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]
    assert mean_figures(told, (48,) * 6)["erqa"] == pytest.approx(0.5)


def test_what_the_panel_attests_counts_and_never_more_than_vmaf_says() -> None:
    assert AGAINST.with_trust(quality(65.0, 0.3)).trusted == pytest.approx((53.0,) * 6)
    assert AGAINST.with_trust(quality(52.0, 0.3)).trusted == pytest.approx((52.0,) * 6)
    assert AGAINST.with_trust(quality(50.0)).trusted == pytest.approx((50.0,) * 6)


def test_without_a_panel_vmaf_counts() -> None:
    bare = replace(quality(65.0, 0.3), panel=None)
    assert AGAINST.with_trust(bare).trusted == ()
    film, _ = prepared_title()
    old = {id_: replace(each, panel=None) for id_, each in film.plain_quality.items()}
    assert lift_judge(replace(film, plain_quality=old), film.renditions[0].id).above is None


def test_an_honest_lift_is_not_refused() -> None:
    assert AGAINST.refusals(quality(65.0, 0.3)) == ()


def test_one_member_that_falls_visibly_refuses() -> None:
    assert AGAINST.refusals(quality(65.0, 0.3, flicker=1.05)) == ()
    assert AGAINST.refusals(quality(65.0, 0.3, flicker=1.3)) == ("flicker",)


def test_what_motion_hides_in_one_place_may_not_be_the_rule() -> None:
    """Flicker up by 0.1: hidden on each segment by the change that is there, too much for a whole title."""
    before, after = {"flicker": 1.0}, {"flicker": 1.1}
    assert falling_members(before, after) == ()
    assert AGAINST.refusals(quality(65.0, 0.3, flicker=1.1)) == ("flicker",)


def test_fidelity_that_falls_on_the_whole_refuses_though_no_member_falls_visibly() -> None:
    little = {"psnr_hvs_db": 29.95, "xpsnr_y_db": 30.95, "ms_ssim": 0.8998, "ssimulacra2": 19.8}
    assert AGAINST.refusals(quality(65.0, 0.3, **little)) == ("fidelity",)


def test_the_rung_above_is_the_next_of_the_ladder_and_the_top_one_mirrors_the_one_below() -> None:
    film, _ = prepared_title()
    ids = [rendition.id for rendition in film.renditions]
    points = {id_: quality(40.0 + 10 * place, place / 2) for place, id_ in enumerate(ids)}
    title = replace(film, plain_quality=points)
    lowest, top = lift_judge(title, ids[0]), lift_judge(title, ids[-1])
    assert lowest.above is not None and top.above is not None
    assert lowest.above[0]["vmaf"] == 50.0
    assert top.above[0]["vmaf"] == pytest.approx(40.0 + 10 * len(ids))


def test_one_odd_frame_among_few_judged_ones_does_not_speak_for_its_neighbours() -> None:
    """Of two judged segments one falls: three of six by the word of the nearest, yet no more than chance explains."""
    lifted = quality(55.0, 0.5)
    assert lifted.panel is not None
    once = lifted.panel.figures | {"psnr_hvs_db": (29.0, 33.0)}
    both = lifted.panel.figures | {"psnr_hvs_db": (29.5, 29.5)}
    assert AGAINST.refusals(replace(lifted, panel=replace(lifted.panel, figures=once))) == ()
    assert "psnr_hvs_db" in AGAINST.refusals(replace(lifted, panel=replace(lifted.panel, figures=both)))


def test_what_judges_every_segment_may_fall_on_one_in_twenty_only() -> None:
    falls = replace(quality(55.0, 0.5), psnr_y_db=(29.0, *(31.0,) * 5))
    assert AGAINST.refusals(falls) == ("psnr_y_db",)
