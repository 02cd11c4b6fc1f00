"""What members of a round of secure aggregation send and ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from aiohttp import web
from msgspec import Meta

from abr.protocols.prefer import PREFER, read_wait_s
from abr.records import Record
from abr.secure_aggregation.masks import WORD_BYTES
from abr.secure_aggregation.messages import Keys, MemberNumber, Openings, Shares
from abr.secure_aggregation.refusal import Fault, RefusedError
from server.context import Context, get_context
from server.errors import RequestError
from server.http.bodies import json_answer, read_exactly, read_record
from server.private.rounds import PrivateRounds

WAIT_MAX_S = 20.0
"""A member waits no longer for its next message; it may ask again."""
OCTETS = "application/octet-stream"
_BEARER = re.compile(r"Bearer ([A-Za-z0-9_-]{43})", re.ASCII)
_STATUS = {
    Fault.FULL: 409,
    Fault.STRANGER: 403,
    Fault.TWICE: 409,
    Fault.OTHER_STAGE: 409,
    Fault.MALFORMED: 400,
    Fault.NO_ROUND: 404,
}


class PrivateRoundView(Record, frozen=True):
    """The round under way. words: of a vector. layout: names what they mean. left_s: of the stage, at most."""

    id: str
    stage: str
    words: Annotated[int, Meta(ge=1)]
    layout: str
    cohort: Annotated[int, Meta(ge=1)]
    left_s: Annotated[float, Meta(ge=0)]


class Joined(Record, frozen=True):
    """The member's number in the round, and the token that it shows from now on: `Authorization: Bearer TOKEN`."""

    member: MemberNumber
    token: str


class RoundHandlers:
    """Of one channel's rounds. find: them in the context, None where they are off. what: they are about, in words."""

    def __init__(self, find: Callable[[Context], PrivateRounds | None], what: str) -> None:
        self._find, self._what = find, what

    async def show(self, request: web.Request) -> web.Response:
        """Tell of the round under way."""
        rounds = self._rounds(request)
        current = rounds.current
        view = PrivateRoundView(
            id=current.id,
            stage=current.stage,
            words=rounds.channel.words,
            layout=rounds.channel.layout,
            cohort=current.cohort,
            left_s=round(rounds.left_s, 3),
        )
        return json_answer(view)

    async def join(self, request: web.Request) -> web.Response:
        """Take in a member with its public keys."""
        if not get_context(request).limits.admit_session(request.remote or ""):
            raise RequestError(429, "Too many members from this address; wait a little.", {"Retry-After": "1"})
        keys = await read_record(request, Keys, "keys")
        try:
            member, token = self._rounds(request).join(request.match_info["round"], keys)
        except RefusedError as error:
            raise _problem(error) from error
        return json_answer(Joined(member=member, token=token), status=201)

    async def message(self, request: web.Request) -> web.Response:
        """What the member is asked or told; with `Prefer: wait=N` as soon as there is something, else 204."""
        wait_s = min(read_wait_s(request.headers.get(PREFER, "")), WAIT_MAX_S)
        try:
            message = await self._rounds(request).message(request.match_info["round"], _token(request), wait_s)
        except RefusedError as error:
            raise _problem(error) from error
        if message is None:
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        return json_answer(message)

    async def post_shares(self, request: web.Request) -> web.Response:
        """Take in sealed shares."""
        self._check_member(request)
        return self._take(request, await read_record(request, Shares, "shares"))

    async def post_openings(self, request: web.Request) -> web.Response:
        """Take in opened shares."""
        self._check_member(request)
        return self._take(request, await read_record(request, Openings, "openings"))

    async def post_masked(self, request: web.Request) -> web.Response:
        """Take in a masked vector."""
        self._check_member(request)
        if request.content_type != OCTETS:
            raise RequestError(415, f"The masked vector came as {request.content_type}; send it as {OCTETS}.")
        size_bytes = self._rounds(request).channel.words * WORD_BYTES
        return self._take(request, await read_exactly(request, size_bytes, "masked vector"))

    def _take(self, request: web.Request, answer: Shares | Openings | bytes) -> web.Response:
        try:
            self._rounds(request).take(request.match_info["round"], _token(request), answer)
        except RefusedError as error:
            raise _problem(error) from error
        return web.Response(status=204)

    def _check_member(self, request: web.Request) -> None:
        try:
            self._rounds(request).check(request.match_info["round"], _token(request))
        except RefusedError as error:
            raise _problem(error) from error

    def _rounds(self, request: web.Request) -> PrivateRounds:
        rounds = self._find(get_context(request))
        if rounds is None:
            raise RequestError(404, f"{self._what} is off here.")
        return rounds


def _token(request: web.Request) -> str:
    found = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    return found[1] if found else ""


def _problem(error: RefusedError) -> RequestError:
    return RequestError(_STATUS[error.fault], error.detail)
