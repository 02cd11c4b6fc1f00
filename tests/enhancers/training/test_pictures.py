"""Photographs that are panned over to train on: they move, stay whole and never leave the picture."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from abr.errors import MediaError
from enhancers.training.photo_pans import pan_over


def photograph(path: Path, width_px: int, height_px: int) -> np.ndarray:
    """A picture in which the luma of every 8 × 8 block is its own; written as PNG and read back as yuv420p luma."""
    blocks = np.random.default_rng(1).integers(30, 220, (height_px // 8, width_px // 8), np.uint8)
    rgb = np.repeat(np.kron(blocks, np.ones((8, 8), np.uint8))[:, :, None], 3, axis=2)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "rgb24"
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return frame.reformat(format="yuv420p", dst_color_range="MPEG").to_ndarray()[:height_px]


def place(window: np.ndarray, picture: np.ndarray) -> tuple[int, int]:
    """Where the window was cut out of the picture."""
    rows, columns = picture.shape[0] - window.shape[0] + 1, picture.shape[1] - window.shape[1] + 1
    found = [
        (y, x)
        for y in range(rows)
        for x in range(columns)
        if np.array_equal(picture[y, x : x + window.shape[1]], window[0])
        and np.array_equal(picture[y : y + window.shape[0], x : x + window.shape[1]], window)
    ]
    assert len(found) == 1
    return found[0]


def test_the_window_moves_over_the_picture_and_bounces_off_its_edges(tmp_path: Path) -> None:
    picture = photograph(tmp_path / "a.png", 320, 200)
    film = list(pan_over(str(tmp_path / "a.png"), width_px=256, height_px=160, frames=30, seed=3))
    places = np.array([place(frame.y, picture) for frame in film])
    steps = np.abs(np.diff(places, axis=0))
    assert {frame.y.shape for frame in film} == {(160, 256)}
    assert steps.max() <= 4
    assert steps.max(axis=1).mean() > 1
    assert not np.array_equal(places[0], places[-1])


def test_a_large_picture_is_brought_near_the_window_and_a_small_one_is_left_alone(tmp_path: Path) -> None:
    photograph(tmp_path / "large.png", 1600, 1200)
    photograph(tmp_path / "small.png", 104, 72)
    size = {"width_px": 256, "height_px": 160, "frames": 2}
    assert next(pan_over(str(tmp_path / "large.png"), **size)).y.shape == (160, 256)
    assert [frame.y.shape for frame in pan_over(str(tmp_path / "small.png"), **size)] == [(72, 104)] * 2


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"not a picture at all")
    with pytest.raises(MediaError, match=r"a\.jpg"):
        next(pan_over(str(tmp_path / "a.jpg"), width_px=256, height_px=160, frames=2))
