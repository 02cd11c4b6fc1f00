"""Taking part in one round, from joining to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from abr.secure_aggregation.degree import ChooseDegree, choose_degree
from abr.secure_aggregation.masks import Words
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import Abandoned, Forwarded, Openings, Roster, Shares, Summed
from client_player.private.server import PrivateServer, RefusedAnswerError, RoundView

JOINING = "joining"
_LOOK_AGAIN_S = 1.0


class Part(StrEnum):
    """What became of a contribution."""

    SUMMED = "summed"
    """The vector is in a sum."""
    NOT_TAKEN = "not taken"
    """It is in none: the round was left, or came to nothing. Nobody has learnt anything of it."""
    UNKNOWN = "unknown"
    """It was handed in, and how the round ended was not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """What is handed in. give: called when it is masked, at most once a round. layout: as the server calls it."""

    words: int
    layout: str
    give: Callable[[], Words]


class Contribution:
    """One round's. on_step: told which of keys, shares, masked and openings is about to be sent."""

    def __init__(
        self,
        server: PrivateServer,
        vector: Vector,
        *,
        choose: ChooseDegree = choose_degree,
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._server, self._vector, self._choose, self._on_step = server, vector, choose, on_step
        self.given: Words | None = None
        """The vector, once it has been masked."""
        self.survivors = 0
        self.is_in = False
        """Whether the masked vector may be in the sum: it was sent, and not refused."""

    async def join(self) -> tuple[str, str, Member]:
        """Wait for a round that can be joined, and join it: its id, the token, and the member.

        Raises NotOfferedError, DownloadError, FormatError.
        """
        while True:
            view = await self._server.show()
            self._check(view)
            assert view is not None
            if view.stage != JOINING:
                await asyncio.sleep(min(view.left_s, _LOOK_AGAIN_S) + 0.05)
                continue
            member = Member(view.id, self._choose)
            self._on_step("keys")
            try:
                return view.id, await self._server.join(view.id, member.keys()), member
            except RefusedAnswerError as error:
                if error.status not in (404, 409):  # else it has begun meanwhile
                    raise
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def take_part(self) -> Part:
        """Join a round and stay to its end. Raises as `join`, and RefusedAnswerError."""
        round_id, token, member = await self.join()
        while True:
            message = await self._server.message(round_id, token)
            match message:
                case None:
                    continue
                case Summed():
                    self.survivors = message.survivors
                    return Part.SUMMED if self.is_in else Part.NOT_TAKEN
                case Abandoned():
                    return Part.NOT_TAKEN
                case _:
                    answer = await asyncio.to_thread(self._answer, member, message)
            hands_in = isinstance(answer, bytes)
            self.is_in = self.is_in or hands_in  # before: the server's word that it is may be lost
            try:
                await self._server.answer(round_id, token, answer)
            except RefusedAnswerError as error:
                self.is_in = self.is_in and not hands_in
                if error.status != 409 or not isinstance(answer, Openings):  # else others have opened enough
                    raise

    def _answer(self, member: Member, message: Roster | Forwarded | object) -> Shares | Openings | bytes:
        """In a thread: the cryptography of a large round takes tenths of a second."""
        match message:
            case Roster():
                self._on_step("shares")
                return member.share(message)
            case Forwarded():
                self._on_step("masked")
                self.given = self._vector.give()
                return member.mask(message, self.given)
            case _:
                self._on_step("openings")
                return member.open(message)  # type: ignore[arg-type]

    def _check(self, view: RoundView | None) -> None:
        """Raises NotOfferedError."""
        if view is None:
            raise NotOfferedError("the server takes none")
        if (view.words, view.layout) != (self._vector.words, self._vector.layout):
            raise NotOfferedError("the server sums other vectors, since it is of another version")


class NotOfferedError(Exception):
    """The server has no rounds for this player."""
