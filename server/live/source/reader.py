"""A live source: read and decoded in a thread of its own, at the pace at which it comes.

A source that breaks off may come back within a while: then it goes on, with another connection.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from abr.errors import MediaError
from abr.media.survey import decode_packet
from server.live.source.address import Address
from server.live.source.opening import LOOK_EVERY_S, Opened, choose_streams, open_source
from server.live.source.second_publisher import refusing_publishers

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame

_QUEUE_FRAMES = 96
"""Decoded frames of both kinds that wait for the encoders; a source that comes faster has to wait."""
_QUEUE_PX = 300_000_000
"""Pixels of all pictures that wait: a stranger's may be huge."""
_GRACE_S = 2.0
"""Silence that FFmpeg does not end by itself is ended so much later: what the decoders still hold comes first."""
_AGAIN_S = 0.5
"""Between two looks for a source that has gone."""
STOPPED = "was stopped"
"""Why a source has ended that `stop` ended."""


class Arrived(NamedTuple):
    """A decoded frame, and when it came, by the monotonic clock."""

    frame: VideoFrame | AudioFrame
    arrived_s: float

    @property
    def pixels(self) -> int:
        """Of a picture; 0 of sound."""
        return getattr(self.frame, "width", 0) * getattr(self.frame, "height", 0)

    @property
    def sound_s(self) -> float:
        """How long sound lasts; 0 of a picture."""
        return getattr(self.frame, "samples", 0) / (getattr(self.frame, "sample_rate", 0) or 1)

    @property
    def is_picture(self) -> bool:
        """Or else sound."""
        return hasattr(self.frame, "pict_type")


@dataclass(frozen=True, slots=True)
class _End:
    """Why no more will come: a clause about the source. error: of what cannot be a source at all."""

    why: str
    error: MediaError | None = None


class _Gone(NamedTuple):
    """A connection has ended, and another one is waited for."""


_Item: TypeAlias = Opened | Arrived | _Gone | _End


