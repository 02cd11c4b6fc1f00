"""Encode all rungs at once: one decode feeds a thread per rung, each with its own scaler, encoder and muxer.

The slowest rung limits the whole, so the top rung's thread has the highest priority. A rung's encoder gets threads by
its share of all pixels: more of them only cost CPU.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import groupby
from queue import Queue
from typing import TYPE_CHECKING, Protocol

from abr.core.title import INIT_FILE, Count, Positive
from abr.errors import ToprungError
from abr.records import Record
from server.ingest.encode_settings import Cuts, EncodeSettings, LiveEncoding, segment_length
from server.ingest.encoders.codec_names import codecs_of
from server.ingest.encoders.encoder import open_stream
from server.ingest.encoders.hdr_boxes import with_hdr_boxes
from server.ingest.encoders.options import encoder_options
from server.ingest.ladder import Rung
from server.ingest.mp4.cmaf import (
    FRAGMENTED,
    CmafCutter,
    SegmentWriter,
    Write,
    as_standalone,
    standalone_init_file,
)

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

_QUEUE_FRAMES = 24
_NICE = 4
"""Niceness of the lower rungs' threads against the top one, as in nice(2)."""
_SHORTEST_SEGMENT_S = Fraction(1, 4)
"""A shorter rest of the title joins the segment before it."""
_SCALER = "BICUBIC"
_NONE, _INTRA = 0, 1
"""AV_PICTURE_TYPE_*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Between two frames: the segment under way ends there, however short it is, and is written at once.

    From there on, up to the next break: without: ids of rungs that are not made. eased: of those with least effort.
    """

    without: frozenset[str] = frozenset()
    eased: frozenset[str] = frozenset()


class _Options(Protocol):
    """The encoder's, of one rung."""

    def __call__(self, *, eased: bool) -> dict[str, str]: ...


class EncodedRung(Record, frozen=True):
    """One encoded rung: codec string, and bytes and frames of each segment as written.

    A segment that was left out has 0 bytes.
    """

    id: str
    codecs: str
    init_bytes: Positive
    segment_bytes: tuple[Count, ...]
    segment_frames: tuple[Positive, ...]


def encode_ladder(
    frames: Iterable[VideoFrame | Break],
    rungs: Sequence[Rung],
    recipe: EncodeSettings,
    rate: Fraction,
    write: Callable[[Rung], Write],
    *,
    advance: Callable[[float], None] = lambda _frames: None,
    live: LiveEncoding | None = None,
) -> tuple[EncodedRung, ...]:
    """Encode display frames (pts on the grid, time base 1/rate) to every rung, lowest first.

    Segments start at the same frames in all rungs. The first error in any thread stops all and is raised here:
    StorageError from `write`, ToprungError from an encoder. live: hand out each frame as soon as it is encoded, at the
    cost of some bits; a short rest of the title stays a segment.
    """
    segment_frames = segment_length(recipe, rate)
    writers = {rung.id: write(rung) for rung in rungs}
    threads = threads_of(rungs, os.cpu_count() or 1)
    recipes = recipe.by_codec

    def options(rung: Rung, *, eased: bool) -> dict[str, str]:
        settings, in_time = recipes[rung.codec], live is not None
        return encoder_options(rung, settings, threads=threads[rung.id], low_delay=in_time, eased=eased)

    shortest_frames = 0 if live else int(_SHORTEST_SEGMENT_S * rate)
    chunk_frames, first = (live.chunk_frames, live.first_segment) if live else (0, 0)
    cuts = Cuts(rate, segment_frames, chunk_frames or segment_frames)
    encoders = [_RungEncoder(rung, partial(options, rung), cuts, writers[rung.id], first) for rung in rungs]
    for encoder in encoders[:-1]:
        encoder.nice = _NICE
    taking = _share_scaling(encoders)
    try:
        for encoder in encoders:
            encoder.thread.start()
        for frame in _marked(frames, segment_frames, shortest_frames):
            for encoder in taking:
                encoder.queue.put(frame)
            _raise_error(encoders)
            advance(not isinstance(frame, Break))
    except BaseException:
        for encoder in encoders:
            encoder.abandon()
        raise
    finally:
        for encoder in taking:
            encoder.queue.put(None)
        for encoder in encoders:
            encoder.thread.join()
    _raise_error(encoders)
    return tuple(encoder.result() for encoder in encoders)


