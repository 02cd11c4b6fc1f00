"""Caps on the rungs of a ladder whose source is not known yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from server.ingest.ladder import Rung

_EXPONENT = 0.75
"""A picture of twice the pixels needs less than twice the bits: the usual rule of thumb, the power of 0.75."""
_BITS = 9.2
"""3.5 Mbit/s for 720 lines at 30 frames a second."""


def caps_by_size(rungs: Sequence[Rung], rate: Fraction, given_bps: Mapping[int, int]) -> tuple[Rung, ...]:
    """Put a cap on each rung by its pixels a second, unless the user gives one for its height (the short side)."""
    return tuple(
        msgspec.structs.replace(
            rung,
            cap_bps=given_bps.get(min(rung.width_px, rung.height_px))
            or round(_BITS * (rung.pixels * float(rate)) ** _EXPONENT / 1000) * 1000,
        )
        for rung in rungs
    )
