"""Sharp films to degrade: short runs of luma of videos, shrunk so that what blurred them before hardly counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from abr.media.display_filters import PIXEL_FORMAT
from abr.media.planes import luma_of
from abr.quality.vmaf import crop, is_black, picture_box
from enhancers.restoration.degradation import Lumas
from enhancers.runtime.frames import decode_file

HEIGHT_MAX_PX = 720
_EVERY = 4
"""Sides are a multiple of the largest scale."""


def runs_of(path: Path, *, frames: int, apart: int, runs_max: int) -> list[Lumas]:
    """Up to `runs_max` runs of neighbouring frames (frames, H, W), `apart` frames from one start to the next.

    At most HEIGHT_MAX_PX high, without letterbox borders; dark runs are left out.
    """
    found: list[Lumas] = []
    pictures = (frame.picture for frame in islice(decode_file(str(path)), apart * runs_max))
    scaler, run = VideoReformatter(), []
    for index, picture in enumerate(pictures):
        if index % apart < frames:
            height = min(picture.height, HEIGHT_MAX_PX)
            width = picture.width * height // picture.height & ~1
            fitted = scaler.reformat(picture, width, height, PIXEL_FORMAT, interpolation=Interpolation.LANCZOS)
            run.append(luma_of(fitted).copy())  # asked for grey, swscale would stretch it to full range
        if len(run) == frames:
            if not is_black(run[0]):
                found.append(np.stack(run))
            run = []
    if not found:
        return []
    box = picture_box(run[0] for run in found)
    return [np.stack([crop(luma, box) for luma in run]) for run in found]


def shrunk(run: Lumas, height_px: int) -> Lumas:
    """A run brought to a height by the display scaler, sides cut to a multiple of four."""
    height, width = run.shape[1:]
    wide = width * height_px // height & ~1
    scaler = VideoReformatter()
    pictures = run if height_px == height else np.stack([_scaled(scaler, luma, wide, height_px) for luma in run])
    bottom, right = (side // _EVERY * _EVERY for side in pictures.shape[1:])
    return pictures[:, :bottom, :right]


def _scaled(scaler: VideoReformatter, luma: Lumas, width_px: int, height_px: int) -> Lumas:
    import av

    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray8")
    shown = scaler.reformat(picture, width_px, height_px, "gray8", interpolation=Interpolation.LANCZOS)
    return luma_of(shown).copy()


def cut(run: Lumas, side_px: int, random: np.random.Generator) -> Lumas:
    """A square of a run, at most `side_px` wide, turned or mirrored as `random` draws."""
    height, width = run.shape[1:]
    side = min(side_px, height // _EVERY * _EVERY, width // _EVERY * _EVERY)
    top, left = (int(random.integers(0, edge - side + 1)) for edge in (height, width))
    square = run[:, top : top + side, left : left + side]
    turn = int(random.integers(8))
    turned = np.rot90(square.swapaxes(1, 2) if turn & 4 else square, turn & 3, axes=(1, 2))
    return np.ascontiguousarray(turned)


def clips_of(folder: Path, held_out: Sequence[str]) -> Iterator[Path]:
    """Videos of a folder by name, but those whose names begin as one of `held_out`."""
    kinds = {".mp4", ".webm", ".mpg", ".mkv"}
    for path in sorted(folder.iterdir()):
        if path.suffix in kinds and not path.name.startswith(tuple(held_out)):
            yield path
