"""The encoders there are, and what is the same for all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from abr.media.video_codecs import VideoCodec
from server.ingest.encoders.colours import colour_of
from server.ingest.ladder import Rung

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

CAP_WINDOW_S = 1.5
"""A rung may overdraw its cap for this long (the VBV buffer)."""
_NO_KEY_FRAMES = 1 << 20
"""Frames between key frames of the encoder's own: more than any segment has, since ours are forced."""
_LIMITED = 1
"""AVCOL_RANGE_MPEG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoEncoder:
    """An encoder of FFmpeg's, and what its users may choose. crf, crf_max: on its own scale, lower is better.

    presets: least effort first. preset, crf: unless told.
    """

    codec: VideoCodec
    library: str
    presets: tuple[str, ...]
    preset: str
    crf: float
    crf_max: float


_X26X_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
ENCODERS: Mapping[VideoCodec, VideoEncoder] = {
    each.codec: each
    for each in (
        VideoEncoder(
            codec=VideoCodec.H264, library="libx264", presets=_X26X_PRESETS, preset="faster", crf=25, crf_max=51
        ),
        VideoEncoder(
            codec=VideoCodec.HEVC, library="libx265", presets=_X26X_PRESETS, preset="faster", crf=27, crf_max=51
        ),
        VideoEncoder(
            codec=VideoCodec.AV1,
            library="libsvtav1",
            presets=tuple(map(str, range(10, -1, -1))),
            preset="7",
            crf=35,
            crf_max=63,
        ),
    )
}


def rate_cap(rung: Rung) -> dict[str, str]:
    """Options that hold a rung below its cap, if it has one."""
    if not rung.cap_bps:
        return {}
    return {"maxrate": str(rung.cap_bps), "bufsize": str(int(rung.cap_bps * CAP_WINDOW_S))}


def open_stream(container: OutputContainer, rung: Rung, rate: Fraction, options: dict[str, str]) -> VideoStream:
    """A track for the frames of a rung. Its segments bring their own parameter sets."""
    os.environ.setdefault("SVT_LOG", "1")  # errors alone; SVT-AV1 reads it as it opens
    from av.video.stream import VideoStream

    stream = container.add_stream(ENCODERS[rung.codec].library, rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = rung.width_px, rung.height_px
    stream.pix_fmt = rung.pixel_format
    stream.codec_tag = rung.codec.in_band_entry
    context = stream.codec_context
    context.time_base = 1 / rate
    if rung.codec is VideoCodec.AV1:  # the others have options of their own for these
        context.gop_size = _NO_KEY_FRAMES
        context.sample_aspect_ratio = Fraction(*rung.pixel_aspect)
    if rung.codec is VideoCodec.AV1 or rung.hdr:
        colour = colour_of(rung)
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.colorspace, context.color_range = colour.matrix, _LIMITED
    return stream
