"""Blur kernels and their codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.blur.kernel import CODE_FLOATS, Blur, bicubic_kernel, blur_of, code_distance, code_of, distance

BLURS = st.builds(
    lambda major, share, angle: Blur.of_axes(major, max(0.2, major * share), angle),
    st.floats(0.25, 1.6),
    st.floats(0.25, 1.0),
    st.floats(-1.5, 1.5),
)


@given(BLURS, st.sampled_from([2, 4]))
def test_a_code_tells_the_kernel_that_it_was_made_of(blur: Blur, scale: int) -> None:
    kernel = blur.kernel(scale)
    assert kernel.sum() == pytest.approx(1)
    assert distance(blur_of(code_of(kernel, scale)).kernel(scale), kernel) < 0.1


def test_a_code_means_the_same_at_every_scale() -> None:
    blur = Blur.of_axes(1.1, 0.5, 0.4)
    assert code_of(blur.kernel(2), 2) == pytest.approx(code_of(blur.kernel(4), 4), abs=0.005)


def test_a_kernel_is_centred_between_the_pixels_that_a_source_pixel_covers() -> None:
    for kernel in (Blur.of_axes(0.8, 0.5, 0.6).kernel(2), bicubic_kernel(4)):
        assert len(kernel) % 2 == 0
        assert np.allclose(kernel, kernel[::-1, ::-1])


def test_the_bicubic_filter_of_ladders_counts_as_sharp() -> None:
    code = code_of(bicubic_kernel(2), 2)
    assert len(code) == CODE_FLOATS
    assert blur_of(code).axes[0] < 0.3


def test_kernels_differ_by_their_width_and_their_direction() -> None:
    across, down = (code_of(Blur.of_axes(1.2, 0.4, angle).kernel(4), 4) for angle in (0, np.pi / 2))
    assert code_distance(across, across) == 0
    assert code_distance(across, down) > 0.8
