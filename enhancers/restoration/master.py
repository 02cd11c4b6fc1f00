"""A restored master: the source lifted above itself once, as a file that `toprung prepare` takes like any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from abr.blur.source_track import check_track, survey_source
from abr.blur.track import KernelTrack
from abr.errors import InputError, StorageError
from abr.media.display_filters import PIXEL_FORMAT
from abr.media.probe import SourceInfo, open_source, probe
from abr.media.source_frames import display_frames
from abr.progress import Advance, ProgressBars
from enhancers.restoration.lift import TrackedEnhancer
from enhancers.restoration.shipped import scale_for, shipped_network
from enhancers.runtime.frames import Frame

_CRF, _PRESET = 14, "faster"
"""Finer than anybody sees, and a tenth of lossless."""
_BT709 = 1
"""Matrix, primaries and transfer of every frame here (ITU-T H.273)."""


def display_size(footage: SourceInfo, short_side_px: int) -> tuple[int, int]:
    """Width and height of a display whose short side is so long, both even. Raises InputError for no more pixels."""
    width, height = footage.display_width_px, footage.display_height_px
    short = min(width, height)
    if short_side_px <= short:
        raise InputError(
            f"The source is shown at {width}x{height}; give a --display above {short}p, or prepare it as it is."
        )
    return tuple(round(side * short_side_px / short / 2) * 2 for side in (width, height))  # type: ignore[return-value]


def write_master(
    source: Path,
    out: Path,
    short_side_px: int,
    track: KernelTrack | None,
    bars: ProgressBars,
    *,
    accept_short: bool = False,
) -> tuple[int, int]:
    """Write `source` restored at a display's size to `out` (Matroska): H.264, and the first sound as it was.

    track: of the source; told by the estimator that ships when None. accept_short: take a source that ends before its
    header says so. Returns the display's width and height. `out` is whole or not there. Raises InputError (MediaError)
    for a source or track that cannot be used, StorageError.
    """
    footage = probe(source, accept_short=accept_short)
    display_px = display_size(footage, short_side_px)
    size_px = footage.display_width_px, footage.display_height_px
    if track is not None:
        check_track(track, source)
    else:
        with bars("reading kernels", footage.frames_expected) as advance:
            track = survey_source(source, footage, advance)
    network = shipped_network(scale_for(size_px[1], display_px[1]))
    enhancer = TrackedEnhancer(network, track, size_px, display_px)
    part = out.with_name(f".{out.name}.part")
    try:
        with bars("restoring", footage.frames_expected) as advance:
            frames = (Frame(picture=picture) for picture in display_frames(source, footage))
            _encode(part, source, footage, display_px, _counted(enhancer.lift(frames), advance))
        part.replace(out)
    except (av.error.FFmpegError, OSError) as error:
        raise StorageError(f"Cannot write {out}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return display_px


def _counted(frames: Iterable[Frame], advance: Advance) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        advance(1.0)


def _encode(
    part: Path, source: Path, footage: SourceInfo, display_px: tuple[int, int], frames: Iterable[Frame]
) -> None:
    rate = Fraction(*footage.frame_rate)
    with av.open(str(part), "w", format="matroska") as file, open_source(source) as came:
        video = file.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = *display_px, PIXEL_FORMAT
        video.options = {"crf": str(_CRF), "preset": _PRESET}
        codec = video.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = _BT709
        sound = _CopiedSound(came, file, footage)
        for index, frame in enumerate(frames):
            picture = frame.picture
            picture.pts, picture.time_base, picture.pict_type = index, 1 / rate, 0
            _mux(file, video.encode(picture))
            sound.mux_until((index + 1) / rate)
        _mux(file, video.encode(None))
        sound.mux_until(None)


def _mux(file: OutputContainer, packets: Packet[AudioStream] | list[Packet[VideoStream]]) -> None:
    """Raises StorageError, so that a full disk is not taken for a source that cannot be read."""
    try:
        file.mux(packets)
    except (av.error.FFmpegError, OSError) as error:
        raise StorageError(f"Cannot write the master: {error.strerror}.") from error


class _CopiedSound:
    """The first sound of a source, packet by packet as it was, on the clock of the first picture."""

    def __init__(self, came: InputContainer, file: OutputContainer, footage: SourceInfo) -> None:
        self._file = file
        self._packets: Iterator[Packet[AudioStream]] = iter(())
        self._held: Packet[AudioStream] | None = None
        if footage.sounds:
            stream = next(each for each in came.streams.audio if each.index == footage.sounds[0].stream)
            self._target = file.add_stream_from_template(stream)
            self._start = round(footage.start_s / (stream.time_base or 1))
            self._packets = (packet for packet in came.demux(stream) if packet.pts is not None)
            self._held = next(self._packets, None)

    def mux_until(self, time_s: Fraction | None) -> None:
        """Write what begins before `time_s`; all that is left when None."""
        while (packet := self._held) is not None:
            begins = (packet.pts or 0) - self._start
            if time_s is not None and begins * packet.time_base >= time_s:
                return
            if begins >= 0:
                packet.pts = packet.dts = begins
                packet.stream = self._target
                _mux(self._file, packet)
            self._held = next(self._packets, None)
