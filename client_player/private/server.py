"""The HTTP of private rounds, from a member's side. The server is not trusted: answers are bounded and checked."""

from __future__ import annotations

import asyncio
from typing import Annotated, TypeVar
from urllib.parse import urljoin

import aiohttp
import msgspec
from msgspec import Meta

from abr.errors import FormatError, ToprungError
from abr.protocols.prefer import PREFER, wait_preference
from abr.records import dumps, loads
from abr.secure_aggregation.messages import Keys, Openings, ServerMessage, Shares, loads_message
from client_player.transport.http import DownloadError, read_body

MESSAGE_WAIT_S = 10
ANSWER_MAX_BYTES = 1 << 20
_PATIENCE_S = 20.0
"""Beyond the wait that was asked for, a server that says nothing has failed."""
_ID = r"^[A-Za-z0-9_-]{16}$"
_TOKEN = r"^[A-Za-z0-9_-]{43}$"
_JSON, _OCTETS = "application/json", "application/octet-stream"

T = TypeVar("T")


class RoundView(msgspec.Struct, frozen=True):
    """The round under way, as the server tells of it; further fields are passed over."""

    id: Annotated[str, Meta(pattern=_ID)]
    stage: str
    words: Annotated[int, Meta(ge=1, le=1 << 26)]
    layout: str
    left_s: Annotated[float, Meta(ge=0, le=1e6)]


class _Joined(msgspec.Struct, frozen=True):
    token: Annotated[str, Meta(pattern=_TOKEN)]


class RefusedAnswerError(ToprungError):
    """The server did not take what the member sent; `status` is its answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"The server refused a message of a private round ({status}): {detail}")
        self.status = status


class PrivateServer:
    """Rounds of the server at `base_url`, which ends in a slash. Methods raise DownloadError, FormatError.

    channel: what the rounds are about: private telemetry, or federation.
    """

    def __init__(self, pool: aiohttp.ClientSession, base_url: str, channel: str = "private") -> None:
        self._pool, self._base = pool, urljoin(base_url, f"{channel}/")
        self.sent_bytes = self.received_bytes = 0
        """Bodies alone."""

    async def show(self) -> RoundView | None:
        """The round under way; None where there are none."""
        body = await self.get("round")
        return None if body is None else loads(body, RoundView, what="The private round")

    async def get(self, path: str, bytes_max: int = ANSWER_MAX_BYTES) -> bytes | None:
        """What the server tells everybody below the channel's path; None where there is nothing."""
        try:
            _, body = await self._ask("GET", path, bytes_max=bytes_max)
        except RefusedAnswerError as error:
            if error.status == 404:
                return None
            raise
        return body

    async def join(self, round_id: str, keys: Keys) -> str:
        """The token of the new member. Raises RefusedAnswerError too: the round has begun, or is full."""
        _, body = await self._ask("POST", f"rounds/{round_id}/members", dumps(keys))
        return loads(body, _Joined, what="The answer to joining").token

    async def message(self, round_id: str, token: str) -> ServerMessage | None:
        """What the server asks or tells the member, or None after MESSAGE_WAIT_S. Raises RefusedAnswerError too."""
        told = {PREFER: wait_preference(MESSAGE_WAIT_S)} | _bearer(token)
        status, body = await self._ask("GET", f"rounds/{round_id}/message", headers=told)
        if status == 204:
            return None
        try:
            return loads_message(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError("The server's message is none of secure aggregation.") from error

    async def answer(self, round_id: str, token: str, answer: Shares | Openings | bytes) -> None:
        """Send what was asked for; bytes are the masked vector. Raises RefusedAnswerError too."""
        name = {Shares: "shares", Openings: "openings", bytes: "masked"}[type(answer)]
        body, kind = (answer, _OCTETS) if isinstance(answer, bytes) else (dumps(answer), _JSON)
        told = {"Content-Type": kind} | _bearer(token)
        await self._ask("POST", f"rounds/{round_id}/{name}", body, headers=told)

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        bytes_max: int = ANSWER_MAX_BYTES,
    ) -> tuple[int, bytes]:
        """Status and body of a 2xx answer."""
        url = self._base + path
        told = ({"Content-Type": _JSON} if body is not None else {}) | (headers or {})
        self.sent_bytes += len(body or b"")
        try:
            async with (
                asyncio.timeout(MESSAGE_WAIT_S + _PATIENCE_S),
                self._pool.request(method, url, data=body, headers=told, allow_redirects=False) as response,
            ):
                answer, _ = await read_body(response, bytes_max)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DownloadError(f"{url}: {str(error) or 'no answer came in time'}.") from error
        self.received_bytes += len(answer)
        if not 200 <= status < 300:
            raise RefusedAnswerError(status, answer.decode(errors="replace")[:300])
        return status, answer


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