class LiveSource:
    """Reads in the background from `start` on. One consumer takes `opened`, then `frames`, and again while it goes on.

    told: hears a sentence about who is waited for at first, and about whoever else wants to publish.
    """

    def __init__(
        self,
        address: Address,
        *,
        told: Callable[[str], None] = lambda _sentence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        address.check()
        self._told = told
        self.address = address
        self.damaged = 0
        """Packets that could not be decoded."""
        self.ended_by = ""
        """Why it has ended: a clause that follows its name. Empty while it runs."""
        self._clock = clock
        self._queue: queue.Queue[_Item] = queue.Queue(_QUEUE_FRAMES)
        self._pixels = 0
        """Of the pictures in the queue."""
        self._picture_due_s = 0.0
        """When a picture must have come, by the clock; not counted is the time for which the queue was full."""
        self._shows = self._has_shown = False
        """Whether this connection has given a picture, and whether any has."""
        self._counting = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-source", daemon=True)

    def start(self) -> None:
        """Begin to open and to read."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more: what is decoded already still comes. May be called from a signal handler."""
        self._stopped.set()

    def has_left(self, limit_s: float) -> bool:
        """Whether the thread has ended, or does within that time after `stop`: FFmpeg cannot be called back."""
        if self._thread.ident is not None:
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    def opened(self) -> Opened | None:
        """Waits until the source is open, or open again; None when it was stopped before, or does not come back.

        Raises MediaError when it cannot be a source.
        """
        address = self.address
        limit_s = address.silence_s + (address.wait_s if address.listen else address.silence_s)
        while not self.ended_by:
            item = self._take(limit_s + address.return_s)
            if isinstance(item, Opened):
                return item
            if not isinstance(item, _Gone):
                self._note(item)
        return None

    def frames(self) -> Iterator[Arrived]:
        """Decoded frames of both kinds as they come, until the source ends, is silent for too long or is stopped.

        It may go on with another connection as long as `ended_by` says nothing.
        """
        while not self.ended_by:
            item = self._take(self.address.silence_s)
            if isinstance(item, _Gone):
                return
            if not isinstance(item, Arrived):
                self._note(item)
                return
            self._count_pixels(-item.pixels)
            yield item

    def _take(self, limit_s: float) -> _Item:
        """The next item. The limit is for what FFmpeg does not end by itself, such as a pipe that says nothing."""
        due_s = self._clock() + limit_s + _GRACE_S
        while True:
            try:
                return self._queue.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                if self._stopped.is_set():
                    return _End(STOPPED)
                if self._clock() > due_s:
                    return _End(f"has sent nothing for {limit_s:g} s")

    def _note(self, end: _Item) -> None:
        assert isinstance(end, _End)
        self._stopped.set()
        self.ended_by = end.why
        if end.error is not None:
            raise end.error

    def _count_pixels(self, pixels: int) -> None:
        with self._counting:
            self._pixels += pixels

    def _give(self, frame: VideoFrame | AudioFrame) -> None:
        """Put a frame into the queue when there is room: for one that comes alone there always is."""
        arrived = Arrived(frame, self._clock())
        while self._pixels and self._pixels + arrived.pixels > _QUEUE_PX and not self._stopped.is_set():
            self._stopped.wait(LOOK_EVERY_S / 10)
        self._count_pixels(arrived.pixels)
        self._put(arrived)
        waited_s = self._clock() - arrived.arrived_s
        self._picture_due_s += waited_s
        if arrived.is_picture:
            self._shows = self._has_shown = True
            self._picture_due_s = self._clock() + self.address.silence_s

    def _lacks_pictures(self) -> bool:
        """Whether sound alone has come for too long."""
        return self._clock() > self._picture_due_s

    def _put(self, item: _Item) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=LOOK_EVERY_S)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        address = self.address
        end = self._connect(address.wait_s if address.listen else address.silence_s)
        due_s = self._clock() + address.return_s
        while self._has_shown and self._may_return(end):
            self._put(_Gone())
            if self._clock() >= due_s:
                end = _End(f"{end.why}, and did not come back within {address.return_s:g} s")
                break
            self._stopped.wait(_AGAIN_S)
            self._shows = False
            again = self._connect(max(LOOK_EVERY_S, due_s - self._clock()))
            if self._shows:
                end, due_s = again, self._clock() + address.return_s
        self._put(end)

    def _on_wait(self, sentence: str) -> None:
        """The stream tells by itself that its source is waited for again."""
        if not self._has_shown:
            self._told(sentence)

    def _may_return(self, end: _End) -> bool:
        return end.error is None and not self._stopped.is_set() and self.address.may_return

    def _connect(self, patience_s: float) -> _End:
        """One connection, from its opening to its end."""
        begun = False
        try:
            with open_source(self.address, patience_s, self._stopped, self._clock, self._on_wait) as container:
                opened, chosen = choose_streams(container, self.address)
                self._put(opened)
                begun = True
                with refusing_publishers(self.address, self._told):
                    return self._read(container, chosen)
        except MediaError as error:
            return _End("cannot be used", error)
        except Exception as error:  # noqa: BLE001 - told by the thread that takes the frames
            return self._end_of(error, begun)

    def _read(self, container: InputContainer, chosen: Sequence[Stream]) -> _End:
        """Give all frames; why no more come."""
        import av

        self._picture_due_s = self._clock() + 2 * self.address.silence_s  # until a first key frame
        packets = _demuxed(container, chosen)
        try:
            for packet in _paced(packets, self._stopped, self._clock) if self.address.pace else packets:
                for frame in self._decoded(packet):
                    self._give(frame)
                if self._stopped.is_set():
                    return _End(STOPPED)
                if self._lacks_pictures():
                    return _End(f"has sent no picture for {self.address.silence_s:g} s")
        except (av.error.FFmpegError, OSError):  # a connection that breaks off: the decoders still hold pictures
            for stream in chosen:
                for frame in _flushed(stream):
                    self._give(frame)
            raise
        return _End("has ended")

    def _end_of(self, error: Exception, begun: bool) -> _End:
        import av

        why = str(getattr(error, "strerror", None) or error)
        if isinstance(error, av.error.ExitError | av.error.TimeoutError):  # the limits that _open gives
            waited_s = self.address.silence_s if begun or not self.address.listen else self.address.wait_s
            why = f"has sent nothing for {waited_s:g} s"
        elif begun:
            why = f"has ended ({why})"
        if begun:
            return _End(why)
        said = why if why.startswith("has sent") else f"cannot be opened as a live source ({why})"
        advice = "publish to it, or give --wait" if self.address.listen else "see that it runs, and give --format"
        return _End(why, MediaError(f"{self.address.shown} {said}: {advice}."))

    def _decoded(self, packet: Packet[Any]) -> list[VideoFrame | AudioFrame]:
        frames = decode_packet(packet)
        self.damaged += frames is None
        return frames or []


def _demuxed(container: InputContainer, chosen: Sequence[Stream]) -> Iterator[Packet[Any]]:
    """The packets of the chosen streams. PyAV stumbles over a packet of a stream that turns up on the way."""
    while True:
        try:
            yield from container.demux(chosen)
            return
        except IndexError:
            continue


def _flushed(stream: Stream) -> list[VideoFrame | AudioFrame]:
    """The frames that a decoder has not given yet."""
    import av

    if not isinstance(stream, av.VideoStream | av.AudioStream):
        return []
    try:
        given = stream.codec_context.decode(None)
    except av.error.FFmpegError:
        return []
    frames = [frame for frame in given if isinstance(frame, av.VideoFrame | av.AudioFrame)]
    for frame in frames:
        frame.time_base = stream.time_base
    return frames


def _paced(
    packets: Iterator[Packet[Any]], stopped: threading.Event, clock: Callable[[], float]
) -> Iterator[Packet[Any]]:
    """Each packet at its own time, counted from the first one."""
    begun_s, first_s = clock(), None
    for packet in packets:
        if packet.dts is not None:
            time_s = float(packet.dts * packet.time_base)
            first_s = time_s if first_s is None else first_s
            if (wait_s := begun_s + time_s - first_s - clock()) > 0:
                stopped.wait(wait_s)
        yield packet
