"""Damaging things on purpose: bytes and JSON values that are almost right."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

_ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    -(1 << 63),
    1 << 64,
    10**30,
    "",
    "\0",
    "é" * 3000,
    "../..",
    [],
    {},
    [[]],
]
_AN_ODD = st.sampled_from(_ODD).map(copy.deepcopy)
"""Copies, since what is put into a value may be damaged next."""


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """A few stretches of `whole` overwritten, cut out, doubled or swapped; perhaps cut short."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 64))
        match draw(st.sampled_from(["overwrite", "cut", "double", "insert", "end"])):
            case "overwrite":
                data[at : at + length] = draw(st.binary(min_size=1, max_size=length))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=length))
            case "end":
                del data[at:]
    return bytes(data)


@st.composite
def damaged_json(draw: st.DrawFn, whole: Any) -> Any:
    """A copy of a JSON value in which a few places hold something odd, are missing, or are there twice."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        parent, place = value, None
        for _ in range(draw(st.integers(1, 6))):
            keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
            if not keys:
                break
            place = draw(st.sampled_from(keys))
            if not isinstance(parent[place], dict | list):
                break
            if draw(st.booleans()):
                parent = parent[place]
                place = None
        if place is None:
            continue
        match draw(st.sampled_from(["odd", "drop", "add"])):
            case "odd":
                parent[place] = draw(_AN_ODD | st.floats(allow_nan=False, allow_infinity=False) | st.text())
            case "drop":
                del parent[place]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=8))] = draw(_AN_ODD)
            case "add":
                parent.insert(place, draw(_AN_ODD))
    return value
