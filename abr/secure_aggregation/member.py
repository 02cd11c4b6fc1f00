"""A member of one round: four messages out, each once, in order (Bell et al., figure 2; semi-honest server)."""

from __future__ import annotations

import os

from abr.errors import FormatError
from abr.secure_aggregation import labels, secrets
from abr.secure_aggregation.degree import MEMBERS_MIN, ChooseDegree, Degree, choose_degree
from abr.secure_aggregation.masks import Words, expand, to_bytes
from abr.secure_aggregation.messages import (
    KEY_BYTES,
    Forwarded,
    Keys,
    OpenedShare,
    Openings,
    Roster,
    SealedShares,
    Shares,
    Survivors,
    from_text,
    to_text,
)


class Member:
    """Holds the secrets of one member. Its vector is handed in masked; nothing else tells anything of it.

    Each step takes what the server says and gives what is to be sent. It raises FormatError where the server asks for
    what would betray the vector, or for a step twice: the member then leaves the round.
    """

    def __init__(self, round_id: str, choose: ChooseDegree = choose_degree) -> None:
        self._round, self._choose = round_id, choose
        self._seal_pair, self._mask_pair = secrets.make_key_pair(), secrets.make_key_pair()
        self._seed = os.urandom(KEY_BYTES)
        self._me = -1
        self._threshold = 0
        self._seal_keys: dict[int, bytes] = {}
        self._mask_keys: dict[int, bytes] = {}
        self._held: dict[int, bytes] = {}
        self._steps: set[str] = set()

    def keys(self) -> Keys:
        """Stage 0: the public keys of this round."""
        self._once("keys")
        return Keys(seal_key=to_text(self._seal_pair.public), mask_key=to_text(self._mask_pair.public))

    def share(self, roster: Roster) -> Shares:
        """Stage 1: both secrets in shares, sealed for each neighbour."""
        self._once("shares")
        self._check_roster(roster)
        self._me, self._threshold = roster.member, roster.threshold
        self._seal_keys = {each.member: from_text(each.seal_key) for each in roster.neighbours}
        self._mask_keys = {each.member: from_text(each.mask_key) for each in roster.neighbours}
        holders = list(self._seal_keys)
        seeds = secrets.split(self._seed, self._threshold, holders)
        keys = secrets.split(self._mask_pair.private, self._threshold, holders)
        return Shares(
            seed_commitment=self._commitment(self._me, self._seed, labels.SEED),
            shares=tuple(self._sealed(holder, seeds[holder], keys[holder]) for holder in holders),
        )

    def mask(self, forwarded: Forwarded, vector: Words) -> bytes:
        """Stage 2: the vector under its own mask and those shared with each neighbour that is still there.

        Who of a pair has the lower number adds their mask, the other takes it off.
        """
        self._once("masked")
        there = [each.member for each in forwarded.shares]
        if len(set(there)) != len(there) or not self._mask_keys.keys() >= set(there):
            raise FormatError("The server forwards shares of members that are no neighbours, or twice.")
        if len(there) < self._threshold:
            raise FormatError("Too few neighbours are left: the sum could not be told from this vector.")
        masked = vector + expand(self._seed, len(vector))
        for each in forwarded.shares:
            about = labels.sealing(self._round, each.member, self._me)
            key = secrets.agree(self._seal_pair.private, self._seal_keys[each.member], about)
            self._held[each.member] = secrets.unseal(key, from_text(each.sealed), about) or b""
            seed = secrets.agree(
                self._mask_pair.private,
                self._mask_keys[each.member],
                labels.masking(self._round, self._me, each.member),
            )
            shared = expand(seed, len(vector))
            masked = masked + shared if self._me < each.member else masked - shared
        return to_bytes(masked)

    def open(self, survivors: Survivors) -> Openings:
        """Stage 3: for each neighbour one of its two shares. Giving both would open its vector."""
        self._once("openings")
        stayed, gone = set(survivors.stayed), set(survivors.gone)
        if stayed & gone or not self._held.keys() >= stayed | gone:
            raise FormatError("The server asks for both secrets of a member, or for those of a stranger.")
        if survivors.survivors < MEMBERS_MIN or len(stayed) < self._threshold:
            raise FormatError(f"The sum would be over {survivors.survivors} members, which is too few.")
        return Openings(
            seeds=tuple(self._opened(member, 0) for member in survivors.stayed if self._held[member]),
            keys=tuple(self._opened(member, KEY_BYTES) for member in survivors.gone if self._held[member]),
        )

    def _opened(self, member: int, start: int) -> OpenedShare:
        return OpenedShare(member=member, share=to_text(self._held[member][start : start + KEY_BYTES]))

    def _sealed(self, holder: int, seed: bytes, key: bytes) -> SealedShares:
        about = labels.sealing(self._round, self._me, holder)
        sealing_key = secrets.agree(self._seal_pair.private, self._seal_keys[holder], about)
        return SealedShares(
            member=holder,
            sealed=to_text(secrets.seal(sealing_key, seed + key, about)),
            seed_commitment=self._commitment(holder, seed, labels.SEED),
            key_commitment=self._commitment(holder, key, labels.KEY),
        )

    def _commitment(self, holder: int, share: bytes, secret: bytes) -> str:
        return to_text(secrets.commit(share, labels.committing(self._round, self._me, holder, secret)))

    def _check_roster(self, roster: Roster) -> None:
        if roster.members < MEMBERS_MIN:
            raise FormatError(f"The round has {roster.members} members; {MEMBERS_MIN} is the least.")
        members = [each.member for each in roster.neighbours]
        given = Degree(len(members), roster.threshold)
        if given != self._choose(roster.members):
            raise FormatError(
                f"The server would have {given.threshold} of {given.neighbours} neighbours open a secret."
            )
        keys = [key for each in roster.neighbours for key in (each.seal_key, each.mask_key)]
        keys += [to_text(self._seal_pair.public), to_text(self._mask_pair.public)]
        if len(set(members)) != len(members) or roster.member in members or len(set(keys)) != len(keys):
            raise FormatError("The server names a neighbour or a key twice.")

    def _once(self, step: str) -> None:
        if step in self._steps:
            raise FormatError(f"The server asks for {step} twice.")
        self._steps.add(step)
