"""Degradations for training."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest

from abr.blur.kernel import Blur, bicubic_kernel
from abr.media.planes import luma_of
from enhancers.restoration.degradation import (
    Compression,
    Degradation,
    degrade,
    draw_degradation,
    drifting_blurs,
    shrink,
)


def film(frames: int = 3) -> np.ndarray:
    """Soft blobs that move, uint8 (frames, 128, 192)."""
    y, x = np.mgrid[:128, :192]
    waves = [np.sin((x + 3 * i) / 7) * np.cos(y / 5) + np.sin((x + y - 2 * i) / 11) for i in range(frames)]
    return np.clip(128 + 50 * np.stack(waves), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 4])
def test_shrinking_is_not_shifted_against_the_scaler_that_grows_pictures_again(scale: int) -> None:
    source = film(1)[0]
    own = shrink(source, bicubic_kernel(scale), scale)
    frame = av.VideoFrame.from_ndarray(source, format="gray8")
    theirs = luma_of(frame.reformat(192 // scale, 128 // scale, "gray8", interpolation="BICUBIC"))
    assert np.abs(own - theirs)[2:-2, 2:-2].mean() < 0.5


def test_a_seed_gives_the_same_picture_again() -> None:
    drawn = [draw_degradation(seed, 2) for seed in (5, 5, 6)]
    low = [degrade(film(), each) for each in drawn]
    assert low[0].shape == (3, 64, 96)
    assert np.array_equal(low[0], low[1])
    assert not np.array_equal(low[0], low[2])


@pytest.mark.parametrize("codec", ["h264", "mpeg2"])
def test_coarser_compression_leaves_less(codec: str) -> None:
    def error(quality: float) -> float:
        blur = Blur.of_axes(0.4, 0.3, 0.0).kernel(2)
        clean = Degradation(scale=2, kernels=(blur,))
        lossy = Degradation(scale=2, kernels=(blur,), compression=Compression(codec=codec, quality=quality))
        return float(np.abs(degrade(film(), clean).astype(int) - degrade(film(), lossy)).mean())

    assert 0 < error(4) < error(24)


def test_a_drifting_kernel_moves_a_little_at_a_time_and_ends_elsewhere() -> None:
    blurs = drifting_blurs(3, 50)
    steps = [abs(one.xx - other.xx) for one, other in pairwise(blurs)]
    assert max(steps) < 0.1 * abs(blurs[0].xx - blurs[-1].xx) + 1e-9
