"""Sizes for what a model leaves open: what its maker most likely meant, so that it can be run at all.

-1 stands for an open size. A batch is one. Pictures have 3 channels and 224 pixels a side unless they say otherwise,
texts 32 tokens, and sounds 512 samples.
"""

from __future__ import annotations

from collections.abc import Sequence

PICTURE_PX, TOKENS, SAMPLES, STEPS = 224, 32, 512, 32
PICTURES_PX = ((PICTURE_PX, PICTURE_PX), (48, 320), (640, 640))
"""(height, width) to be tried in turn: objects, a line of text, a scene."""
_CHANNELS = (1, 3, 4)

Shape = tuple[int, ...]


def fill_shape(shape: Sequence[int], dtype: str, picture_px: tuple[int, int] = PICTURES_PX[0]) -> Shape:
    """`shape` without open sizes."""
    rank = len(shape)
    usual: Sequence[int]
    if rank == 4:
        usual = (1, 3, *picture_px) if _is_channels_first(shape) else (1, *picture_px, 3)
    elif rank == 2:
        usual = (1, TOKENS) if is_integer(dtype) else (1, SAMPLES)
    elif rank == 3 and shape[0] > 0:
        usual = (1, 1, STEPS)  # a state: layers, batch, numbers
    else:
        usual = (1, *(STEPS,) * (rank - 1)) if rank else ()
    return tuple(known if known > 0 else guess for known, guess in zip(shape, usual, strict=True))


def is_integer(dtype: str) -> bool:
    """Whether a data type, in any of the formats' spellings, is of whole numbers."""
    return dtype.startswith(("i", "u", "long"))


def picture_of(shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(channels, height, width) of one picture of up to four channels; None for anything else."""
    if len(shape) != 4 or shape[0] not in (1, -1):
        return None
    first = _is_channels_first(shape)
    channels, height, width = (shape[1], shape[2], shape[3]) if first else (shape[3], shape[1], shape[2])
    return (channels, height, width) if channels in _CHANNELS else None


def _is_channels_first(shape: Sequence[int]) -> bool:
    if shape[1] in _CHANNELS:
        return True
    return shape[3] not in _CHANNELS and shape[1] <= 0
