"""The ladder: sizes that fit the display, caps that come from the title, segments that start where they should."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.errors import InputError, MediaError
from abr.media.probe import display_size
from abr.media.source_frames import on_grid
from abr.media.timeline import tidy_rate
from server.ingest.encode import mark_key_frames, threads_of, timescale
from server.ingest.encoders.sound import frame_ends
from server.ingest.ladder import caps_from_samples, plan_sizes

SIDES = st.integers(32, 1080).map(lambda half: half * 2)


def sizes(width_px: int, height_px: int) -> list[tuple[int, int]]:
    return [(rung.width_px, rung.height_px) for rung in plan_sizes(width_px, height_px)]


def test_the_usual_ladders() -> None:
    assert sizes(1280, 720) == [(320, 180), (426, 240), (640, 360), (854, 480), (1280, 720)]
    assert sizes(1920, 1080) == [(320, 180), (480, 270), (640, 360), (960, 540), (1280, 720), (1920, 1080)]
    assert sizes(960, 540) == [(320, 180), (480, 270), (640, 360), (960, 540)]
    assert sizes(720, 1280)[-1] == (720, 1280)
    assert sizes(720, 1280)[0] == (180, 320)
    assert sizes(160, 120) == [(160, 120)]


@given(SIDES, SIDES)
def test_every_ladder_rises_to_the_display_in_one_shape(width_px: int, height_px: int) -> None:
    rungs = plan_sizes(width_px, height_px)
    assert (rungs[-1].width_px, rungs[-1].height_px) == (width_px, height_px)
    assert len({rung.id for rung in rungs}) == len(rungs)
    pixels = [rung.pixels for rung in rungs]
    assert pixels == sorted(set(pixels))
    for rung in rungs:
        assert rung.width_px % 2 == 0
        assert rung.height_px % 2 == 0
        shape = Fraction(*rung.pixel_aspect)
        assert shape * rung.width_px / rung.height_px == Fraction(width_px, height_px)
        if max(width_px, height_px) < 4 * min(width_px, height_px):
            assert abs(shape - 1) < Fraction(1, 40)


def test_given_heights_are_taken_as_they_are() -> None:
    assert [rung.id for rung in plan_sizes(1920, 1080, (240, 480))] == ["240p", "480p"]


@pytest.mark.parametrize("heights", [(), (181,), (1082,), (2,)])
def test_impossible_heights_are_refused(heights: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        plan_sizes(1920, 1080, heights)


def test_caps_rise_with_the_rungs_and_yield_to_the_user() -> None:
    rungs = plan_sizes(1280, 720, (180, 360, 720))
    caps = [r.cap_bps for r in caps_from_samples(rungs, [[50_000, 90_000], [40_000], [500_000]], 2.0, {720: 900_000})]
    assert caps[0] == 432_000
    assert caps[1] > caps[0]
    assert caps[2] == 900_000


@pytest.mark.parametrize(
    ("given_rate", "tidy"),
    [
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(2997, 100), Fraction(30000, 1001)),
        (Fraction(19001, 317), Fraction(60000, 1001)),
        (Fraction(120), Fraction(60)),
        (Fraction(144), Fraction(48)),
        (Fraction(165), Fraction(55)),
        (Fraction(100), Fraction(50)),
        (Fraction(240000, 1001), Fraction(60000, 1001)),
        (Fraction(1), Fraction(8)),
        (Fraction(25, 2), Fraction(25, 2)),
    ],
)
def test_frame_rates_are_tidied(given_rate: Fraction, tidy: Fraction) -> None:
    assert tidy_rate(given_rate) == tidy


def test_display_size_is_upright_square_and_even() -> None:
    assert display_size(720, 576, Fraction(16, 15), 0) == (768, 576)
    assert display_size(720, 405, Fraction(1), 0) == (720, 404)
    assert display_size(1280, 720, Fraction(1), 90) == (720, 1280)
    assert display_size(3840, 2160, Fraction(1), 0) == (1920, 1080)
    assert display_size(1440, 1080, Fraction(4, 3), 0) == (1920, 1080)


@given(st.fractions(5, 60, max_denominator=1001))
def test_a_frame_lasts_a_whole_number_of_ticks(rate: Fraction) -> None:
    assert (timescale(rate) / rate).denominator == 1


@dataclass
class Marked:
    pict_type: int = 0


@given(st.integers(1, 400), st.integers(1, 120), st.integers(0, 30))
def test_segments_start_where_they_should(count: int, length: int, shortest: int) -> None:
    frames = list(mark_key_frames((Marked() for _ in range(count)), length, shortest))  # type: ignore[misc]
    keys = [index for index, frame in enumerate(frames) if frame.pict_type]
    assert len(frames) == count
    assert keys[0] == 0
    assert all(key % length == 0 for key in keys)
    assert len(keys) == 1 or count - keys[-1] >= shortest
    expected = [start for start in range(0, count, length) if start == 0 or count - start >= shortest]
    assert keys == expected


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.sampled_from([Fraction(25), Fraction(30000, 1001)]))
def test_an_even_source_passes_the_grid_untouched(_: list[int], rate: Fraction) -> None:
    timed = [(Fraction(7) + n / rate + Fraction(n % 3 - 1, 2000), n) for n in range(100)]
    assert list(on_grid(timed, rate, Fraction(7))) == list(range(100))


@given(st.lists(st.fractions(0, 20, max_denominator=1000), min_size=1, max_size=80).map(sorted))
def test_each_grid_cell_shows_the_last_frame_that_began(times: list[Fraction]) -> None:
    rate = Fraction(10)
    shown = list(on_grid([(time - times[0], n) for n, time in enumerate(times)], rate, Fraction(0)))
    cells = [int((time - times[0]) * rate + Fraction(1, 2)) for time in times]
    assert len(shown) == cells[-1] + 1
    for cell, frame in enumerate(shown):
        assert frame == max(n for n, begin in enumerate(cells) if begin <= cell)


def test_frames_out_of_order_or_without_time_do_not_stop_the_grid() -> None:
    times = [Fraction(0), Fraction(2, 10), Fraction(1, 10), None, Fraction(5, 10)]
    shown = list(on_grid([(time, n) for n, time in enumerate(times)], Fraction(10), Fraction(0), cells_min=8))
    assert shown == [0, 0, 2, 3, 3, 4, 4, 4]


def test_an_absurd_jump_in_time_is_refused() -> None:
    with pytest.raises(MediaError, match="jump"):
        list(on_grid([(Fraction(0), 0), (Fraction(10**9), 1)], Fraction(25), Fraction(0)))


@given(st.integers(1, 200), st.sampled_from([Fraction(1, 4), Fraction(2), Fraction(2002, 1000), Fraction(4)]))
def test_sound_segments_end_within_half_an_aac_frame_of_the_picture(count: int, segment_s: Fraction) -> None:
    ends = frame_ends([segment_s * (index + 1) for index in range(count)])
    *overs_s, last_s = (end * Fraction(1024, 48000) - segment_s * (index + 1) for index, end in enumerate(ends))
    assert all(abs(over_s) <= Fraction(512, 48000) for over_s in overs_s)
    assert -Fraction(1024, 48000) < last_s <= 0, "and never outlast the picture, which makes dash.js miss the end"


def test_the_threads_of_an_encoder_are_its_share_of_the_cores() -> None:
    rungs = plan_sizes(1280, 720)
    assert set(threads_of(rungs, 1).values()) == set(threads_of(rungs, 2).values()) == {1}
    assert list(threads_of(rungs, 16).values()) == [1, 1, 2, 4, 9]


def test_rungs_of_a_source_below_its_display_end_at_its_size() -> None:
    rungs = plan_sizes(1920, 1080, None, 360)
    assert [(each.width_px, each.height_px) for each in rungs] == [(320, 180), (480, 270), (640, 360)]
    with pytest.raises(InputError, match="from 64 to 360"):
        plan_sizes(1920, 1080, (480,), 360)
