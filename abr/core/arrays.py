"""Types of the arrays that menus, tables and decisions are made of, and arithmetic for one number or for an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from abr.core import scalar_math

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Truths = npt.NDArray[np.bool_]

Number = float | Floats
"""A number of one session, or the same number of M sessions as a column (M,)."""


def stored_bytes(table: Floats) -> int:
    """What a table takes, (S, O): one row where all are the same one."""
    return table.nbytes if all(table.strides) else table[0].nbytes


def namespace_of(value: Number | int | Indices) -> Any:
    """The functions to compute with: numpy's for an array, `abr.core.scalar_math` for a number.

    A formula that takes its functions from here is written once for one session and for many. On one number numpy
    itself would take ten times as long as Python.
    """
    return np if isinstance(value, np.ndarray) else scalar_math
