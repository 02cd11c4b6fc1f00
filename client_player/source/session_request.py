"""Asking a Toprung server for a session: what `POST /sessions` takes and what it answers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin

import aiohttp
import msgspec

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.errors import InputError
from abr.protocols.prefer import PREFER, wait_preference
from abr.protocols.session_api import PUBLIC_ID_CHARACTERS
from abr.records import dumps, loads
from abr.virtual_time import working
from client_player.transport.http import DownloadError, read_body

_ANSWER_MAX_BYTES = 1 << 20
_ANSWER_MAX_S = 60.0


class SessionReply(msgspec.Struct, frozen=True):
    """Answer of `POST /sessions`; further fields are ignored. The URLs may be relative to the server's.

    controller: who decides; empty from servers that do not say.
    """

    id: str
    title: str
    manifest_url: str
    title_url: str
    live: bool = False
    controller: str = ""
    codec: str = ""
    """Of all pictures; empty from servers that do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSessionRequest:
    """Fields of `POST /sessions`. buffer_max_s: seconds of media that the player holds at most.

    version: of the title, when the viewer has begun with one; empty: the one of now. visit: names the viewer's visit,
    so that a session opened anew is decided by the same controller, also while the server compares several. group:
    names the link that the viewer shares with others; empty: none is told. plan_wait_s: for how long the viewer would
    rather wait for the server's plans than be decided for without. codecs: what the viewer decodes.
    """

    title: str
    profile: DeviceProfile | None
    controller: str
    families: Sequence[Family]
    buffer_max_s: float
    version: str = ""
    visit: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    group: str = ""
    plan_wait_s: int = 0
    codecs: Sequence[str] = ()

    @property
    def wants_enhancement(self) -> bool:
        """Whether the device can enhance and may."""
        return self.profile is not None and bool(self.families)

    def body(self) -> bytes:
        """The request's JSON. Without a controller the server takes its default, without a version that of now."""
        fields = {
            "title": self.title,
            "profile": self.profile,
            "families": list(self.families),
            "buffer_max_s": self.buffer_max_s,
        }
        optional = {
            "controller": self.controller,
            "version": self.version,
            "visit": self.visit,
            "group": self.group,
            "codecs": list(self.codecs),
        }
        return dumps(fields | {name: value for name, value in optional.items() if value})


class _Problem(msgspec.Struct, frozen=True):
    detail: str


async def post_session(pool: aiohttp.ClientSession, base_url: str, request: ServerSessionRequest) -> SessionReply:
    """Open a session on the server at `base_url`.

    Raises DownloadError when the server cannot be reached or fails, InputError when it refuses the request.
    """
    url = urljoin(base_url, "sessions")
    headers = {"Content-Type": "application/json"}
    if request.plan_wait_s:
        headers[PREFER] = wait_preference(request.plan_wait_s)
    try:
        with working():
            async with (
                asyncio.timeout(_ANSWER_MAX_S),
                pool.post(url, data=request.body(), headers=headers) as response,
            ):
                answer, _ = await read_body(response, _ANSWER_MAX_BYTES)
                status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        what = str(error) or "no answer came in time"
        raise DownloadError(f"Cannot open a session at {url}: {what}. Is `toprung serve` running there?") from error
    if status != 201:
        message = f"{url} refused the session ({status}): {_problem_detail(answer)}"
        raise InputError(message) if 400 <= status < 500 else DownloadError(message, status=status, may_pass=False)
    return loads(answer, SessionReply, what=f"the answer of {url}")


def public_id(session_id: str) -> str:
    """The part of a session id that others may know: who knows all of it may use the session."""
    return session_id[:PUBLIC_ID_CHARACTERS]


def _problem_detail(answer: bytes) -> str:
    """The `detail` of a problem+json (RFC 9457), or the first 300 characters of another answer."""
    try:
        return msgspec.json.decode(answer, type=_Problem).detail
    except msgspec.DecodeError:
        return answer.decode(errors="replace")[:300]
