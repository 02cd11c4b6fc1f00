"""The sound: AAC, and Opus where asked for, in segments that end with the video's as nearly as their frames allow.

A sound of more than two channels comes as stereo, mixed down as ITU-R BS.775 has it (centre and surrounds 3 dB down,
no LFE), which is what FFmpeg's resampler does; and as 5.1 beside that.

FFmpeg's AAC encoder hands out one frame of priming before the first sample. It is dropped, so that sample 0 plays at
time 0 without an edit list, which not every player honours; the first 21 ms fade in instead. libopus is given the
sound that much early (`SoundCodec.lead_samples`), for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from abr.core.title import INIT_FILE, AudioTrack
from abr.errors import MediaError
from abr.media.languages import UNKNOWN
from abr.media.probe import SourceInfo, open_source
from abr.media.survey import decode_packet
from abr.media.timeline import each_with_shift
from abr.media.tracks import SourceSound
from server.ingest.encoders.sound import AAC, OPUS, SoundCodec, frame_ends, without_pre_skip
from server.ingest.mp4.cmaf import FRAGMENTED, CmafCutter, SegmentWriter, Write

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer
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
FRAME_SAMPLES = AAC.frame_samples
CODECS = AAC.codecs
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a sound is encoded. stereo_bps: bit rate of AAC in stereo."""

    stereo_bps: int
    channels: int = CHANNELS
    codec: SoundCodec = AAC

    @property
    def layout(self) -> str:
        """FFmpeg's name of the channels."""
        return _LAYOUTS[self.channels]

    @property
    def bit_rate_bps(self) -> int:
        """Of this codec and these channels."""
        return int(self.stereo_bps * self.codec.rate_share) * (_SURROUND_BIT_RATE if self.channels == SURROUND else 1)


def encode_sounds(
    path: Path,
    footage: SourceInfo,
    segment_ends_s: Sequence[Fraction],
    stereo_bps: int,
    writer: Callable[[str], Write],
    *,
    opus: bool = False,
    advance: Callable[[float], None] = lambda _seconds: None,
) -> tuple[AudioTrack, ...]:
    """Encode all sounds of the source in AAC, then if wanted in Opus. writer: gives what writes the files of a track.

    Raises MediaError when a stream cannot be decoded, StorageError from `writer`.
    """
    tracks = []
    for codec, (number, channels) in product((AAC, OPUS) if opus else (AAC,), versions_of(footage.sounds)):
        sound, id_ = footage.sounds[number], track_id(number)
        id_ = (surround_id(id_) if channels == SURROUND else id_) + codec.suffix
        form, ends = Form(stereo_bps=stereo_bps, channels=channels, codec=codec), frame_ends(segment_ends_s, codec)
        packets = _encode_packets(_align(path, footage, sound, channels), ends[-1], form)
        track = _write_track(packets, ends, form, writer(id_), advance)
        tracks.append(msgspec.structs.replace(track, id=id_, language=sound.language, name=sound.name, role=sound.role))
    return tuple(tracks)


def _write_track(
    packets: Iterator[Packet[AudioStream]],
    ends: Sequence[int],
    form: Form,
    write: Write,
    advance: Callable[[float], None],
) -> AudioTrack:
    """Aligned with the title's first moment, padded or cut to its duration."""
    segments = SegmentWriter(write, in_parts=False)
    init = b""
    for index, (first, end) in enumerate(pairwise([0, *ends])):
        init, chunk = mux_sound([next(packets) for _ in range(end - first)], index, form)
        if index == 0:
            write(INIT_FILE, init)
        segments.add(chunk, closes=True)
        advance((end - first) * form.codec.frame_samples / RATE_HZ)
    track = sound_track(ends, segments.sizes, len(init), UNKNOWN, form.codec)
    return msgspec.structs.replace(track, channels=form.channels)


def sound_track(
    ends: Sequence[int], sizes: Sequence[int], init_bytes: int, language: str, codec: SoundCodec = AAC
) -> AudioTrack:
    """A title's first track, in stereo, as measured. ends: as `frame_ends` gives them. sizes: bytes of each segment."""
    spans = [(end - first) * codec.frame_samples / RATE_HZ for first, end in pairwise([0, *ends])]
    return AudioTrack(
        id=TRACK,
        codecs=codec.codecs,
        bandwidth_bps=max(int(size * 8 / span) + 1 for size, span in zip(sizes, spans, strict=True)),
        sample_rate_hz=RATE_HZ,
        channels=CHANNELS,
        init_bytes=init_bytes,
        segment_bytes=tuple(sizes),
        language=language,
    )


