"""How a picture's numbers stand for colours, by what it says of itself and by custom."""

from __future__ import annotations

from abr.media.survey import PictureFormat

_SD_HEIGHT_MAX_PX = 576
_FULL_RANGE = 2
"""AVCOL_RANGE_JPEG."""


def matrix_of(picture: PictureFormat) -> str:
    """Untagged standard definition is BT.601 by custom, anything larger BT.709."""
    if picture.rgb:
        return "rgb"
    tagged = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}.get(picture.colour_space)
    return tagged or ("bt601" if picture.height_px <= _SD_HEIGHT_MAX_PX else "bt709")


def is_full_range(picture: PictureFormat) -> bool:
    """Whether black is 0 and white 255."""
    return picture.colour_range == _FULL_RANGE or picture.pixel_format.startswith("yuvj")
