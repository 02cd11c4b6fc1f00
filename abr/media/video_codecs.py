"""Video codecs that titles come in, and how RFC 6381 and ISO base media files name them."""

from __future__ import annotations

from enum import StrEnum


class VideoCodec(StrEnum):
    """Its value is what users write. Each needs fewer bits than the one before it."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"

    @property
    def in_band_entry(self) -> str:
        """Four-character code of a track whose segments bring their own parameter sets.

        ISO/IEC 14496-15, 5.4.2.1 and 8.4.1.1. AV1 has one code for both kinds of track (AV1-ISOBMFF, 2.2).
        """
        return {"h264": "avc3", "hevc": "hev1", "av1": "av01"}[self]

    @property
    def standalone_entry(self) -> str:
        """That of a track whose init segment holds all parameter sets: some players take no other."""
        return {"h264": "avc1", "hevc": "hvc1", "av1": "av01"}[self]

    @property
    def exports_motion(self) -> bool:
        """Whether FFmpeg's decoder tells the motion that the encoder chose, which some enhancers follow."""
        return self is VideoCodec.H264


def codec_of(codecs: str) -> VideoCodec:
    """Of an RFC 6381 name, such as avc3.64001F. Raises ValueError for that of another codec."""
    entry = codecs.partition(".")[0]
    for codec in VideoCodec:
        if entry in {codec.in_band_entry, codec.standalone_entry}:
            return codec
    raise ValueError(f"{codecs!r} names no video codec that is known here; these are: {', '.join(VideoCodec)}")
