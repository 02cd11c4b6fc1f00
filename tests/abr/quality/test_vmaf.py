"""The quality meter against numpy, against itself unsampled, and on pictures with borders and black."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from abr.errors import ToprungError
from abr.quality.vmaf import Luma, Scores, crop, is_black, meter_of, picture_box, score_pairs, segment_means

CLIP = Path(__file__).parents[2] / "data" / "bbb_720p25_5s.mp4"


@pytest.fixture(scope="module")
def frames() -> list[Luma]:
    """The first 20 luma frames of the clip, quarter size so that metering is quick."""
    with av.open(str(CLIP)) as container:
        decoded = [frame for frame, _ in zip(container.decode(video=0), range(20), strict=False)]
    return [frame.reformat(320, 180, format="gray").to_ndarray() for frame in decoded]


def posterised(luma: Luma) -> Luma:
    return (luma // 16) * 16 + 8


def score(frames: list[Luma], every_frames: int = 1) -> Scores:
    pairs = ((frame, posterised(frame)) for frame in frames)
    return score_pairs(pairs, width_px=320, height_px=180, fps=25, every_frames=every_frames)


def test_psnr_is_that_of_the_luma_given(frames: list[Luma]) -> None:
    scores = score(frames)
    errors = [np.mean((frame.astype(float) - posterised(frame)) ** 2) for frame in frames]
    assert scores.psnr_y_db == pytest.approx(10 * np.log10(255**2 / np.array(errors)), abs=1e-3)


def test_sampling_leaves_the_scores_of_the_sampled_frames_as_they_were(frames: list[Luma]) -> None:
    every, sampled = score(frames), score(frames, every_frames=8)
    assert sampled.frame.tolist() == [0, 8, 16]
    assert sampled.vmaf.tolist() == every.vmaf[sampled.frame].tolist()
    assert sampled.vmaf_neg.tolist() == every.vmaf_neg[sampled.frame].tolist()


def test_a_perfect_picture_scores_near_the_top(frames: list[Luma]) -> None:
    scores = score_pairs(((f, f) for f in frames), width_px=320, height_px=180, fps=25)
    assert scores.vmaf[1:].min() > 97
    assert scores.ssim.min() == pytest.approx(1)
    assert scores.psnr_y_db.max() == 60


def test_frames_far_smaller_than_what_ffmpeg_probes_do_not_hang_the_meter() -> None:
    frame = np.full((64, 64), 90, dtype=np.uint8)
    assert len(score_pairs(((frame, frame) for _ in range(200)), width_px=64, height_px=64, fps=24).frame) == 200


def test_a_meter_that_cannot_run_says_why(frames: list[Luma]) -> None:
    with pytest.raises(ToprungError, match="framerate"):
        score_pairs([(frames[0], frames[0])] * 50, width_px=320, height_px=180, fps=-1)


def test_letterbox_borders_are_cropped_and_a_dark_film_is_not(frames: list[Luma]) -> None:
    boxed = [np.pad(frame, ((22, 22), (0, 0)), constant_values=16) for frame in frames]
    assert picture_box(boxed) == (0, 22, 320, 180)
    assert crop(boxed[0], (0, 22, 320, 180)).tolist() == frames[0].tolist()
    dark = np.full((180, 320), 17, dtype=np.uint8)
    assert picture_box([dark]) == (0, 0, 320, 180)
    assert is_black(dark) and not is_black(frames[0])


def test_black_frames_do_not_count_unless_a_segment_has_no_others() -> None:
    values = np.arange(8, dtype=np.float64)
    scores = Scores(frame=np.arange(8), vmaf=values, vmaf_neg=values, ssim=values, psnr_y_db=values)
    keep = np.array([True, False, True, False, False, False, False, False])
    assert segment_means(scores, [4, 4], keep).vmaf == (1.0, 5.5)


def test_a_segment_between_two_samples_takes_the_nearest() -> None:
    values = np.array([10.0, 20.0])
    scores = Scores(frame=np.array([0, 8]), vmaf=values, vmaf_neg=values, ssim=values, psnr_y_db=values)
    assert segment_means(scores, [2, 3, 5], np.ones(10, dtype=bool)).vmaf == (10.0, 10.0, 20.0)


def test_the_meter_names_its_model_and_program() -> None:
    meter = meter_of(every_frames=8, crop=(0, 0, 320, 180))
    assert meter.vmaf_model == "vmaf_v0.6.1" and "ffmpeg" in meter.tool
