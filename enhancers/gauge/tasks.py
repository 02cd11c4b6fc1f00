"""What a model seems to be for, by what goes in and what comes out. A guess, with its reason beside it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from enhancers.gauge.records import Anatomy, Port
from enhancers.gauge.shapes import Shape, is_integer, picture_of

_SCALES = (1.5, 2, 3, 4, 8)
_CLASSES_MAX = 65_536
_RECURRENT = frozenset({"LSTMSequence", "LSTMCell", "GRUSequence", "GRUCell", "TensorIterator", "Loop"})


def classify(anatomy: Anatomy) -> tuple[str, str]:
    """(task, why); ("unknown", why) where nothing fits."""
    ins = _as_run(anatomy.inputs, anatomy.ran_shapes)
    outs = _as_run(anatomy.outputs, anatomy.gave_shapes)
    if not ins or not outs:
        return "unknown", "it has no inputs or outputs of known shape"
    pictures = [picture for port in ins if (picture := picture_of(port.shape)) is not None]
    if pictures:
        return _of_picture(pictures[0], outs)
    if is_integer(ins[0].dtype) and len(ins[0].shape) <= 2:
        return _of_integers(ins[0])
    if len(ins[0].shape) in (2, 3):
        recurs = _RECURRENT & set(anatomy.operators)
        what = f"{_shown(ins[0])} of numbers goes in" + (", and it keeps a state" if recurs or len(ins) > 1 else "")
        return ("sound or another series" if recurs or len(ins) > 1 or _is_long(ins[0]) else "table or features"), what
    return "unknown", f"{_shown(ins[0])} goes in and {_shown(outs[0])} comes out"


def _as_run(ports: Sequence[Port], shapes: Sequence[Shape]) -> list[Port]:
    """Ports with the shapes that they had in a run, where those are known; single numbers left out."""
    known = [msgspec.structs.replace(p, shape=s) for p, s in zip(ports, shapes, strict=False)] if shapes else ports
    return [port for port in known if port.shape]


def _of_picture(picture: tuple[int, int, int], outs: list[Port]) -> tuple[str, str]:
    channels, height, width = picture
    size = f"a picture of {channels} channel{'s' if channels > 1 else ''} goes in"
    for port in outs:
        shown = picture_of(port.shape)
        if shown is not None and shown[0] == channels:
            scale = _scale((height, width), shown[1:])
            if scale == 1:
                return "picture to picture", f"{size} and one of the same size comes out"
            if scale in _SCALES:
                return "super-resolution", f"{size} and one {scale:g} times as wide and high comes out"
    if any(len(port.shape) >= 2 and port.shape[-1] == 4 for port in outs) and len(outs) > 1:
        return "object detection", f"{size}; boxes of 4 numbers and {len(outs) - 1} more come out"
    if len(outs) >= 1 and len(outs[0].shape) == 4:
        return "segmentation or heat maps", f"{size} and {_shown(outs[0])} comes out"
    last = outs[0].shape[-1]
    if len(outs[0].shape) == 3:
        return "text recognition or detection", f"{size} and {_shown(outs[0])} comes out"
    if len(outs[0].shape) <= 2 and 1 < last <= _CLASSES_MAX:
        return "classification or embedding", f"{size} and {last} numbers come out"
    return "unknown", f"{size} and {_shown(outs[0])} comes out"


def _of_integers(port: Port) -> tuple[str, str]:
    return "text or another sequence of codes", f"{_shown(port)} of whole numbers goes in"


def _scale(before: tuple[int, int], after: tuple[int, int]) -> float | None:
    """None when a side is open, or the two sides do not agree."""
    (height, width), (high, wide) = before, after
    return high / height if min(height, width, high, wide) > 0 and high * width == wide * height else None


def _is_long(port: Port) -> bool:
    return port.shape[-1] >= 256 or port.shape[-1] <= 0


def _shown(port: Port) -> str:
    return "×".join("?" if size <= 0 else str(size) for size in port.shape) or "one number"
