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
    """Fetches the audio track of one session, segment after segment.

    on_download gets `audio` or `init`, the number of the segment from 0, and the timing; on_failure gets a message.
    A segment that cannot be downloaded or decoded counts as silence of the same length.
    """

    def __init__(
        self,
        track: Track,
        transport: Transport,
        compute: WorkerThread,
        *,
        on_download: Callable[[str, int, Download], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._track, self._transport, self._compute = track, transport, compute
        self._on_download, self._on_failure = on_download, on_failure
        self._next_index = 0
        self._init = b""
        self._fetched_s = 0.0
        self.offset_max_s = 0.0
        """Seconds: the largest difference between the audio received and the media timeline."""

    async def fetch_until(self, media_s: float) -> list[Download]:
        """Fetch the segments that begin before `media_s`; returns the timing of each download."""
        spans, timings = self._track.segments, []
        while self._next_index < len(spans) and spans[self._next_index].start_s < media_s - 0.001:
            span = spans[self._next_index]
            try:
                timing, audio_s = await self._fetch(span)
                timings.append(timing)
                self._fetched_s += audio_s
            except (DownloadError, MediaError) as error:
                self._on_failure(f"audio segment {self._next_index} is lost: {error}")
                self._fetched_s += span.duration_s
            self.offset_max_s = max(self.offset_max_s, abs(self._fetched_s - (span.start_s + span.duration_s)))
            self._next_index += 1
        return timings

    async def _fetch(self, span: Span) -> tuple[Download, float]:
        """Timing of the download, and the seconds of audio in it."""
        reply, init = await run_both(
            get_with_retries(self._transport, span.url, on_failure=self._on_failure), self._fetch_init()
        )
        self._on_download("audio", self._next_index, reply.timing)
        return reply.timing, await self._compute.run(audio_duration_s, init + reply.body)

    async def _fetch_init(self) -> bytes:
        if not self._init:
            reply = await get_with_retries(self._transport, self._track.init_url, on_failure=self._on_failure)
            self._on_download("init", 0, reply.timing)
            self._init = reply.body
        return self._init
