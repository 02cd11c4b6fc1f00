"""Forged, replayed, truncated or oversized messages are refused, and the round comes to the same sum without them."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
import pytest

from abr.errors import FormatError
from abr.records import dumps
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import Keys, OpenedShare, to_text
from abr.secure_aggregation.refusal import Fault, RefusedError
from abr.secure_aggregation.round import Round
from abr.secure_aggregation.stages import Stage

COUNT, WORDS = 7, 5


class Hostile:
    """A round of seven, to each message of which something false is tried before."""

    def __init__(self) -> None:
        self.server = Round("r", WORDS, random=Random(1))
        self.vectors = [np.full(WORDS, 10**number, dtype=np.uint32) for number in range(COUNT)]
        self.members = [Member("r") for _ in self.vectors]

    def refuses(self, fault: Fault, call, *arguments) -> None:
        with pytest.raises(RefusedError) as refused:
            call(*arguments)
        assert refused.value.fault is fault

    def join(self) -> None:
        keys = [member.keys() for member in self.members]
        for each in keys:
            self.server.join(each)
        fresh = Keys(seal_key=to_text(b"\x09" * 32), mask_key=keys[0].mask_key)
        self.refuses(Fault.TWICE, self.server.join, keys[3])
        self.refuses(Fault.TWICE, self.server.join, fresh)
        self.refuses(Fault.TWICE, self.server.join, Keys(seal_key=fresh.seal_key, mask_key=fresh.seal_key))
        self.refuses(
            Fault.MALFORMED, self.server.join, Keys(seal_key=to_text(bytes(32)), mask_key=to_text(b"\x01" + bytes(31)))
        )
        self.server.advance()
        self.refuses(Fault.OTHER_STAGE, self.server.join, Member("r").keys())

    def share(self) -> None:
        for number, member in enumerate(self.members):
            shares = member.share(self.server.message_for(number))
            short = msgspec.structs.replace(shares, shares=shares.shares[1:])
            twice = msgspec.structs.replace(shares, shares=(*shares.shares[1:], shares.shares[1]))
            self.refuses(Fault.MALFORMED, self.server.take_shares, number, short)
            self.refuses(Fault.MALFORMED, self.server.take_shares, number, twice)
            self.server.take_shares(number, shares)
            self.refuses(Fault.TWICE, self.server.take_shares, number, shares)
        self.refuses(Fault.STRANGER, self.server.take_shares, COUNT, shares)
        self.server.advance()

    def mask(self) -> None:
        for number, member in enumerate(self.members[:-1]):
            body = member.mask(self.server.message_for(number), self.vectors[number])
            self.refuses(Fault.MALFORMED, self.server.take_masked, number, body[:-1])
            self.refuses(Fault.MALFORMED, self.server.take_masked, number, body + b"\x00")
            self.refuses(Fault.MALFORMED, self.server.take_masked, number, b"")
            self.server.take_masked(number, body)
            self.refuses(Fault.TWICE, self.server.take_masked, number, body)
        self.server.advance()
        self.refuses(Fault.OTHER_STAGE, self.server.take_masked, COUNT - 1, body)

    def open(self) -> None:
        for number, member in enumerate(self.members[:-1]):
            openings = member.open(self.server.message_for(number))
            forged = OpenedShare(member=openings.seeds[0].member, share=to_text(b"\x07" * 32))
            swapped = msgspec.structs.replace(openings, seeds=(forged, *openings.seeds[1:]))
            other = msgspec.structs.replace(openings, seeds=openings.keys, keys=openings.seeds)
            twice = msgspec.structs.replace(openings, seeds=(*openings.seeds, openings.seeds[0]))
            for false in (swapped, other, twice):
                self.refuses(Fault.MALFORMED, self.server.take_openings, number, false)
            self.server.take_openings(number, openings)
            self.refuses(Fault.TWICE, self.server.take_openings, number, openings)
        self.refuses(Fault.OTHER_STAGE, self.server.take_openings, COUNT - 1, openings)


def test_the_sum_is_right_although_something_false_was_tried_at_every_step():
    round_ = Hostile()
    round_.join()
    round_.share()
    round_.mask()
    round_.open()
    unmasking = round_.server.advance()
    total = unmasking.compute()
    round_.server.conclude(succeeded=True)
    assert round_.server.stage is Stage.SUMMED
    assert total.tolist() == [111111] * WORDS


def test_a_member_that_commits_to_shares_of_another_seed_spoils_the_round_and_no_false_sum_comes_of_it():
    round_ = Hostile()
    round_.join()
    lying = round_.members[2]
    for number, member in enumerate(round_.members):
        shares = member.share(round_.server.message_for(number))
        if member is lying:
            shares = msgspec.structs.replace(shares, seed_commitment=to_text(bytes(24)))
        round_.server.take_shares(number, shares)
    round_.server.advance()
    round_.mask()
    round_.open()
    with pytest.raises(FormatError, match="seed"):
        round_.server.advance().compute()
    round_.server.conclude(succeeded=False)
    assert round_.server.stage is Stage.ABANDONED


def test_after_a_round_the_server_holds_nothing_that_members_said_but_their_public_keys():
    round_ = Hostile()
    round_.join()
    round_.share()
    round_.mask()
    round_.open()
    round_.server.advance()
    round_.server.conclude(succeeded=True)
    kept = repr([(known.shares, known.opened) for known in round_.server._members])
    assert kept == repr([({}, {})] * COUNT)
    assert len(round_.server._total) == 0
    assert dumps(round_.server.message_for(0)) == b'{"stage":"summed","survivors":6}'
