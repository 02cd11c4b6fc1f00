"""Decoding of downloaded segments, which may be damaged or hostile."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np

from abr.errors import MediaError
from abr.media.video_codecs import VideoCodec
from enhancers.runtime.frames import ChunkDecoder, Frame, decode_segment, frame_of

_DECODERS = {
    VideoCodec.H264: {"h264"},
    VideoCodec.HEVC: {"hevc"},
    VideoCodec.AV1: {"libdav1d", "libaom-av1"},  # FFmpeg's own needs a device that decodes
}
_BLACK, _GREY = 16, 128
"""Code values of black luma and of colourless chroma in limited range."""


def decoded_codecs() -> tuple[VideoCodec, ...]:
    """What this machine's FFmpeg decodes."""
    return tuple(codec for codec, names in _DECODERS.items() if names & av.codecs_available)


class _Decoder:
    """Gives frames in display order. After damage there are no more, and `failure` says why."""

    too_few = ""
    """What is wrong when the frames end before the caller has done."""

    def __init__(self, frames: Iterator[Frame], failure: str = "") -> None:
        self.failure = failure
        self._frames = frames

    def next_frame(self) -> Frame | None:
        """The next frame, or None when there are no more."""
        if self.failure:
            return None
        try:
            frame = next(self._frames, None)
        except MediaError as error:
            self.failure = str(error)
            return None
        if frame is None:
            self.failure = self.too_few
        return frame


class SegmentDecoder(_Decoder):
    """The frames of one segment, `data`; empty when it could not be downloaded. key: of a protected title, in hex."""

    too_few = "the segment has fewer frames than the title says"

    def __init__(self, data: bytes, *, threads: int = 1, key: str = "") -> None:
        if data:
            super().__init__(decode_segment(data, threads=threads, motion=True, key=key))
        else:
            super().__init__(iter(()), "the segment could not be downloaded")


class GrowingDecoder(_Decoder):
    """The frames of a segment that comes in parts. A part that damage precedes has none."""

    too_few = "the part has fewer frames than its boxes say"

    def __init__(self, *, threads: int = 1) -> None:
        super().__init__(iter(()))
        self._decoder = ChunkDecoder(threads=threads, motion=True)

    def feed(self, data: bytes) -> None:
        """The next part comes, behind the init segment; empty when it could not be downloaded."""
        if not data and not self.failure:
            self.failure = "the rest of the segment could not be downloaded"
        self._frames = self._decoder.decode(data)


def black_frame(width_px: int, height_px: int) -> Frame:
    """A black frame, for when there is nothing to show yet."""
    chroma = np.full(((height_px + 1) // 2, (width_px + 1) // 2), _GREY, np.uint8)
    return frame_of(np.full((height_px, width_px), _BLACK, np.uint8), chroma, chroma)


def count_frames(data: bytes) -> int:
    """Coded pictures in init and media segment together; 0 when they cannot be read."""
    try:
        with av.open(io.BytesIO(data), mode="r", format="mp4") as container:
            packets = container.demux(container.streams.best("video"))
            return sum(packet.size > 0 for packet in packets)
    except (av.error.FFmpegError, OSError, ValueError, IndexError):
        return 0


def audio_duration_s(data: bytes, key: str = "") -> float:
    """Seconds of sound in init and media segment together, decoded. key: of a protected title, in hex.

    Raises MediaError when it is damaged or silent.
    """
    duration_s, options = 0.0, {"decryption_key": key} if key else {}
    try:
        with av.open(io.BytesIO(data), mode="r", format="mp4", options=options) as container:
            for packet in container.demux(container.streams.best("audio")):
                packet.decode()
                if packet.size and packet.time_base is not None:
                    duration_s += float((packet.duration or 0) * packet.time_base)
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise MediaError(f"Cannot decode the audio segment: {error}.") from error
    if duration_s <= 0:
        raise MediaError("There is no sound in the audio segment.")
    return duration_s
