"""Kernel tracks: when a kernel stands still, and what is stored of one that does not."""

from __future__ import annotations

import numpy as np
import pytest

from abr.blur.estimator import Estimate
from abr.blur.kernel import CODE_FLOATS
from abr.blur.plot import track_svg
from abr.blur.shots import ShotDetector
from abr.blur.track import KernelTrack, shot_of, smooth
from abr.errors import FormatError
from abr.records import dumps, loads

FPS = 25.0


def estimates(levels: np.ndarray, noise: float, seed: int = 1) -> list[Estimate]:
    """Codes of the same level in all floats, told with a noise; each half of the patches has its own."""
    random = np.random.default_rng(seed)
    found = []
    for level in levels:
        halves = np.clip(level + random.normal(0, noise, (2, CODE_FLOATS)), 0, 1)
        found.append(Estimate(code=tuple(halves.mean(0)), halves=(tuple(halves[0]), tuple(halves[1]))))
    return found


def test_a_kernel_that_stands_still_has_one_code_however_noisy_its_estimates() -> None:
    for noise in (0.01, 0.1):
        shot = shot_of(0, estimates(np.full(75, 0.5), noise), FPS)
        assert not shot.moves
        assert shot.codes[0] == pytest.approx([0.5] * CODE_FLOATS, abs=0.05)


def test_a_kernel_that_drifts_has_a_code_for_each_frame_nearer_to_it_than_the_estimates() -> None:
    levels = np.linspace(0.3, 0.7, 75)
    told = estimates(levels, 0.05)
    shot = shot_of(0, told, FPS)
    assert len(shot.codes) == 75
    errors = [np.abs(np.array(codes) - levels[:, None]).mean() for codes in (shot.codes, [each.code for each in told])]
    assert errors[0] < errors[1] / 2


def test_the_same_drift_under_more_noise_than_it_is_worth_is_not_followed() -> None:
    assert not shot_of(0, estimates(np.linspace(0.49, 0.51, 75), 0.1), FPS).moves


def test_smoothing_keeps_a_slope_up_to_its_ends() -> None:
    slope = np.linspace(0.2, 0.8, 40)[:, None].repeat(CODE_FLOATS, axis=1)
    assert smooth(slope, 5.0) == pytest.approx(slope, abs=1e-9)


def test_frames_that_tell_nothing_take_the_code_of_their_neighbours() -> None:
    told = [None if 20 <= i < 30 else each for i, each in enumerate(estimates(np.linspace(0.3, 0.7, 75), 0.01))]
    shot = shot_of(0, told, FPS)
    assert shot.codes[25][0] == pytest.approx(0.3 + 0.4 * 25 / 74, abs=0.02)
    assert shot_of(0, [None] * 10, FPS).codes == ()


def test_a_track_answers_for_each_frame_and_survives_its_file() -> None:
    still, moving = (
        shot_of(0, estimates(np.full(75, 0.5), 0.02), FPS),
        shot_of(75, estimates(np.linspace(0.3, 0.7, 75), 0.02), FPS),
    )
    track = KernelTrack(frame_rate=(25, 1), estimator="", shots=(still, moving))
    assert loads(dumps(track), KernelTrack, what="it") == track
    assert track.code_at(3) == still.codes[0]
    assert track.code_at(80) == moving.codes[5]
    assert track.code_at(150) is None
    assert track_svg(track, "a <film>").count("<polyline") == 4
    with pytest.raises(FormatError):
        loads(dumps(track).replace(b"0.", b"7."), KernelTrack, what="it")


def test_a_cut_begins_a_shot_and_a_pan_does_not() -> None:
    random = np.random.default_rng(3)
    one, other = (random.integers(low, low + 90, (90, 320), dtype=np.uint8) for low in (20, 140))
    detector = ShotDetector()
    frames = [*(one[:, i : i + 160] for i in range(20)), *(other[:, i : i + 160] for i in range(20))]
    assert [index for index, luma in enumerate(frames) if detector.begins(luma)] == [0, 20]
