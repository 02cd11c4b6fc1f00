"""What an init segment says of high dynamic range: boxes in its sample entry (ISO/IEC 14496-12, 12.1.5 to 12.1.7)."""

from __future__ import annotations

import struct

from abr.core.title import HdrColour
from server.ingest.encoders.colours import hdr_colour

_WAY = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_HEAD_BYTES = 8
_SAMPLE_DESCRIPTION_BYTES = 8
"""Version, flags and count of entries, before the first one."""
_VISUAL_ENTRY_BYTES = 78
"""Of a VisualSampleEntry, before the boxes in it."""


def with_hdr_boxes(init: bytes, colour: HdrColour | None) -> bytes:
    """An init segment of one video track that says what its codes stand for; as it is in standard range.

    `colr` always, `mdcv` and `clli` where the film tells. Boxes of these kinds that are there already are replaced.
    """
    if colour is None:
        return init
    way, entry = _find_entry(init)
    (size,) = struct.unpack_from(">I", init, entry)
    boxes_from = entry + _HEAD_BYTES + _VISUAL_ENTRY_BYTES
    kept = b"".join(
        box for box in _boxes(init[boxes_from : entry + size]) if box[4:8] not in (b"colr", b"mdcv", b"clli")
    )
    inner = kept + b"".join(_hdr_boxes(colour))
    grown = boxes_from + len(inner) - (entry + size)
    made = bytearray(init[:boxes_from] + inner + init[entry + size :])
    for at in (*way, entry):
        (before,) = struct.unpack_from(">I", made, at)
        struct.pack_into(">I", made, at, before + grown)
    return bytes(made)


def _hdr_boxes(colour: HdrColour) -> list[bytes]:
    named = hdr_colour(colour)
    boxes = [_box(b"colr", b"nclx" + struct.pack(">HHHB", named.primaries, named.transfer, named.matrix, 0))]
    if display := colour.mastering:
        places = (*display.green, *display.blue, *display.red, *display.white)
        boxes.append(_box(b"mdcv", struct.pack(">8H2I", *places, display.luminance_max, display.luminance_min)))
    if colour.max_cll_nits or colour.max_fall_nits:
        boxes.append(_box(b"clli", struct.pack(">2H", colour.max_cll_nits, colour.max_fall_nits)))
    return boxes


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", _HEAD_BYTES + len(body), kind) + body


def _find_entry(init: bytes) -> tuple[list[int], int]:
    """Where the boxes around the first sample entry begin, and where it does. Raises ValueError without one."""
    way, begin, end = [], 0, len(init)
    for kind in _WAY:
        at = begin
        while init[at + 4 : at + 8] != kind:
            (size,) = struct.unpack_from(">I", init, at)
            at += max(size, _HEAD_BYTES)
            if at >= end:
                raise ValueError(f"There is no {kind.decode()} box in this init segment.")
        (size,) = struct.unpack_from(">I", init, at)
        way.append(at)
        begin, end = at + _HEAD_BYTES, at + size
    return way, begin + _SAMPLE_DESCRIPTION_BYTES


def _boxes(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + _HEAD_BYTES <= len(data):
        size = max(_HEAD_BYTES, int.from_bytes(data[at : at + 4], "big"))
        found.append(data[at : at + size])
        at += size
    return found
