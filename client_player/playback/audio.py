"""Downloads the audio right behind the video, and measures how far the two timelines are apart."""

from __future__ import annotations

from collections.abc import Callable

from abr.core.control import Download
from abr.errors import MediaError
from client_player.decoder import audio_duration_s
from client_player.source.mpd import Span, Track
from client_player.transport.http import DownloadError, Transport, get_with_retries, run_both
from client_player.worker_thread import WorkerThread


class AudioFetcher:
    """Fetches the audio track of one session, segment after segment, from `begin_at` on.

    track: what there is of it now; more of a live one comes while it is played.
    on_download gets `audio` or `init`, the number of the segment from 0, and the timing; on_failure gets a message.
    key: of a protected title, in hex.
    A segment that cannot be downloaded or decoded counts as silence of the same length.
    """

    def __init__(
        self,
        track: Callable[[], Track],
        transport: Transport,
        compute: WorkerThread,
        *,
        on_download: Callable[[str, int, Download], None],
        on_failure: Callable[[str], None],
        key: str = "",
    ) -> None:
        self._track, self._transport, self._compute = track, transport, compute
        self._on_download, self._on_failure = on_download, on_failure
        self._key = key
        self._next = 0
        self._init = b""
        self._fetched_s = 0.0
        self.offset_max_s = 0.0
        """Seconds: the largest difference between the audio received and the media timeline."""

    def begin_at(self, media_s: float) -> None:
        """Leave out what ends before; also in the middle, where pictures were left out."""
        track = self._track()
        whole = (number for number, span in enumerate(track.segments, track.first) if span.start_s >= media_s - 0.001)
        self._next = max(self._next, next(whole, track.first + len(track.segments)))
        self._fetched_s = media_s

    async def fetch_until(self, media_s: float) -> list[Download]:
        """Fetch the segments that begin before `media_s`; returns the timing of each download."""
        track, timings = self._track(), []
        self._next = max(self._next, track.first)
        while (span := self._span(track)) is not None and span.start_s < media_s - 0.001:
            try:
                timing, audio_s = await self._fetch(span)
                timings.append(timing)
                self._fetched_s += audio_s
            except (DownloadError, MediaError) as error:
                self._on_failure(f"audio segment {self._next} is lost: {error}")
                self._fetched_s += span.duration_s
            self.offset_max_s = max(self.offset_max_s, abs(self._fetched_s - (span.start_s + span.duration_s)))
            self._next += 1
        return timings

    def _span(self, track: Track) -> Span | None:
        index = self._next - track.first
        return track.segments[index] if index < len(track.segments) else None

    async def _fetch(self, span: Span) -> tuple[Download, float]:
        """Timing of the download, and the seconds of audio in it."""
        reply, init = await run_both(
            get_with_retries(self._transport, span.url, on_failure=self._on_failure), self._fetch_init()
        )
        self._on_download("audio", self._next, reply.timing)
        return reply.timing, await self._compute.run(audio_duration_s, init + reply.body, self._key)

    async def _fetch_init(self) -> bytes:
        if not self._init:
            reply = await get_with_retries(self._transport, self._track().init_url, on_failure=self._on_failure)
            self._on_download("init", 0, reply.timing)
            self._init = reply.body
        return self._init