def threads_of(rungs: Sequence[Rung], cores: int) -> dict[str, int]:
    """Encoder threads of each rung: its share of all pixels in cores, one at least."""
    pixels = sum(rung.pixels for rung in rungs)
    return {rung.id: max(1, round(cores * rung.pixels / pixels)) for rung in rungs}


def _raise_error(encoders: Iterable[_RungEncoder]) -> None:
    for encoder in encoders:
        if encoder.error:
            raise encoder.error


def _share_scaling(encoders: Sequence[_RungEncoder]) -> list[_RungEncoder]:
    """Let an encoder take frames from a rung at least twice its size: cheaper to scale than the display frame.

    One whose size a ladder before its own has too takes them from there. Returns the encoders that take display frames.
    """
    first: list[_RungEncoder] = []
    top_px = encoders[-1].rung.pixels
    for place, encoder in enumerate(encoders):
        rung = encoder.rung
        before = (each for each in encoders[:place] if each.rung.codec != rung.codec)
        same = next((each for each in before if each.rung.pixels == rung.pixels), None)
        larger = [other for other in encoders if other.rung.height_px >= 2 * rung.height_px]
        nearest = same or min(larger, key=lambda other: other.rung.pixels, default=None)
        if nearest is None or nearest.rung.pixels == top_px:
            first.append(encoder)
        else:
            nearest.feeds.append(encoder)
    return first


def _marked(
    frames: Iterable[VideoFrame | Break], segment_frames: int, shortest_frames: int
) -> Iterator[VideoFrame | Break]:
    """As `mark_key_frames`, anew after each break."""
    for is_break, run in groupby(frames, key=lambda each: isinstance(each, Break)):
        if is_break:
            yield from run
        else:
            pictures = (each for each in run if not isinstance(each, Break))
            yield from mark_key_frames(pictures, segment_frames, shortest_frames)


def mark_key_frames(frames: Iterable[VideoFrame], segment_frames: int, shortest_frames: int) -> Iterator[VideoFrame]:
    """Mark every `segment_frames`-th frame as a key frame, unless fewer than `shortest_frames` would follow it."""
    ahead: deque[VideoFrame] = deque()
    index = 0
    for frame in frames:
        ahead.append(frame)
        if len(ahead) > shortest_frames:
            yield _mark_key_frame(ahead.popleft(), index % segment_frames == 0)
            index += 1
    while ahead:
        starts = index == 0 or (index % segment_frames == 0 and len(ahead) >= shortest_frames)
        yield _mark_key_frame(ahead.popleft(), starts)
        index += 1


def _mark_key_frame(frame: VideoFrame, key: bool) -> VideoFrame:
    frame.pict_type = _INTRA if key else _NONE
    return frame


