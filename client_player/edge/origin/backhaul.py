"""The thin line to the origin. What comes over it is counted; while nobody answers, the node does not ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import urljoin

from abr.errors import ToprungError
from abr.virtual_time import SessionClock
from client_player.transport.http import DownloadError, HttpReply, RetryPolicy, Transport, get_with_retries

AWAY_S = 2.0
"""After a failure the origin is taken to be away for this long."""
_PATIENCE = RetryPolicy(tries=2)


class OriginAwayError(ToprungError):
    """The origin cannot be reached, or does not answer as it should. retry_after_s: when to ask again."""

    retry_after_s = int(AWAY_S)


class Backhaul:
    """Downloads from one origin. on_bytes hears of each: its kind, and the bytes that travelled.

    origin: its base URL. down_s: when it was last found away; None while it answers.
    """

    def __init__(
        self, transport: Transport, origin: str, clock: SessionClock, on_bytes: Callable[[str, int], None]
    ) -> None:
        self._transport, self._clock, self._on_bytes = transport, clock, on_bytes
        self._origin = origin if origin.endswith("/") else origin + "/"
        self.down_s: float | None = None

    async def get(self, path: str, kind: str, *, max_bytes: int, headers: Mapping[str, str] | None = None) -> HttpReply:
        """The file at `path`, relative to the origin.

        Raises OriginAwayError, at once while it is taken to be away, and DownloadError for what the origin refuses.
        """
        if self.down_s is not None and self._clock.now_s() < self.down_s + AWAY_S:
            raise OriginAwayError("The origin cannot be reached; what is not kept here has to wait.")
        url = urljoin(self._origin, path)
        try:
            reply = await get_with_retries(
                self._transport, url, headers=headers, max_bytes=max_bytes, retries=_PATIENCE
            )
        except DownloadError as error:
            if 300 <= error.status < 500:
                self.down_s = None
                raise
            self.down_s = self._clock.now_s()
            raise OriginAwayError(f"The origin does not send what is not kept here: {error}") from error
        self.down_s = None
        self._on_bytes(kind, reply.timing.size_bytes)
        return replace(reply, url=path)
