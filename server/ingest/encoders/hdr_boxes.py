"""What an init segment says of high dynamic range: boxes in its sample entry (ISO/IEC 14496-12, 12.1.5 to 12.1.7)."""

from __future__ import annotations

import struct

from abr.core.title import HdrColour
from server.ingest.encoders.colours import hdr_colour
from server.ingest.mp4.sample_entry import VISUAL_BYTES, Entry, box, rewrite_entry


def with_hdr_boxes(init: bytes, colour: HdrColour | None) -> bytes:
    """An init segment of one video track that says what its codes stand for; as it is in standard range.

    `colr` always, `mdcv` and `clli` where the film tells. Boxes of these kinds that are there already are replaced.
    """
    if colour is None:
        return init

    def tell(kind: bytes, boxes: list[bytes]) -> Entry:
        kept = [each for each in boxes if each[4:8] not in (b"colr", b"mdcv", b"clli")]
        return kind, kept + _hdr_boxes(colour)

    return rewrite_entry(init, VISUAL_BYTES, tell)


def _hdr_boxes(colour: HdrColour) -> list[bytes]:
    named = hdr_colour(colour)
    boxes = [box(b"colr", b"nclx" + struct.pack(">HHHB", named.primaries, named.transfer, named.matrix, 0))]
    if display := colour.mastering:
        places = (*display.green, *display.blue, *display.red, *display.white)
        boxes.append(box(b"mdcv", struct.pack(">8H2I", *places, display.luminance_max, display.luminance_min)))
    if colour.max_cll_nits or colour.max_fall_nits:
        boxes.append(box(b"clli", struct.pack(">2H", colour.max_cll_nits, colour.max_fall_nits)))
    return boxes
