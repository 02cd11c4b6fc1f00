"""Opening a source by PyAV: the protocols and formats that it may have, and who connects while it is listened for.

Sources are hostile: only plain container formats and the protocols that an address itself names are opened.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from abr.errors import MediaError
from abr.media.languages import UNKNOWN, language_tag
from abr.media.probe import FORMATS
from server.live.source.address import PROTOCOLS, Address

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

_FORMATS = f"{FORMATS},live_flv,rtsp,rtp"
_LISTEN = {"listen": "1", "rtmp_live": "live", "probesize": "32768", "analyzeduration": "500000"}
LOOK_EVERY_S = 0.2
_LISTEN_AGAIN_S = 0.5
"""After a connection that was no publisher's."""
_NEVER_LISTENS = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}
RTMP_PORT = 1935


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a source says of itself when it is opened."""

    promised_rate: Fraction
    pixel_aspect: Fraction
    video_stream: int
    audio_stream: int | None
    language: str


def open_source(
    address: Address,
    patience_s: float,
    stopped: threading.Event,
    clock: Callable[[], float],
    told: Callable[[str], None],
) -> InputContainer:
    """Open it. While it is listened for, whoever connects and is no publisher is passed over.

    told: hears that a publisher is waited for.

    Raises what PyAV raises, and OSError, when it is not there within `patience_s`.
    """
    import av

    if not address.listen:
        return _open_once(address, patience_s)
    parts = urlsplit(address.place)
    socket.getaddrinfo(parts.hostname, parts.port or RTMP_PORT)  # FFmpeg does not tell a wrong host from a guest
    due_s = clock() + patience_s
    told(f"waits for a publisher at {address.shown}, for {patience_s:.0f} s.")
    while True:
        try:
            return _open_once(address, max(due_s - clock(), LOOK_EVERY_S))
        except av.error.FFmpegError as error:
            is_over = isinstance(error, av.error.ExitError) or clock() + _LISTEN_AGAIN_S > due_s
            if is_over or error.errno in _NEVER_LISTENS or stopped.wait(_LISTEN_AGAIN_S):
                raise


def _open_once(address: Address, limit_s: float) -> InputContainer:
    import av

    place = address.place
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


def choose_streams(container: InputContainer, address: Address) -> tuple[Opened, Sequence[Stream]]:
    """The best pictures and their sound. Raises MediaError when there are no pictures."""
    import av

    video = container.streams.best("video")
    if not isinstance(video, av.VideoStream) or video.codec_context is None:
        raise MediaError(f"{address.shown} has no video stream that can be decoded; give one with pictures.")
    audio = container.streams.best("audio", related=video)
    chosen: list[Stream] = [video] if audio is None or audio.codec_context is None else [video, audio]
    for stream in chosen:
        stream.codec_context.thread_type = "AUTO"
    opened = Opened(
        promised_rate=video.guessed_rate or video.average_rate or Fraction(25),
        pixel_aspect=video.sample_aspect_ratio or Fraction(1),
        video_stream=video.index,
        audio_stream=chosen[1].index if len(chosen) > 1 else None,
        language=language_tag(chosen[1].language) if len(chosen) > 1 else UNKNOWN,
    )
    return opened, chosen
