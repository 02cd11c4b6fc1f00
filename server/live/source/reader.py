"""A live source: opened by PyAV, read and decoded in a thread of its own, at the pace at which it comes.

Sources are hostile: only plain container formats and the protocols that an address itself names are opened.
"""

from __future__ import annotations

import errno
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from abr.errors import MediaError
from abr.media.languages import UNKNOWN, language_tag
from abr.media.probe import FORMATS
from abr.media.survey import decode_packet
from server.live.source.address import PROTOCOLS, Address

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame

_FORMATS = f"{FORMATS},live_flv,rtsp,rtp"
_LISTEN = {"listen": "1", "rtmp_live": "live", "probesize": "32768", "analyzeduration": "500000"}
_QUEUE_FRAMES = 96
"""Decoded frames of both kinds that wait for the encoders; a source that comes faster has to wait."""
_QUEUE_PX = 300_000_000
"""Pixels of all pictures that wait: a stranger's may be huge."""
_LOOK_EVERY_S = 0.2
_GRACE_S = 2.0
"""Silence that FFmpeg does not end by itself is ended so much later: what the decoders still hold comes first."""
_LISTEN_AGAIN_S = 0.5
"""After a connection that was no publisher's."""
_NEVER_LISTENS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}
_RTMP_PORT = 1935
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a source says of itself when it is opened."""

    promised_rate: Fraction
    pixel_aspect: Fraction
    video_stream: int
    audio_stream: int | None
    language: str


@dataclass(frozen=True, slots=True)
class _End:
    """Why no more will come: a clause about the source. error: of what cannot be a source at all."""

    why: str
    error: MediaError | None = None


class LiveSource:
    """Reads in the background from `start` on. One consumer takes `opened`, then `frames`."""

    def __init__(self, address: Address, *, clock: Callable[[], float] = time.monotonic) -> None:
        address.check()
        self.address = address
        self.damaged = 0
        """Packets that could not be decoded."""
        self.ended_by = ""
        """Why it has ended: a clause that follows its name. Empty while it runs."""
        self._clock = clock
        self._queue: queue.Queue[Opened | Arrived | _End] = queue.Queue(_QUEUE_FRAMES)
        self._pixels = 0
        """Of the pictures in the queue."""
        self._picture_due_s = 0.0
        """When a picture must have come, by the clock; not counted is the time for which the queue was full."""
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
        """Waits until the source is open; None when it was stopped before. Raises MediaError when it cannot be."""
        address = self.address
        first = self._take(address.silence_s + (address.wait_s if address.listen else address.silence_s))
        if isinstance(first, Opened):
            return first
        self._note(first)
        return None

    def frames(self) -> Iterator[Arrived]:
        """Decoded frames of both kinds as they come, until the source ends, is silent for too long or is stopped."""
        while not self.ended_by:
            item = self._take(self.address.silence_s)
            if not isinstance(item, Arrived):
                self._note(item)
                return
            self._count_pixels(-item.pixels)
            yield item

    def _take(self, limit_s: float) -> Opened | Arrived | _End:
        """The next item. The limit is for what FFmpeg does not end by itself, such as a pipe that says nothing."""
        due_s = self._clock() + limit_s + _GRACE_S
        while True:
            try:
                return self._queue.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                if self._stopped.is_set():
                    return _End(STOPPED)
                if self._clock() > due_s:
                    return _End(f"has sent nothing for {limit_s:g} s")

    def _note(self, end: Opened | Arrived | _End) -> None:
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
            self._stopped.wait(_LOOK_EVERY_S / 10)
        self._count_pixels(arrived.pixels)
        self._put(arrived)
        waited_s = self._clock() - arrived.arrived_s
        self._picture_due_s += waited_s
        if arrived.is_picture:
            self._picture_due_s = self._clock() + self.address.silence_s

    def _lacks_pictures(self) -> bool:
        """Whether sound alone has come for too long."""
        return self._clock() > self._picture_due_s

    def _put(self, item: Opened | Arrived | _End) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_LOOK_EVERY_S)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        begun = False
        try:
            with self._open() as container:
                chosen = self._choose(container)
                begun = True
                self._put(_End(self._read(container, chosen)))
        except MediaError as error:
            self._put(_End("cannot be used", error))
        except Exception as error:  # noqa: BLE001 - told by the thread that takes the frames
            self._put(self._end_of(error, begun))

    def _read(self, container: InputContainer, chosen: Sequence[Stream]) -> str:
        """Give all frames; why no more come."""
        import av

        self._picture_due_s = self._clock() + 2 * self.address.silence_s  # until a first key frame
        packets = _demuxed(container, chosen)
        try:
            for packet in _paced(packets, self._stopped, self._clock) if self.address.pace else packets:
                for frame in self._decoded(packet):
                    self._give(frame)
                if self._stopped.is_set():
                    return STOPPED
                if self._lacks_pictures():
                    return f"has sent no picture for {self.address.silence_s:g} s"
        except (av.error.FFmpegError, OSError):  # a connection that breaks off: the decoders still hold pictures
            for stream in chosen:
                for frame in _flushed(stream):
                    self._give(frame)
            raise
        return "has ended"

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

    def _open(self) -> InputContainer:
        """Open it. While it is listened for, whoever connects and is no publisher is passed over."""
        import av

        address = self.address
        if not address.listen:
            return self._open_once(address.silence_s)
        parts = urlsplit(address.place)
        socket.getaddrinfo(parts.hostname, parts.port or _RTMP_PORT)  # FFmpeg does not tell a wrong host from a guest
        due_s = self._clock() + address.wait_s
        while True:
            try:
                return self._open_once(max(due_s - self._clock(), _LOOK_EVERY_S))
            except av.error.FFmpegError as error:
                is_over = isinstance(error, av.error.ExitError) or self._clock() + _LISTEN_AGAIN_S > due_s
                if is_over or error.errno in _NEVER_LISTENS or self._stopped.wait(_LISTEN_AGAIN_S):
                    raise

    def _open_once(self, limit_s: float) -> InputContainer:
        import av

        address, place = self.address, self.address.place
        options: dict[str, str] = {}
        if address.listen:  # rw_timeout, in microseconds: of a connection, not of waiting for one
            options |= _LISTEN | {"rw_timeout": str(round(address.silence_s * 1e6))}
        if address.format != "lavfi" and address.scheme in PROTOCOLS:
            options["protocol_whitelist"] = PROTOCOLS[address.scheme]
        if address.scheme == "rtsp":
            options["rtsp_flags"] = "prefer_tcp"  # what is lost on the way would be seen by all viewers
        if address.scheme == "udp":
            options["overrun_nonfatal"] = "1"  # FFmpeg ends the stream otherwise when we fall behind
        if address.format is None:
            options["format_whitelist"] = _FORMATS
        if address.scheme == "pipe":
            place = "pipe:0"
        elif address.format is None and address.scheme == "file":
            place = f"file:{address.path}"
        limits_s = limit_s, address.silence_s
        return av.open(place, mode="r", format=address.format, options=options, timeout=limits_s)

    def _choose(self, container: InputContainer) -> list[Stream]:
        """The best pictures and their sound. Raises MediaError when there are no pictures."""
        import av

        video = container.streams.best("video")
        if not isinstance(video, av.VideoStream) or video.codec_context is None:
            raise MediaError(f"{self.address.shown} has no video stream that can be decoded; give one with pictures.")
        audio = container.streams.best("audio", related=video)
        chosen: list[Stream] = [video] if audio is None or audio.codec_context is None else [video, audio]
        for stream in chosen:
            stream.codec_context.thread_type = "AUTO"
        self._put(
            Opened(
                promised_rate=video.guessed_rate or video.average_rate or Fraction(25),
                pixel_aspect=video.sample_aspect_ratio or Fraction(1),
                video_stream=video.index,
                audio_stream=chosen[1].index if len(chosen) > 1 else None,
                language=language_tag(chosen[1].language) if len(chosen) > 1 else UNKNOWN,
            )
        )
        return chosen

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
