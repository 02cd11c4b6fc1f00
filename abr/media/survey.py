"""One pass over a source: what its decoders give of the chosen streams, and when.

Packets say less than frames: edit lists drop some, and a recording that begins between two key frames has some that
nothing can be made of.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from abr.core.title import HdrColour
from abr.media.interlacing import InterlaceMeter
from abr.media.orientation import orientation_of
from abr.media.timeline import Shifts, place
from abr.media.tone_mapping import PEAK_USUAL_NITS, Transfer, hdr_colour_of, peak_nits_of, transfer_of

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame

    AnyFrame: TypeAlias = VideoFrame | AudioFrame

Shape = tuple[int, int, str]
"""Width, height and FFmpeg's name of the pixel format."""
_SHARE_MIN = 0.05
"""Pictures of a size that fewer have than this do not decide how large a title is."""

_STEPS_MIN = 4
_DENSER_PERCENTILE = 25
"""Recordings of screens stand still most of the time: the denser steps between pictures tell the rate of motion."""
_RATE_RATIO_MAX = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFormat:
    """What a decoded picture says of itself, as FFmpeg numbers it. tick: its time base."""

    width_px: int
    height_px: int
    pixel_format: str
    rgb: bool
    colour_space: int
    colour_range: int
    mirrored: bool
    rotation_deg: int
    tick: Fraction
    transfer: Transfer = "sdr"
    peak_nits: int = PEAK_USUAL_NITS
    hdr: HdrColour | None = None


class StreamSurvey:
    """The frames of one stream as decoded, in order. times_s: seconds, NaN where a frame has no time."""

    def __init__(self) -> None:
        self.times_s = array("d")
        self.durations_s = array("d")
        self.first_packet_s = math.inf
        """Earliest time of a packet that should be shown; it may be one that nothing could be decoded from."""
        self.packets = self.damaged = 0
        self.interlace = InterlaceMeter()
        self.shapes: Counter[Shape] = Counter()
        self.formats: dict[Shape, PictureFormat] = {}
        """Of the first picture of each shape."""

    def add_packet(self, packet: Packet[Stream]) -> None:
        """Count a packet, decoded or not."""
        self.packets += packet.size > 0
        if packet.pts is not None and not packet.is_discard and not packet.is_corrupt:
            self.first_packet_s = min(self.first_packet_s, float(packet.pts * packet.time_base))

    def add_picture(self, frame: VideoFrame) -> None:
        """Count a decoded picture; 0 stands for a duration that the file does not tell."""
        self.times_s.append(math.nan if frame.time is None else frame.time)
        self.durations_s.append(float((frame.duration or 0) * (frame.time_base or 0)))
        self.interlace.add(frame)
        shape = frame.width, frame.height, frame.format.name
        self.shapes[shape] += 1
        if shape not in self.formats:
            self.formats[shape] = format_of(frame)

    def add_sound(self, frame: AudioFrame) -> None:
        """Count a decoded frame of sound."""
        self.times_s.append(math.nan if frame.time is None else frame.time)
        self.durations_s.append(frame.samples / frame.sample_rate)

    @property
    def frames(self) -> int:
        """How many were decoded."""
        return len(self.times_s)

    @property
    def timed(self) -> bool:
        """Whether any frame has a time."""
        return not np.isnan(self.times_s).all()

    def extent_s(self) -> tuple[float, float]:
        """When the first timed frame begins and the last ends. Raises ValueError when there is none."""
        begins_s, durations_s = np.array(self.times_s), np.array(self.durations_s)
        if not self.timed:
            raise ValueError("No frame has a time.")
        return float(np.nanmin(begins_s)), float(np.nanmax(begins_s + durations_s))

    def plausible_rate(self, promised: Fraction) -> Fraction:
        """The promised frame rate, or that of the denser pictures where it is far off, as of variable rates."""
        steps_s = np.diff(np.sort(self.times_s))
        steps_s = steps_s[steps_s > 0]  # NaN is not
        if len(steps_s) < _STEPS_MIN:
            return promised
        seen = 1 / float(np.percentile(steps_s, _DENSER_PERCENTILE))
        if seen / _RATE_RATIO_MAX <= promised <= seen * _RATE_RATIO_MAX:
            return promised
        return Fraction(seen).limit_denominator(1001)

    def fill_durations(self, usual_s: float) -> None:
        """Give the frames without a duration the usual one."""
        self.durations_s = array("d", (duration_s or usual_s for duration_s in self.durations_s))

    def shift(self, shifts: Shifts) -> None:
        """Put the frames where their mended times are."""
        self.times_s = array("d", place(self.times_s, self.durations_s, shifts))

    def largest_format(self) -> PictureFormat:
        """That of the largest pictures that are more than a few. Raises ValueError when there are no pictures."""
        few = _SHARE_MIN * self.shapes.total()
        usual = [shape for shape, count in self.shapes.items() if count >= few]
        return self.formats[max(usual, key=lambda shape: shape[0] * shape[1])]


def format_of(frame: VideoFrame) -> PictureFormat:
    """What this picture says of itself."""
    mirrored, rotation_deg = orientation_of(frame)
    return PictureFormat(
        width_px=frame.width,
        height_px=frame.height,
        pixel_format=frame.format.name,
        rgb=frame.format.is_rgb or frame.format.has_palette,
        colour_space=int(frame.colorspace),
        colour_range=int(frame.color_range),
        mirrored=mirrored,
        rotation_deg=rotation_deg,
        tick=frame.time_base or Fraction(1, 1000),
        transfer=transfer_of(frame),
        peak_nits=peak_nits_of(frame),
        hdr=hdr_colour_of(frame),
    )


def survey(container: InputContainer, streams: Iterable[int]) -> tuple[dict[int, StreamSurvey], float]:
    """Decode the streams of these numbers from the container's start to its end.

    Also returns the last moment, in seconds, of all its packets; minus infinity when none has a time.
    """
    found = {index: StreamSurvey() for index in streams}
    for stream in container.streams:
        if stream.index in found:
            stream.codec_context.thread_type = "AUTO"
    last_s = -math.inf
    for packet in container.demux():
        if packet.pts is not None and packet.size and not packet.is_corrupt:
            last_s = max(last_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        here = found.get(packet.stream.index)  # the packets that flush have no number of their own
        if here is not None:
            here.add_packet(packet)
            _add_frames(here, packet)
    return found, last_s


def _add_frames(found: StreamSurvey, packet: Packet[Stream]) -> None:
    import av

    frames = decode_packet(packet)
    found.damaged += frames is None
    for frame in frames or ():
        if isinstance(frame, av.VideoFrame):
            found.add_picture(frame)
        else:
            found.add_sound(frame)


def decode_packet(packet: Packet[Any]) -> list[AnyFrame] | None:
    """The frames that a packet completes, or None when it is damaged."""
    import av

    try:
        return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame | av.AudioFrame)]
    except av.error.FFmpegError:
        return None


def count_packets(container: InputContainer) -> Counter[int]:
    """How many packets each stream has; the container is at its end then."""
    return Counter(packet.stream_index for packet in container.demux() if packet.size)


def find_shortfall(container: InputContainer, last_s: float) -> str | None:
    """How much sooner the file ends than its header says, as a clause; None when it does not. last_s: of `survey`."""
    declared_s = (container.duration or 0) / 1_000_000
    found_s = last_s - (container.start_time or 0) / 1_000_000
    if not math.isfinite(last_s) or declared_s - found_s <= max(1.0, declared_s / 50):
        return None
    return f"says it lasts {declared_s:.1f} s but ends after {found_s:.1f} s"
