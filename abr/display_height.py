"""How high displays are, and such a height given on the command line: 1080p."""

from __future__ import annotations

import re
from typing import Any

import click

DISPLAY_MIN_PX = 128
DISPLAY_MAX_PX = 1080
"""Of titles, along the short side."""


class DisplayHeight(click.ParamType):  # type: ignore[type-arg]
    """`1080p` or `1080`: pixels along the short side, even, from DISPLAY_MIN_PX to `most_px`."""

    name = "height"

    def __init__(self, most_px: int = DISPLAY_MAX_PX) -> None:
        self.most_px = most_px

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Pixels; a usage error for what is no such height."""
        found = re.fullmatch(r"([1-9][0-9]{2,4})p?", str(value), re.ASCII)
        height_px = int(found[1]) if found else 0
        if height_px % 2 or not DISPLAY_MIN_PX <= height_px <= self.most_px:
            allowed = f"from {DISPLAY_MIN_PX}p to {self.most_px}p"
            self.fail(f"{value!r} is not the even height of a display such as 720p, {allowed}.", param, ctx)
        return height_px
