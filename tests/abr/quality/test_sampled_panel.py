"""Judging single frames: the same figures as over all frames, of the frames that a title's length allows."""

from __future__ import annotations

import numpy as np
import pytest

from abr.quality.panel import PANEL, score_panel
from abr.quality.pictures import Planes
from abr.quality.sampled_panel import TABLED, SampledPanel, join_panels, judged_frames

WIDTH, HEIGHT = 192, 176


def moving_pictures(frames: int) -> list[tuple[Planes, Planes]]:
    """Noise that drifts, and the same with errors of its own in each frame."""
    rng = np.random.default_rng(7)
    field = rng.integers(40, 200, (HEIGHT + 64, WIDTH + 64)).astype(np.uint8)
    pairs = []
    for index in range(frames):
        luma = field[index : index + HEIGHT, 2 * index : 2 * index + WIDTH]
        chroma = luma[::2, ::2] // 2 + 64
        wrong = np.clip(luma + rng.integers(-9, 10, luma.shape), 16, 235).astype(np.uint8)
        pairs.append(((luma, chroma, chroma.copy()), (wrong, chroma + 2, chroma - 1)))
    return pairs


def test_a_judged_frame_gets_the_figures_that_it_has_among_all_frames() -> None:
    pairs = moving_pictures(12)
    members = [member for member in PANEL if member.name not in TABLED]
    whole = score_panel(pairs, width_px=WIDTH, height_px=HEIGHT, fps=24, members=members)
    with SampledPanel(WIDTH, HEIGHT, 24) as panel:
        for segment, frame in ((0, 4), (3, 9)):
            panel.judge(segment, pairs[frame - 2 : frame + 1])
        found = panel.finish()
    assert found is not None and found.segment == (0, 3)
    assert set(found.figures) == {member.name for member in members}
    for name, values in found.figures.items():
        assert values == pytest.approx(whole.values[name][[4, 9]], abs=1e-4), name


def test_nothing_judged_is_no_figures() -> None:
    with SampledPanel(WIDTH, HEIGHT, 24) as panel:
        assert panel.finish() is None
    assert join_panels([None, None]) is None


@pytest.mark.parametrize(
    ("segments", "every", "judged"),
    [(9, 3, [1, 4, 7]), (1, 3, [0]), (2, 3, [0]), (4, 1, [0, 1, 2, 3]), (5, 0, []), (3, 99, [1])],
)
def test_one_segment_in_so_many_is_judged_by_its_middle_frame(segments: int, every: int, judged: list[int]) -> None:
    frames = [10] * segments
    assert judged_frames(frames, every) == {segment: 10 * segment + 5 for segment in judged}