def mux_sound(packets: Sequence[Packet[AudioStream]], index: int, form: Form) -> tuple[bytes, bytes]:
    """Init segment and chunk of some packets: one short-lived muxer each, which numbers its fragment."""
    import av

    cutter = CmafCutter()
    options = {"movflags": FRAGMENTED + "+frag_discont", "fragment_index": str(index + 1)}
    with av.open(cutter, "w", format="mp4", options=options) as container:
        stream = container.add_stream(form.codec.library, rate=RATE_HZ, bit_rate=form.bit_rate_bps, layout=form.layout)
        assert isinstance(stream, av.AudioStream)
        for packet in packets:
            packet.stream = stream
            container.mux_one(packet)
    (chunk,) = cutter.take()
    return without_pre_skip(cutter.init) if form.codec is OPUS else cutter.init, chunk


class SoundEncoder:
    """Packets that begin with one another's end, from samples as they come; a priming packet is left out.

    first: of the packets; their pts begin with it.
    """

    def __init__(self, form: Form, first: int = 0) -> None:
        import av

        self._form, self._size = form, form.codec.frame_samples
        codec = av.CodecContext.create(form.codec.library, "w")
        assert isinstance(codec, av.AudioCodecContext)
        self._codec = codec
        self._codec.sample_rate, self._codec.layout, self._codec.format = RATE_HZ, form.layout, _format(form)
        self._codec.bit_rate = form.bit_rate_bps
        self._codec.time_base, self._codec.options = Fraction(1, RATE_HZ), dict(form.codec.options)
        self._pending: Samples = np.zeros((form.channels, 0), np.float32)
        self._early = form.codec.lead_samples
        self._first = self.blocks = first
        """Up to which it is encoded."""

    def add(self, samples: Samples, count: int | None = None) -> Iterator[Packet[AudioStream]]:
        """Encode the next samples. count: no more than so many packets are made in all."""
        early = min(self._early, samples.shape[1])
        self._early -= early
        self._pending = np.concatenate((self._pending, samples[:, early:]), axis=1)
        while self._pending.shape[1] >= self._size and self.blocks != count:
            block, self._pending = self._pending[:, : self._size], self._pending[:, self._size :]
            yield from self._encode(block)

    def finish(self, count: int) -> Iterator[Packet[AudioStream]]:
        """The packets that are left of `count`, silent where samples are missing."""
        while self.blocks < count:
            block = np.zeros((len(self._pending), self._size), np.float32)
            given = self._pending[:, : self._size]
            block[:, : given.shape[1]] = given
            self._pending = self._pending[:, self._size :]
            yield from self._encode(block)
        yield from self._in_time(self._codec.encode(None))

    def _encode(self, block: Samples) -> Iterator[Packet[AudioStream]]:
        packets = self._codec.encode(_frame(block, self.blocks, self._form))
        self.blocks += 1
        yield from self._in_time(packets)

    def _in_time(self, packets: Iterable[Packet[AudioStream]]) -> Iterator[Packet[AudioStream]]:
        for packet in packets:
            if packet.pts is not None:
                packet.pts = packet.dts = packet.pts + self._form.codec.lead_samples
                if packet.pts >= self._first * self._size:
                    yield packet


def _encode_packets(sound: Iterator[Samples], count: int, form: Form) -> Iterator[Packet[AudioStream]]:
    """`count` packets of sound from the title's first moment on, silence where there is none."""
    encoder = SoundEncoder(form)
    for samples in sound:
        yield from encoder.add(samples, count)
        if encoder.blocks == count:
            break
    yield from encoder.finish(count)


def _format(form: Form) -> str:
    return "flt" if form.codec.packed else "fltp"


def _frame(block: Samples, index: int, form: Form) -> AudioFrame:
    import av

    samples = block.T.reshape(1, -1) if form.codec.packed else block
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=_format(form), layout=form.layout)
    frame.sample_rate = RATE_HZ
    frame.pts, frame.time_base = index * form.codec.frame_samples, Fraction(1, RATE_HZ)
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
