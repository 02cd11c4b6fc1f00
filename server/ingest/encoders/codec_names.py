"""RFC 6381 names of encoded video, read from the init segments that FFmpeg's muxer writes."""

from __future__ import annotations

from abr.core.title import HdrColour
from abr.media.video_codecs import VideoCodec
from server.ingest.encoders.colours import hdr_colour

_GENERAL_CONSTRAINT_BYTES = 6


def codecs_of(init: bytes, hdr: HdrColour | None = None) -> str:
    """The name of the one video track of an init segment whose parameter sets travel in band, such as avc3.64001F.

    hdr: what its codes stand for, where that is not BT.709; of AV1 the name tells it.
    """
    for box, name_of in ((b"avcC", _avc_name), (b"hvcC", _hevc_name), (b"av1C", _av1_name)):
        at = init.find(box)
        if at >= 0:
            name, record = name_of(init[at + 4 :]), init[at + 4 :]
            return name + _av1_colour(record, hdr) if hdr and box == b"av1C" else name
    raise ValueError("There is no avcC, hvcC or av1C box in this init segment.")


def _avc_name(record: bytes) -> str:
    """Profile, constraints and level (ISO/IEC 14496-15, 5.3.3.1.2)."""
    return f"{VideoCodec.H264.in_band_entry}.{record[1:4].hex().upper()}"


def _hevc_name(record: bytes) -> str:
    """Profile, compatibility, tier and level, and constraints up to the last that is not zero (14496-15, E.3)."""
    space, tier, profile = record[1] >> 6, record[1] >> 5 & 1, record[1] & 31
    compatibility = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = record[6 : 6 + _GENERAL_CONSTRAINT_BYTES].rstrip(b"\0")
    parts = [
        VideoCodec.HEVC.in_band_entry,
        f"{['', 'A', 'B', 'C'][space]}{profile}",
        f"{compatibility:X}",
        f"{'LH'[tier]}{record[12]}",
        *(f"{byte:X}" for byte in constraints),
    ]
    return ".".join(parts)


def _av1_name(record: bytes) -> str:
    """Profile, level and tier, and bits of a sample (AV1-ISOBMFF, 5)."""
    profile, level = record[1] >> 5, record[1] & 31
    tier, is_high, is_twelve = record[2] >> 7, record[2] >> 6 & 1, record[2] >> 5 & 1
    bits = 12 if is_high and is_twelve else 10 if is_high else 8
    return f"{VideoCodec.AV1.in_band_entry}.{profile}.{level:02d}{'MH'[tier]}.{bits:02d}"


def _av1_colour(record: bytes, hdr: HdrColour) -> str:
    """Monochrome, chroma subsampling, colours and range: all or none may be told (AV1-ISOBMFF, 5)."""
    is_monochrome, across, down, position = record[2] >> 4 & 1, record[2] >> 3 & 1, record[2] >> 2 & 1, record[2] & 3
    named = hdr_colour(hdr)
    return f".{is_monochrome}.{across}{down}{position}.{named.primaries:02d}.{named.transfer:02d}.{named.matrix:02d}.0"
