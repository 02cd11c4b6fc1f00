"""The sound: AAC in segments that begin and end with the video's as nearly as AAC frames allow.

A sound of more than two channels comes as stereo, mixed down as ITU-R BS.775 has it (centre and surrounds 3 dB down,
no LFE), which is what FFmpeg's resampler does; and as 5.1 beside that.

FFmpeg's AAC encoder hands out one frame of priming before the first sample. It is dropped, so that sample 0 plays at
time 0 without an edit list, which not every player honours; the first 21 ms fade in instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from abr.core.title import AudioTrack
from abr.errors import MediaError
from abr.media.languages import UNKNOWN
from abr.media.probe import SourceInfo, open_source
from abr.media.survey import decode_packet
from abr.media.timeline import each_with_shift
from abr.media.tracks import SourceSound
from server.ingest.mp4.cmaf import FRAGMENTED, INIT_FILE, CmafCutter, SegmentWriter, Write

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

Samples = npt.NDArray[np.float32]

TRACK = "audio"
"""Of the first track; `track_id` names the others."""
RATE_HZ = 48_000
CHANNELS = 2
SURROUND = 6
"""Channels of 5.1."""
SURROUND_NAME = "5.1"
_LAYOUTS = {CHANNELS: "stereo", SURROUND: SURROUND_NAME}
_SURROUND_BIT_RATE = 3
"""Times that of stereo."""
FRAME_SAMPLES = 1024
CODECS = "mp4a.40.2"
_DRIFT_MAX_S = 0.1
"""A gap or overlap in the source's timestamps beyond this is mended with silence or a cut."""


def track_id(number: int) -> str:
    """Of the first track, number 0, and those after it."""
    return TRACK if number == 0 else f"{TRACK}-{number + 1}"


def surround_id(track: str) -> str:
    """Of the same sound in 5.1."""
    return f"{track}-{SURROUND_NAME}"


def versions_of(sounds: Sequence[SourceSound]) -> list[tuple[int, int]]:
    """Number and channels of each track that a title gets: all in stereo, and in 5.1 what has more channels."""
    return [
        (number, channels)
        for number, sound in enumerate(sounds)
        for channels in ((CHANNELS, SURROUND) if sound.channels > CHANNELS else (CHANNELS,))
    ]


def encode_sounds(
    path: Path,
    footage: SourceInfo,
    segment_ends_s: Sequence[Fraction],
    bit_rate_bps: int,
    writer: Callable[[str], Write],
    *,
    advance: Callable[[float], None] = lambda _seconds: None,
) -> tuple[AudioTrack, ...]:
    """Encode all sounds of the source. writer: gives what writes the files of the track with an id.

    Raises MediaError when a stream cannot be decoded, StorageError from `writer`.
    """
    ends, tracks = frame_ends(segment_ends_s), []
    for number, channels in versions_of(footage.sounds):
        sound, id_ = footage.sounds[number], track_id(number)
        if channels == SURROUND:
            id_ = surround_id(id_)
        packets = _encode_packets(_align(path, footage, sound, channels), ends[-1], bit_rate_bps, channels)
        track = _write_track(packets, ends, bit_rate_bps, channels, writer(id_), advance)
        tracks.append(msgspec.structs.replace(track, id=id_, language=sound.language, name=sound.name, role=sound.role))
    return tuple(tracks)


def _write_track(
    packets: Iterator[Packet[AudioStream]],
    ends: Sequence[int],
    bit_rate_bps: int,
    channels: int,
    write: Write,
    advance: Callable[[float], None],
) -> AudioTrack:
    """Aligned with the title's first moment, padded or cut to its duration."""
    segments = SegmentWriter(write, in_parts=False)
    init = b""
    for index, (first, end) in enumerate(pairwise([0, *ends])):
        init, chunk = mux_sound([next(packets) for _ in range(end - first)], index, bit_rate_bps, channels)
        if index == 0:
            write(INIT_FILE, init)
        segments.add(chunk, closes=True)
        advance((end - first) * FRAME_SAMPLES / RATE_HZ)
    return msgspec.structs.replace(sound_track(ends, segments.sizes, len(init), UNKNOWN), channels=channels)


