"""One round of secure aggregation after the other: who is in it, how long its stages last, what becomes of its sum.

All is in this process and gone with it. Time is looked at when somebody asks, so that an idle server does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from abr.errors import FormatError
from abr.secure_aggregation.degree import MEMBERS_MAX, ChooseDegree, choose_degree
from abr.secure_aggregation.masks import Words
from abr.secure_aggregation.messages import Keys, Openings, ServerMessage, Shares
from abr.secure_aggregation.refusal import Fault, RefusedError
from abr.secure_aggregation.round import Round
from abr.secure_aggregation.stages import Stage
from abr.secure_aggregation.unmasking import Unmasking

ROUNDS_KEPT = 8
"""Rounds that are over, whose members may still ask how they ended."""

log = logging.getLogger("toprung.private")


class SumListener(Protocol):
    """What is told of each round that had members."""

    def count_round(self, outcome: str, members: int, survivors: int) -> None:
        """outcome: of abr.secure_aggregation.stages.Outcome."""
        ...

    async def take_sum(self, total: Words, survivors: int) -> None:
        """The sum of a round, over so many members. The round ends, and the next one begins, when this is done."""
        ...


@dataclass(slots=True, kw_only=True)
class Channel:
    """What is summed. words: of each vector. layout: names what the words mean. listener: gets the sums.

    name: of the rounds, in logs. The listener may give another layout, for the rounds to come.
    """

    words: int
    layout: str
    listener: SumListener
    choose: ChooseDegree = choose_degree
    name: str = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """period_s: so long members may join a round. stage_s: so long they may take for each answer after it.

    cohort: so many members are needed to begin.
    """

    period_s: float
    stage_s: float
    cohort: int
    members_max: int = MEMBERS_MAX


@dataclass(slots=True)
class _Running:
    """A round and its members' tokens, as SHA-256: who brings the token is the member."""

    round: Round
    until_s: float
    members: dict[bytes, int] = field(default_factory=dict)


class PrivateRounds:
    """The rounds of one channel. clock: seconds that only grow."""

    def __init__(self, channel: Channel, pace: Pace, clock: Callable[[], float]) -> None:
        self.channel, self.pace, self._clock = channel, pace, clock
        self._over: OrderedDict[str, _Running] = OrderedDict()
        self._changed = asyncio.Event()
        self._unmasking: set[asyncio.Task[None]] = set()
        self._closed = False
        self._now = self._new_round()

    @property
    def current(self) -> Round:
        """The round that is under way."""
        self.advance()
        return self._now.round

    @property
    def left_s(self) -> float:
        """Seconds until the stage under way ends at the latest."""
        return max(0.0, self._now.until_s - self._clock())

    def join(self, round_id: str, keys: Keys) -> tuple[int, str]:
        """Number and token of the new member. Raises RefusedError."""
        self.advance()
        running = self._find(round_id)
        member = running.round.join(keys)
        token = secrets.token_urlsafe(32)
        running.members[_hashed(token)] = member
        self.advance()
        return member, token

    def check(self, round_id: str, token: str) -> None:
        """Raises RefusedError for who is no member of the round, before anything is read of what they send."""
        self.advance()
        self._identify(round_id, token)

    def take(self, round_id: str, token: str, answer: Shares | Openings | bytes) -> None:
        """A member's answer to what it was asked; bytes are its masked vector. Raises RefusedError."""
        self.advance()
        running, member = self._identify(round_id, token)
        match answer:
            case Shares():
                running.round.take_shares(member, answer)
            case Openings():
                running.round.take_openings(member, answer)
            case bytes():
                running.round.take_masked(member, answer)
        self.advance()

    async def message(self, round_id: str, token: str, wait_s: float) -> ServerMessage | None:
        """What the member is asked or told now, or within wait_s; else None. Raises RefusedError."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + wait_s
        while True:
            self.advance()
            running, member = self._identify(round_id, token)
            found, left_s = running.round.message_for(member), end_s - loop.time()
            if found is not None or self._closed or left_s <= 0:
                return found
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, max(self.left_s, _CLOCK_STEP_S))):
                    await changed.wait()

    def advance(self) -> None:
        """Go on as far as time and answers allow."""
        while self._now.round.stage is not Stage.UNMASKING and (
            self._clock() >= self._now.until_s or self._now.round.can_go_on
        ):
            running = self._now
            unmasking = running.round.advance()
            running.until_s = self._clock() + self.pace.stage_s
            if unmasking is not None:
                self._start(running, unmasking)
            elif running.round.is_over:
                self._end(running)
            self._tell()

    async def close(self) -> None:
        """Nobody waits any longer; a sum that is being computed is dropped."""
        self._closed = True
        self._tell()
        for task in list(self._unmasking):
            task.cancel()
        await asyncio.gather(*self._unmasking, return_exceptions=True)

    def _start(self, running: _Running, unmasking: Unmasking) -> None:
        task = asyncio.create_task(self._unmask(running, unmasking))
        self._unmasking.add(task)
        task.add_done_callback(self._unmasking.discard)

    async def _unmask(self, running: _Running, unmasking: Unmasking) -> None:
        """In a thread: of long vectors it takes seconds. Whatever becomes of the sum, the next round begins."""
        try:
            total = await asyncio.to_thread(unmasking.compute)
        except FormatError as error:
            log.warning("a %s round was spoiled: %s", self.channel.name, error)
            running.round.conclude(succeeded=False)
        else:
            await self.channel.listener.take_sum(total, running.round.survivors)
            running.round.conclude(succeeded=True)
        finally:
            self._end(running)
            self._tell()

    def _end(self, running: _Running) -> None:
        """The next round begins. One that nobody joined is as if it had not been."""
        ended = running.round
        if ended.members and ended.outcome:
            self.channel.listener.count_round(ended.outcome, ended.members, ended.survivors)
            log.info(
                "%s round: %s, %d members, %d survivors",
                self.channel.name,
                ended.outcome,
                ended.members,
                ended.survivors,
            )
            self._over[ended.id] = running
            while len(self._over) > ROUNDS_KEPT:
                self._over.popitem(last=False)
        self._now = self._new_round()

    def _new_round(self) -> _Running:
        made = Round(
            secrets.token_urlsafe(12),
            self.channel.words,
            cohort=self.pace.cohort,
            members_max=self.pace.members_max,
            choose=self.channel.choose,
        )
        return _Running(made, self._clock() + self.pace.period_s)

    def _find(self, round_id: str) -> _Running:
        if round_id == self._now.round.id:
            return self._now
        found = self._over.get(round_id)
        if found is None:
            raise RefusedError(Fault.NO_ROUND, "There is no such round, or it was over long ago.")
        return found

    def _identify(self, round_id: str, token: str) -> tuple[_Running, int]:
        running = self._find(round_id)
        member = running.members.get(_hashed(token))
        if member is None:
            raise RefusedError(Fault.STRANGER, "The token is of no member of this round.")
        return running, member

    def _tell(self) -> None:
        """Wake all who wait."""
        self._changed.set()
        self._changed = asyncio.Event()


_CLOCK_STEP_S = 0.05
"""Who waits looks again no sooner than this, whatever the clock says."""


def _hashed(token: str) -> bytes:
    return sha256(token.encode()).digest()