class _RungEncoder:
    """One rung's thread. It always empties its queue, also after a failure, so that nobody waits for it forever."""

    def __init__(self, rung: Rung, options: _Options, cuts: Cuts, write: Write, first: int) -> None:
        self.rung = rung
        self.rate = cuts.rate
        self._options = options
        self._next = Break()
        """How it goes on."""
        self._cuts = cuts
        self.nice = 0
        self.write = write
        self.queue: Queue[VideoFrame | Break | None] = Queue(_QUEUE_FRAMES)
        self.error: BaseException | None = None
        self._init = b""
        self._segments, self._first = SegmentWriter(write, in_parts=cuts.chunks > 1, first=first), first
        self._taken = self._taken_before = first * cuts.chunks
        """Chunks so far, and up to the last break."""
        self._segment_frames: list[int] = []
        self._ended = False
        self._abandoned = False
        self.feeds: list[_RungEncoder] = []
        """Lower rungs that are scaled from this one's frames."""
        self.thread = threading.Thread(target=self._run, name=f"encode-{rung.id}", daemon=True)

    def abandon(self) -> None:
        """Drop the frames to come: the thread that delivers them has failed."""
        self._abandoned = True

    def result(self) -> EncodedRung:
        return EncodedRung(
            id=self.rung.id,
            codecs=codecs_of(self._init, self.rung.hdr),
            init_bytes=len(self._init),
            segment_bytes=tuple(self._segments.sizes[self._first :]),
            segment_frames=tuple(self._segment_frames),
        )

    def _run(self) -> None:
        import av

        if self.nice and sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.nice)
        try:
            self._encode()
        except av.error.FFmpegError as error:
            self.error = ToprungError(f"Encoding {self.rung.id} failed: {error.strerror}.")
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that feeds this one
            self.error = error
        while not self._ended:
            for _ in self._frames():
                pass
        for encoder in self.feeds:
            encoder.queue.put(None)

    def _frames(self) -> Iterator[VideoFrame]:
        """Up to a break or the end."""
        while not self._ended:
            frame = self.queue.get()
            if frame is None:
                self._ended = True
            elif isinstance(frame, Break):
                self._next = frame
                return
            elif not self._abandoned:
                yield frame

    def _encode(self) -> None:
        from av.video.reformatter import VideoReformatter

        scaler = VideoReformatter()
        while not self._ended:
            self._encode_run(scaler)
            for encoder in () if self._ended else self.feeds:
                encoder.queue.put(self._next)

    def _encode_run(self, scaler: VideoReformatter) -> None:
        """Up to a break or the end. Each run has an encoder and a muxer of its own: no other way ends a segment."""
        container: OutputContainer | None = None
        cutter = CmafCutter()
        is_made, eased = self.rung.id not in self._next.without, self.rung.id in self._next.eased
        for frame in self._frames():
            if not is_made:
                self._leave_out(frame)
                if not self.feeds:
                    continue
            elif container is None:
                container = self._open_container(cutter)
                options = self._options(eased=eased)
                stream = open_stream(container, self.rung, self.rate, options)
            scaled = scaler.reformat(
                frame, self.rung.width_px, self.rung.height_px, self.rung.pixel_format, interpolation=_SCALER
            )
            scaled.pts, scaled.time_base, scaled.pict_type = frame.pts, frame.time_base, frame.pict_type
            for encoder in self.feeds:
                encoder.queue.put(scaled)
            if container is not None:
                self._mux(container, stream, scaled)
                self._write_complete(cutter)
        if container is not None and not self._abandoned:
            self._mux(container, stream, None)
            container.close()
            self._write_complete(cutter)
            self._segments.close()
            self._taken_before = self._taken

    def _leave_out(self, frame: VideoFrame) -> None:
        if frame.pict_type == _INTRA:
            self._segment_frames.append(0)
            self._segments.leave_out()
        self._segment_frames[-1] += 1

    def _open_container(self, cutter: CmafCutter) -> OutputContainer:
        """Its fragments have their frames' own times, and numbers that go on."""
        import av

        options = {
            "movflags": FRAGMENTED + "+frag_keyframe+frag_discont",
            "video_track_timescale": str(timescale(self.rate)),
            "fragment_index": str(self._taken + 1),
        }
        if self._cuts.chunks > 1:
            options["frag_duration"] = str(self._cuts.chunk_us)
        return av.open(cutter, "w", format="mp4", options=options)

    def _mux(self, container: OutputContainer, stream: VideoStream, frame: VideoFrame | None) -> None:
        for packet in stream.encode(frame):
            if packet.is_keyframe:
                self._segment_frames.append(0)
            self._segment_frames[-1] += 1
            packet.duration = 1
            container.mux_one(packet)

    def _write_complete(self, cutter: CmafCutter) -> None:
        for chunk in cutter.take():
            if not self._init:
                self._init = with_hdr_boxes(cutter.init, self.rung.hdr)
                self.write(INIT_FILE, self._init)
                codec = self.rung.codec
                if codec.standalone_entry != codec.in_band_entry:
                    self.write(standalone_init_file(codec), as_standalone(self._init, codec))
            self._taken += 1
            self._segments.add(chunk, closes=(self._taken - self._taken_before) % self._cuts.chunks == 0)


def timescale(rate: Fraction) -> int:
    """Ticks per second in which a frame lasts a whole number of ticks: 24 → 24000, 30000/1001 → 30000."""
    return rate.numerator if rate.numerator >= 10_000 else rate.numerator * 1000