def sound_track(ends: Sequence[int], sizes: Sequence[int], init_bytes: int, language: str) -> AudioTrack:
    """A title's first track, in stereo, as measured. ends: as `frame_ends` gives them. sizes: bytes of each segment."""
    spans = [(end - first) * FRAME_SAMPLES / RATE_HZ for first, end in pairwise([0, *ends])]
    return AudioTrack(
        id=TRACK,
        codecs=CODECS,
        bandwidth_bps=max(int(size * 8 / span) + 1 for size, span in zip(sizes, spans, strict=True)),
        sample_rate_hz=RATE_HZ,
        channels=CHANNELS,
        init_bytes=init_bytes,
        segment_bytes=tuple(sizes),
        language=language,
    )


def frame_ends(segment_ends_s: Sequence[Fraction]) -> list[int]:
    """Number of AAC frames from the start to the end of each segment, to the nearest frame.

    Of the last segment, the frames that fit in whole. Sound that outlasts the Period makes the media element longer
    than the Period. dash.js (5.2.1 and 4.7.4) looks every 200 ms whether the Period is over, and when it finds itself
    in those last milliseconds it jumps half a second back and pauses: its `ended` event never comes.
    """
    counts = [end * RATE_HZ / FRAME_SAMPLES for end in segment_ends_s]
    ends = [*map(round, counts[:-1]), *map(int, counts[-1:])]
    return [max(index + 1, end) for index, end in enumerate(ends)]


def mux_sound(
    packets: Sequence[Packet[AudioStream]], index: int, bit_rate_bps: int, channels: int = CHANNELS
) -> tuple[bytes, bytes]:
    """Init segment and chunk of some packets: one short-lived muxer each, which numbers its fragment."""
    import av

    cutter = CmafCutter()
    options = {"movflags": FRAGMENTED + "+frag_discont", "fragment_index": str(index + 1)}
    with av.open(cutter, "w", format="mp4", options=options) as container:
        stream = _open_stream(container, bit_rate_bps, channels)
        for packet in packets:
            packet.stream = stream
            container.mux_one(packet)
    (chunk,) = cutter.take()
    return cutter.init, chunk


def _open_stream(container: OutputContainer, bit_rate_bps: int, channels: int) -> AudioStream:
    rate_bps = _bit_rate(bit_rate_bps, channels)
    return container.add_stream("aac", rate=RATE_HZ, bit_rate=rate_bps, layout=_LAYOUTS[channels])


def _bit_rate(stereo_bps: int, channels: int) -> int:
    return stereo_bps * (_SURROUND_BIT_RATE if channels == SURROUND else 1)


class SoundEncoder:
    """AAC packets whose pts are 0, 1024, …, from samples as they come; the priming packet is left out.

    bit_rate_bps: of stereo. first: of the blocks of 1024 samples; pts begin with it.
    """

    def __init__(self, bit_rate_bps: int, first: int = 0, channels: int = CHANNELS) -> None:
        import av

        self._codec = av.CodecContext.create("aac", "w")
        self._codec.sample_rate, self._codec.layout, self._codec.format = RATE_HZ, _LAYOUTS[channels], "fltp"
        self._codec.bit_rate = _bit_rate(bit_rate_bps, channels)
        self._codec.time_base = Fraction(1, RATE_HZ)
        self._pending: Samples = np.zeros((channels, 0), np.float32)
        self._first = self.blocks = first
        """Up to which it is encoded."""

    def add(self, samples: Samples, count: int | None = None) -> Iterator[Packet[AudioStream]]:
        """Encode the next samples. count: no more than so many packets are made in all."""
        self._pending = np.concatenate((self._pending, samples), axis=1)
        while self._pending.shape[1] >= FRAME_SAMPLES and self.blocks != count:
            block, self._pending = self._pending[:, :FRAME_SAMPLES], self._pending[:, FRAME_SAMPLES:]
            yield from self._encode(block)

    def finish(self, count: int) -> Iterator[Packet[AudioStream]]:
        """The packets that are left of `count`, silent where samples are missing."""
        while self.blocks < count:
            block = np.zeros((len(self._pending), FRAME_SAMPLES), np.float32)
            given = self._pending[:, :FRAME_SAMPLES]
            block[:, : given.shape[1]] = given
            self._pending = self._pending[:, FRAME_SAMPLES:]
            yield from self._encode(block)
        yield from self._without_priming(self._codec.encode(None))

    def _encode(self, block: Samples) -> Iterator[Packet[AudioStream]]:
        packets = self._codec.encode(_frame(block, self.blocks))
        self.blocks += 1
        yield from self._without_priming(packets)

    def _without_priming(self, packets: Iterable[Packet[AudioStream]]) -> Iterator[Packet[AudioStream]]:
        return (packet for packet in packets if packet.pts is not None and packet.pts >= self._first * FRAME_SAMPLES)


