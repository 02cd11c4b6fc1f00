"""Pictures to time and to check networks on."""

from __future__ import annotations

import numpy as np

from enhancers.runtime.encode import compress
from enhancers.runtime.frames import Frame, decode_segment, frame_of

_PICTURES, _MOVING_PICTURES = 4, 24


def make_pictures(width_px: int, height_px: int) -> list[Frame]:
    """Frames of noise over a gradient, always the same. The work of a network does not depend on its picture."""
    random = np.random.default_rng(0)
    ramp = np.linspace(40, 200, width_px, dtype=np.float32)
    chroma = np.full(((height_px + 1) // 2, (width_px + 1) // 2), 128, np.uint8)
    lumas = (np.clip(ramp + random.normal(0, 12, (height_px, width_px)), 16, 235) for _ in range(_PICTURES))
    return [frame_of(luma.astype(np.uint8), chroma, chroma) for luma in lumas]


def make_colourful_pictures(width_px: int, height_px: int) -> list[Frame]:
    """`make_pictures` with noise in their chroma, softer than that of luma."""
    random = np.random.default_rng(1)
    half = (height_px + 1) // 2, (width_px + 1) // 2
    noise = (np.clip(random.normal(128, 12, (2, *half)), 16, 240).astype(np.uint8) for _ in range(_PICTURES))
    return [frame_of(frame.y, *uv) for frame, uv in zip(make_pictures(width_px, height_px), noise, strict=True)]


def make_moving_pictures(width_px: int, height_px: int) -> list[Frame]:
    """A coded pan over one of `make_pictures`, decoded with its motion: a key frame, then predicted ones."""
    still = make_pictures(width_px, height_px)[0]
    pan = [frame_of(np.roll(still.y, -2 * index, axis=1), still.u, still.v) for index in range(_MOVING_PICTURES)]
    return list(decode_segment(compress(pan, 27, preset="ultrafast", b_frames=0), motion=True))
