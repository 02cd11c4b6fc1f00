"""The server's side of one round, as a state machine: members' messages in, messages for members out, then a sum.

It keeps of the masked vectors their sum alone. Whoever drives it decides when a stage has lasted long enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from abr.errors import FormatError
from abr.secure_aggregation import labels, secrets
from abr.secure_aggregation.degree import MEMBERS_MAX, MEMBERS_MIN, ChooseDegree, Degree, choose_degree
from abr.secure_aggregation.graph import Neighbours, draw_graph
from abr.secure_aggregation.masks import WORD_BYTES, from_bytes
from abr.secure_aggregation.messages import (
    Abandoned,
    Forwarded,
    ForwardedShare,
    Keys,
    Neighbour,
    OpenedShare,
    Openings,
    Roster,
    SealedShares,
    ServerMessage,
    Shares,
    Summed,
    Survivors,
    from_text,
)
from abr.secure_aggregation.refusal import Fault, RefusedError
from abr.secure_aggregation.stages import Outcome, Stage
from abr.secure_aggregation.unmasking import Opened, Unmasking


@dataclass(slots=True)
class _Known:
    """What the server knows of a member."""

    keys: Keys
    seed_commitment: str = ""
    shares: dict[int, SealedShares] = field(default_factory=dict)
    opened: dict[int, bytes] = field(default_factory=dict)
    """Valid shares of whichever of its secrets is to be opened, by the neighbour that held it."""


class Round:
    """One round. words: of the vector. cohort: members to begin with, at least MEMBERS_MIN; fewer are not begun."""

    def __init__(
        self,
        round_id: str,
        words: int,
        *,
        cohort: int = MEMBERS_MIN,
        members_max: int = MEMBERS_MAX,
        choose: ChooseDegree = choose_degree,
        random: Random | None = None,
    ) -> None:
        self.id, self.words, self.stage = round_id, words, Stage.JOINING
        self.outcome: Outcome | None = None
        self.reason = ""
        self.cohort, self._members_max = max(cohort, MEMBERS_MIN), members_max
        self._choose, self._random = choose, random
        self._members: list[_Known] = []
        self._degree = Degree(0, 0)
        self._graph: Neighbours = ()
        self._sharers: set[int] = set()
        self._survivors: set[int] = set()
        self._answered: set[int] = set()
        self._keys_seen: set[str] = set()
        self._total = np.zeros(words, dtype=np.uint32)

    @property
    def members(self) -> int:
        """How many have joined."""
        return len(self._members)

    @property
    def survivors(self) -> int:
        """How many vectors are in the sum."""
        return len(self._survivors)

    @property
    def is_full(self) -> bool:
        """Whether no more can join."""
        return self.members >= self._members_max

    @property
    def is_over(self) -> bool:
        """Whether there is a sum, or never will be."""
        return self.stage in (Stage.SUMMED, Stage.ABANDONED)

    @property
    def can_go_on(self) -> bool:
        """Whether waiting longer would bring nothing: all have answered, or all secrets can be opened."""
        if self.stage is Stage.JOINING:
            return self.is_full
        if self.stage is Stage.OPENING:
            return all(len(self._members[member].opened) >= self._degree.threshold for member in self._sharers)
        return self._answered >= self._asked

    def join(self, keys: Keys) -> int:
        """Stage 0. The number of the new member."""
        self._expect(Stage.JOINING)
        if self.is_full:
            raise RefusedError(Fault.FULL, "The round is full; join the next one.")
        if keys.seal_key == keys.mask_key or {keys.seal_key, keys.mask_key} & self._keys_seen:
            raise RefusedError(Fault.TWICE, "A key of this round came before; make fresh ones.")
        try:
            for key in (keys.seal_key, keys.mask_key):
                secrets.check_public_key(from_text(key))
        except FormatError as error:
            raise RefusedError(Fault.MALFORMED, str(error)) from error
        self._keys_seen |= {keys.seal_key, keys.mask_key}
        self._members.append(_Known(keys))
        return self.members - 1

    def take_shares(self, member: int, message: Shares) -> None:
        """Stage 1: sealed shares for exactly the member's neighbours."""
        self._expect_answer(Stage.SHARING, member)
        shares = {each.member: each for each in message.shares}
        if len(shares) != len(message.shares) or shares.keys() != set(self._graph[member]):
            raise RefusedError(Fault.MALFORMED, "The shares are not for each of the member's neighbours, once.")
        known = self._members[member]
        known.shares, known.seed_commitment = shares, message.seed_commitment
        self._answered.add(member)

    def take_masked(self, member: int, body: bytes) -> None:
        """Stage 2: the masked vector, which is added to the others and not kept."""
        self._expect_answer(Stage.MASKING, member)
        if len(body) != self.words * WORD_BYTES:
            raise RefusedError(
                Fault.MALFORMED, f"The masked vector has {len(body)} bytes, not {self.words * WORD_BYTES}."
            )
        self._total += from_bytes(body)
        self._answered.add(member)

    def take_openings(self, member: int, message: Openings) -> None:
        """Stage 3: one share of each neighbour, as its owner has committed to it. One that differs spoils them all."""
        self._expect_answer(Stage.OPENING, member)
        stayed, gone = self._parted(member)
        seeds = self._checked(member, message.seeds, stayed, labels.SEED)
        keys = self._checked(member, message.keys, gone, labels.KEY)
        for owner, share in (seeds | keys).items():
            self._members[owner].opened[member] = share
        self._answered.add(member)

    def advance(self) -> Unmasking | None:
        """The stage is over: go on with those who have answered, or give up.

        After the last stage, what is left to compute; its result goes to `conclude`.
        """
        match self.stage:
            case Stage.JOINING:
                self._begin()
            case Stage.SHARING:
                self._end_sharing()
            case Stage.MASKING:
                self._end_masking()
            case Stage.OPENING:
                return self._end_opening()
            case _:
                pass
        return None

    def conclude(self, *, succeeded: bool) -> None:
        """The sum is known; or a member had lied about its secrets, so that it is not."""
        if succeeded:
            self.stage, self.outcome = Stage.SUMMED, Outcome.SUMMED
        else:
            self._abandon(Outcome.SPOILED, "A member's shares do not open what it has told; the round is left.")
        self._forget()

    def message_for(self, member: int) -> ServerMessage | None:
        """What the member is asked or told now; None where it has answered, or is no longer asked."""
        self._expect_member(member)
        if self.stage is Stage.SUMMED:
            return Summed(survivors=self.survivors)
        if self.stage is Stage.ABANDONED:
            return Abandoned(reason=self.reason)
        if member in self._answered or member not in self._asked:
            return None
        return self._question(member)

    def _question(self, member: int) -> ServerMessage | None:
        if self.stage is Stage.SHARING:
            return Roster(
                members=self.members,
                member=member,
                threshold=self._degree.threshold,
                neighbours=tuple(self._neighbour(other) for other in self._graph[member]),
            )
        if self.stage is Stage.MASKING:
            there = [other for other in self._graph[member] if other in self._sharers]
            sealed = [(other, self._members[other].shares[member].sealed) for other in there]
            return Forwarded(shares=tuple(ForwardedShare(member=other, sealed=text) for other, text in sealed))
        if self.stage is Stage.OPENING:
            stayed, gone = self._parted(member)
            return Survivors(survivors=self.survivors, stayed=stayed, gone=gone)
        return None

    @property
    def _asked(self) -> set[int]:
        """Whose answer this stage waits for."""
        match self.stage:
            case Stage.SHARING:
                return set(range(self.members))
            case Stage.MASKING:
                return self._sharers
            case Stage.OPENING:
                return self._survivors
            case _:
                return set()

    def _begin(self) -> None:
        if self.members < self.cohort:
            self._abandon(Outcome.FEW, f"Only {self.members} joined; the round needs {self.cohort}.")
            return
        self._degree = self._choose(self.members)
        self._graph = draw_graph(self.members, self._degree.neighbours, self._random)
        self._go_to(Stage.SHARING)

    def _end_sharing(self) -> None:
        """Whoever has not shared is left out: nobody masks with it. So are those whom too few could open."""
        self._sharers = self._openable(self._answered)
        if len(self._sharers) < MEMBERS_MIN:
            self._abandon(
                Outcome.FEW, f"Only {len(self._sharers)} members shared their keys; {MEMBERS_MIN} is the least."
            )
            return
        self._go_to(Stage.MASKING)

    def _end_masking(self) -> None:
        self._survivors = self._answered
        if self.survivors < MEMBERS_MIN:
            self._abandon(Outcome.FEW, f"Only {self.survivors} vectors came; {MEMBERS_MIN} is the least.")
        elif any(self._count(member, self._survivors) < self._degree.threshold for member in self._sharers):
            self._abandon(Outcome.UNOPENED, "Too many have gone: a secret that is needed can no longer be opened.")
        else:
            self._go_to(Stage.OPENING)

    def _end_opening(self) -> Unmasking | None:
        if not self.can_go_on:
            self._abandon(Outcome.UNOPENED, "Too few shares came: a secret that is needed cannot be opened.")
            return None
        self._go_to(Stage.UNMASKING)
        return Unmasking(
            round_id=self.id,
            total=self._total,
            stayed=tuple(self._opened(member) for member in sorted(self._survivors)),
            gone=tuple(self._opened(member) for member in sorted(self._sharers - self._survivors)),
            mask_keys={member: from_text(self._members[member].keys.mask_key) for member in self._sharers},
        )

    def _opened(self, member: int) -> Opened:
        """Exactly as many shares as are needed, by point: the holder's place among the neighbours, plus one."""
        holders, known = self._graph[member], self._members[member]
        points = {holders.index(holder) + 1: share for holder, share in known.opened.items()}
        return Opened(
            member=member,
            mask_key=from_text(known.keys.mask_key),
            seed_commitment=from_text(known.seed_commitment),
            points=dict(list(points.items())[: self._degree.threshold]),
            masked_with=tuple(other for other in holders if other in self._survivors),
        )

    def _openable(self, sharers: Iterable[int]) -> set[int]:
        """Those of whom at least `threshold` neighbours are among them too."""
        left = set(sharers)
        while lonely := {member for member in left if self._count(member, left) < self._degree.threshold}:
            left -= lonely
        return left

    def _count(self, member: int, among: set[int]) -> int:
        return sum(other in among for other in self._graph[member])

    def _parted(self, member: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The member's neighbours that shared: those who stayed, and those gone since."""
        there = [other for other in self._graph[member] if other in self._sharers]
        stayed = tuple(other for other in there if other in self._survivors)
        return stayed, tuple(other for other in there if other not in self._survivors)

    def _checked(
        self, holder: int, opened: tuple[OpenedShare, ...], owners: tuple[int, ...], secret: bytes
    ) -> dict[int, bytes]:
        """Shares by owner. A share that could not be unsealed may be missing."""
        shares = {each.member: from_text(each.share) for each in opened}
        if len(shares) != len(opened) or not set(owners) >= shares.keys():
            raise RefusedError(Fault.MALFORMED, "A share is there twice, or of a member that was not asked for.")
        for owner, share in shares.items():
            given = self._members[owner].shares[holder]
            committed = given.seed_commitment if secret == labels.SEED else given.key_commitment
            if secrets.commit(share, labels.committing(self.id, owner, holder, secret)) != from_text(committed):
                raise RefusedError(Fault.MALFORMED, "A share is not the one that its owner has committed to.")
        return shares

    def _neighbour(self, member: int) -> Neighbour:
        keys = self._members[member].keys
        return Neighbour(member=member, seal_key=keys.seal_key, mask_key=keys.mask_key)

    def _expect(self, stage: Stage) -> None:
        if self.stage is not stage:
            raise RefusedError(Fault.OTHER_STAGE, f"This is for the stage {stage}; the round is {self.stage}.")

    def _expect_member(self, member: int) -> None:
        if not 0 <= member < self.members:
            raise RefusedError(Fault.STRANGER, "No such member has joined the round.")

    def _expect_answer(self, stage: Stage, member: int) -> None:
        self._expect_member(member)
        self._expect(stage)
        if member in self._answered:
            raise RefusedError(Fault.TWICE, "The member has answered this before.")
        if member not in self._asked:
            raise RefusedError(Fault.OTHER_STAGE, "The round has gone on without this member.")

    def _go_to(self, stage: Stage) -> None:
        self.stage, self._answered = stage, set()

    def _abandon(self, outcome: Outcome, reason: str) -> None:
        self.stage, self.outcome, self.reason = Stage.ABANDONED, outcome, reason
        self._forget()

    def _forget(self) -> None:
        """What the members said is not kept, and neither is a sum under masks."""
        for known in self._members:
            known.shares, known.opened = {}, {}
        self._total = np.zeros(0, dtype=np.uint32)