def _encode_packets(
    sound: Iterator[Samples], count: int, bit_rate_bps: int, channels: int
) -> Iterator[Packet[AudioStream]]:
    """`count` packets of sound from the title's first moment on, silence where there is none."""
    encoder = SoundEncoder(bit_rate_bps, channels=channels)
    for samples in sound:
        yield from encoder.add(samples, count)
        if encoder.blocks == count:
            break
    yield from encoder.finish(count)


def _frame(block: Samples, index: int) -> AudioFrame:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=_LAYOUTS[len(block)])
    frame.sample_rate = RATE_HZ
    frame.pts, frame.time_base = index * FRAME_SAMPLES, Fraction(1, RATE_HZ)
    return frame


class SoundPlacer:
    """Brings decoded sound to 48 kHz and to stereo or 5.1, whatever its parameters on the way, each sample at its time.

    Sample 0 is the title's first moment. The first sample that is placed lies exactly where it belongs.

    first: where the samples begin that it gives.
    """

    def __init__(self, first: int = 0, channels: int = CHANNELS) -> None:
        self._first = self._cursor = first
        self._channels = channels
        self._resampler: AudioResampler | None = None
        self._parameters: tuple[str, str, int] | None = None

    def add(self, frame: AudioFrame, time_s: float | None) -> Samples:
        """The samples that follow. time_s: when the frame begins in the title; None: where the one before ended."""
        import av

        place = self._cursor if time_s is None else round(time_s * RATE_HZ)
        samples = self._silence(0)
        parameters = frame.format.name, frame.layout.name, frame.sample_rate
        if self._parameters != parameters:
            samples = self._resample(None)
            layout = _LAYOUTS[self._channels]
            self._resampler, self._parameters = av.AudioResampler("fltp", layout, RATE_HZ), parameters
        samples = np.concatenate((samples, self._resample(frame)), axis=1)
        cursor = self._cursor
        if place - cursor > _DRIFT_MAX_S * RATE_HZ or (cursor == self._first and place > cursor):
            samples = np.pad(samples, ((0, 0), (place - cursor, 0)))
        elif cursor - place > _DRIFT_MAX_S * RATE_HZ or (cursor == self._first and place < cursor):
            samples = samples[:, cursor - place :]
        self._cursor += samples.shape[1]
        return samples

    def silence_until(self, time_s: float) -> Samples:
        """Silence up to that time of the title, if the sound has not come so far."""
        missing = max(0, round(time_s * RATE_HZ) - self._cursor)
        self._cursor += missing
        return self._silence(missing)

    def finish(self) -> Samples:
        """What the resampler still holds."""
        return self._resample(None)

    def _silence(self, count: int) -> Samples:
        return np.zeros((self._channels, count), np.float32)

    def _resample(self, frame: AudioFrame | None) -> Samples:
        """What the resampler gives for a frame, or at the end for None. One takes one set of parameters."""
        if self._resampler is None:
            return self._silence(0)
        if frame is not None:
            frame.pts = None  # places are counted in samples here; the resampler need not know
        parts = [part.to_ndarray() for part in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1) if parts else self._silence(0)


def _align(path: Path, footage: SourceInfo, sound: SourceSound, channels: int) -> Iterator[Samples]:
    """A sound of the source at 48 kHz; sample 0 is the title's first moment."""
    placer = SoundPlacer(channels=channels)
    with open_source(path) as container:
        for frame, shift_s in each_with_shift(_decode(container, sound, path), sound.shifts):
            time_s = None if frame.time is None else frame.time + float(shift_s) - footage.start_s
            yield placer.add(frame, time_s)
        yield placer.finish()


def _decode(container: InputContainer, sound: SourceSound, path: Path) -> Iterator[AudioFrame]:
    import av

    stream = next(stream for stream in container.streams.audio if stream.index == sound.stream)
    count = 0
    for packet in container.demux(stream):
        for frame in decode_packet(packet) or ():  # a damaged packet becomes silence by the timestamps of the next
            if isinstance(frame, av.AudioFrame):
                count += 1
                yield frame
    if count == 0:
        raise MediaError(f"The sound of {path.name} cannot be decoded; repair it or remove it from the file.")
