"""The sound track: AAC in segments that begin and end with the video's as nearly as AAC frames allow.

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
from abr.media.probe import SourceInfo, open_source
from abr.media.survey import decode_packet
from abr.media.timeline import each_with_shift
from abr.media.tracks import SourceSound
from server.ingest.cmaf import FRAGMENTED, INIT_FILE, CmafCutter, SegmentWriter, Write

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
FRAME_SAMPLES = 1024
CODECS = "mp4a.40.2"
_DRIFT_MAX_S = 0.1
"""A gap or overlap in the source's timestamps beyond this is mended with silence or a cut."""


def track_id(number: int) -> str:
    """Of the first track, number 0, and those after it."""
    return TRACK if number == 0 else f"{TRACK}-{number + 1}"


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
    return tuple(
        encode_sound(path, footage, number, segment_ends_s, bit_rate_bps, writer(track_id(number)), advance=advance)
        for number in range(len(footage.sounds))
    )


def encode_sound(
    path: Path,
    footage: SourceInfo,
    number: int,
    segment_ends_s: Sequence[Fraction],
    bit_rate_bps: int,
    write: Write,
    *,
    advance: Callable[[float], None] = lambda _seconds: None,
) -> AudioTrack:
    """Encode one of them, aligned with the title's first moment, padded or cut to its duration."""
    sound, ends = footage.sounds[number], frame_ends(segment_ends_s)
    packets = _encode_packets(_align(path, footage, sound), ends[-1], bit_rate_bps)
    segments = SegmentWriter(write, in_parts=False)
    init = b""
    for index, (first, end) in enumerate(pairwise([0, *ends])):
        init, chunk = mux_sound([next(packets) for _ in range(end - first)], index, bit_rate_bps)
        if index == 0:
            write(INIT_FILE, init)
        segments.add(chunk, closes=True)
        advance((end - first) * FRAME_SAMPLES / RATE_HZ)
    track = sound_track(ends, segments.sizes, len(init), sound.language)
    return msgspec.structs.replace(track, id=track_id(number), name=sound.name, role=sound.role)


def sound_track(ends: Sequence[int], sizes: Sequence[int], init_bytes: int, language: str) -> AudioTrack:
    """A title's first track as it was measured. ends: as `frame_ends` gives them. sizes: bytes of each segment."""
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


def mux_sound(packets: Sequence[Packet[AudioStream]], index: int, bit_rate_bps: int) -> tuple[bytes, bytes]:
    """Init segment and chunk of some packets: one short-lived muxer each, which numbers its fragment."""
    import av

    cutter = CmafCutter()
    options = {"movflags": FRAGMENTED + "+frag_discont", "fragment_index": str(index + 1)}
    with av.open(cutter, "w", format="mp4", options=options) as container:
        stream = _open_stream(container, bit_rate_bps)
        for packet in packets:
            packet.stream = stream
            container.mux_one(packet)
    (chunk,) = cutter.take()
    return cutter.init, chunk


def _open_stream(container: OutputContainer, bit_rate_bps: int) -> AudioStream:
    return container.add_stream("aac", rate=RATE_HZ, bit_rate=bit_rate_bps, layout="stereo")


class SoundEncoder:
    """AAC packets whose pts are 0, 1024, …, from samples as they come; the priming packet is left out.

    first: of the blocks of 1024 samples; pts begin with it.
    """

    def __init__(self, bit_rate_bps: int, first: int = 0) -> None:
        import av

        self._codec = av.CodecContext.create("aac", "w")
        self._codec.sample_rate, self._codec.layout, self._codec.format = RATE_HZ, "stereo", "fltp"
        self._codec.bit_rate = bit_rate_bps
        self._codec.time_base = Fraction(1, RATE_HZ)
        self._pending: Samples = np.zeros((CHANNELS, 0), np.float32)
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
            block = np.zeros((CHANNELS, FRAME_SAMPLES), np.float32)
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


def _encode_packets(sound: Iterator[Samples], count: int, bit_rate_bps: int) -> Iterator[Packet[AudioStream]]:
    """`count` packets of sound from the title's first moment on, silence where there is none."""
    encoder = SoundEncoder(bit_rate_bps)
    for samples in sound:
        yield from encoder.add(samples, count)
        if encoder.blocks == count:
            break
    yield from encoder.finish(count)


def _frame(block: Samples, index: int) -> AudioFrame:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
    frame.sample_rate = RATE_HZ
    frame.pts, frame.time_base = index * FRAME_SAMPLES, Fraction(1, RATE_HZ)
    return frame


class SoundPlacer:
    """Brings decoded sound to 48 kHz stereo, whatever its parameters on the way, each sample at its time.

    Sample 0 is the title's first moment. The first sample that is placed lies exactly where it belongs.

    first: where the samples begin that it gives.
    """

    def __init__(self, first: int = 0) -> None:
        self._first = self._cursor = first
        self._resampler: AudioResampler | None = None
        self._parameters: tuple[str, str, int] | None = None

    def add(self, frame: AudioFrame, time_s: float | None) -> Samples:
        """The samples that follow. time_s: when the frame begins in the title; None: where the one before ended."""
        import av

        place = self._cursor if time_s is None else round(time_s * RATE_HZ)
        samples = np.zeros((CHANNELS, 0), np.float32)
        parameters = frame.format.name, frame.layout.name, frame.sample_rate
        if self._parameters != parameters:
            samples = _resample(self._resampler, None)
            self._resampler, self._parameters = av.AudioResampler("fltp", "stereo", RATE_HZ), parameters
        samples = np.concatenate((samples, _resample(self._resampler, frame)), axis=1)
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
        return np.zeros((CHANNELS, missing), np.float32)

    def finish(self) -> Samples:
        """What the resampler still holds."""
        return _resample(self._resampler, None)


def _align(path: Path, footage: SourceInfo, sound: SourceSound) -> Iterator[Samples]:
    """A sound of the source at 48 kHz stereo; sample 0 is the title's first moment."""
    placer = SoundPlacer()
    with open_source(path) as container:
        for frame, shift_s in each_with_shift(_decode(container, sound, path), sound.shifts):
            time_s = None if frame.time is None else frame.time + float(shift_s) - footage.start_s
            yield placer.add(frame, time_s)
        yield placer.finish()


def _resample(resampler: AudioResampler | None, frame: AudioFrame | None) -> Samples:
    """What the resampler gives for a frame, or at the end for None. One resampler takes one set of parameters."""
    if resampler is None:
        return np.zeros((CHANNELS, 0), np.float32)
    if frame is not None:
        frame.pts = None  # places are counted in samples here; the resampler need not know
    parts = [part.to_ndarray() for part in resampler.resample(frame)]
    return np.concatenate(parts, axis=1) if parts else np.zeros((CHANNELS, 0), np.float32)


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
