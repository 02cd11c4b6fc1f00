"""A live source: opened by PyAV, read and decoded in a thread of its own, at the pace at which it comes.

Sources are hostile: only plain container formats and the protocols that an address itself names are opened.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from abr.errors import InputError, MediaError
from abr.media.languages import UNKNOWN, language_tag
from abr.media.probe import FORMATS
from abr.media.survey import decode_packet

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame

_FORMATS = f"{FORMATS},live_flv,rtsp,rtp"
_PROTOCOLS = {
    "file": "file",
    "http": "http,https,tcp,tls",
    "https": "http,https,tcp,tls",
    "pipe": "pipe",
    "rtmp": "rtmp,tcp",
    "rtp": "rtp,udp",
    "rtsp": "rtsp,rtp,udp,tcp",
    "tcp": "tcp",
    "udp": "udp",
}
"""What FFmpeg may open for an address of each scheme."""
_LISTEN = {"listen": "1", "rtmp_live": "live", "probesize": "32768", "analyzeduration": "500000"}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_QUEUE_FRAMES = 96
"""Decoded frames of both kinds that wait for the encoders; a source that comes faster has to wait."""
_LOOK_EVERY_S = 0.2
_SHOWN_MAX = 40
"""Characters of a test source's description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a source is and how to take it.

    place: a file, a URL, `-` for the standard input, or a graph for the format lavfi. listen: wait for a publisher.
    pace: take a file at its own rate. silence_s: a source that sends nothing for so long has ended. wait_s: how long
    the first picture is waited for.
    """

    place: str
    format: str | None = None
    listen: bool = False
    pace: bool = False
    silence_s: float = 10.0
    wait_s: float = 600.0

    @property
    def scheme(self) -> str:
        """Such as rtmp; `file` for what is no URL."""
        if self.place == "-":
            return "pipe"
        found = _SCHEME.match(self.place)
        return found[1].lower() if found else "file"

    @property
    def path(self) -> str:
        """Of a file."""
        return self.place.removeprefix("file://")

    @property
    def shown(self) -> str:
        """The place as it may be told: without a password and without a query, which may hold one."""
        if self.format == "lavfi":
            return f"the test source {self.place[:_SHOWN_MAX]}"
        if self.scheme in ("file", "pipe"):
            return "the standard input" if self.place == "-" else Path(self.place).name or self.place
        parts = urlsplit(self.place)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def check(self) -> None:
        """Raises InputError for what cannot be a source."""
        if self.format is None and self.scheme not in _PROTOCOLS:
            hint = " For SRT, let a relay such as MediaMTX take it, and read that by RTSP." * (self.scheme == "srt")
            raise InputError(f"{self.scheme}:// is no source that can be taken; known: {', '.join(_PROTOCOLS)}.{hint}")
        if self.listen and self.scheme != "rtmp":
            raise InputError("--listen waits for a publisher at an address such as rtmp://0.0.0.0:1935/app/key.")
        if self.format is None and self.scheme == "file" and not Path(self.path).exists():
            raise MediaError(f"There is no file {self.place}; give a file, or an address such as rtsp://HOST/PATH.")


class Arrived(NamedTuple):
    """A decoded frame, and when it came, by the monotonic clock."""

    frame: VideoFrame | AudioFrame
    arrived_s: float

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
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-source", daemon=True)

    def start(self) -> None:
        """Begin to open and to read."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more: what is decoded already still comes. May be called from a signal handler."""
        self._stopped.set()

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
            item = self._take(2 * self.address.silence_s)
            if not isinstance(item, Arrived):
                self._note(item)
                return
            yield item

    def _take(self, limit_s: float) -> Opened | Arrived | _End:
        """The next item. The limit is for what FFmpeg does not end by itself, such as a pipe that says nothing."""
        due_s = self._clock() + limit_s
        while True:
            try:
                return self._queue.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                if self._stopped.is_set():
                    return _End("was stopped")
                if self._clock() > due_s:
                    return _End(f"has sent nothing for {limit_s:.0f} s")

    def _note(self, end: Opened | Arrived | _End) -> None:
        assert isinstance(end, _End)
        self._stopped.set()
        self.ended_by = end.why
        if end.error is not None:
            raise end.error

    def _put(self, item: Opened | Arrived | _End) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_LOOK_EVERY_S)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        import av

        begun = False
        try:
            with self._open() as container:
                chosen = self._choose(container)
                begun = True
                self._read(container, chosen)
            self._put(_End("has ended"))
        except MediaError as error:
            self._put(_End("cannot be used", error))
        except (av.error.FFmpegError, OSError, ValueError, UnicodeDecodeError) as error:
            self._put(self._end_of(error, begun))

    def _read(self, container: InputContainer, chosen: Sequence[Stream]) -> None:
        import av

        packets = container.demux(chosen)
        try:
            for packet in _paced(packets, self._stopped, self._clock) if self.address.pace else packets:
                for frame in self._decoded(packet):
                    self._put(Arrived(frame, self._clock()))
                if self._stopped.is_set():
                    return
        except (av.error.FFmpegError, OSError):  # a connection that breaks off: the decoders still hold pictures
            for stream in chosen:
                for frame in _flushed(stream):
                    self._put(Arrived(frame, self._clock()))
            raise

    def _end_of(self, error: Exception, begun: bool) -> _End:
        import av

        why = str(getattr(error, "strerror", None) or error)
        if isinstance(error, av.error.ExitError):  # the limit that _open gives
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
        import av

        address, place = self.address, self.address.place
        options = dict(_LISTEN) if address.listen else {}
        if address.format != "lavfi" and address.scheme in _PROTOCOLS:
            options["protocol_whitelist"] = _PROTOCOLS[address.scheme]
        if address.scheme == "rtsp":
            options["rtsp_flags"] = "prefer_tcp"  # what is lost on the way would be seen by all viewers
        if address.format is None:
            options["format_whitelist"] = _FORMATS
        if address.scheme == "pipe":
            place = "pipe:0"
        elif address.format is None and address.scheme == "file":
            place = f"file:{address.path}"
        limits_s = (address.wait_s if address.listen else address.silence_s, address.silence_s)
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
