"""Audio, fetched so that it never falls behind the video, and counted: how much sound came, against the time line."""

from __future__ import annotations

from collections.abc import Callable

from abr.control import Download
from abr.errors import MediaError
from client_player.compute import Compute
from client_player.decode import audio_duration_s
from client_player.download import DownloadError, Transport, at_once, get_patiently
from client_player.manifest import Span, Track


class Sound:
    """The audio of one session. `came` hears of each download (audio or init, 0-based number), `failed` of troubles.

    Sound that cannot be had is silence of the same length.
    """

    def __init__(
        self,
        track: Track,
        transport: Transport,
        compute: Compute,
        *,
        came: Callable[[str, int, Download], None],
        failed: Callable[[str], None],
    ) -> None:
        self._track, self._transport, self._compute = track, transport, compute
        self._came, self._failed = came, failed
        self._next = 0
        self._init = b""
        self._heard_s = 0.0
        self.apart_s = 0.0
        """The most by which the sound that came differs from the time line."""

    async def fetch_until(self, media_s: float) -> list[Download]:
        """Fetch the segments that begin before `media_s`; returns when each came."""
        spans, timings = self._track.segments, []
        while self._next < len(spans) and spans[self._next].start_s < media_s - 0.001:
            span = spans[self._next]
            try:
                timing, heard_s = await self._fetch(span)
                timings.append(timing)
                self._heard_s += heard_s
            except (DownloadError, MediaError) as error:
                self._failed(f"audio segment {self._next} is lost: {error}")
                self._heard_s += span.duration_s
            self.apart_s = max(self.apart_s, abs(self._heard_s - (span.start_s + span.duration_s)))
            self._next += 1
        return timings

    async def _fetch(self, span: Span) -> tuple[Download, float]:
        """When it came, and how many seconds of sound are in it."""
        reply, init = await at_once(
            get_patiently(self._transport, span.url, on_failure=self._failed), self._know_init()
        )
        self._came("audio", self._next, reply.timing)
        return reply.timing, await self._compute.run(audio_duration_s, init + reply.body)

    async def _know_init(self) -> bytes:
        if not self._init:
            reply = await get_patiently(self._transport, self._track.init_url, on_failure=self._failed)
            self._came("init", 0, reply.timing)
            self._init = reply.body
        return self._init
