"""Some of numpy's functions for plain numbers, under numpy's names (see `abr.core.arrays.namespace_of`)."""

from __future__ import annotations

import math
from typing import TypeVar

T = TypeVar("T")

exp = math.exp
log = math.log
maximum = max
minimum = min


def where(condition: bool, then: T, otherwise: T) -> T:
    """The one value or the other."""
    return then if condition else otherwise
