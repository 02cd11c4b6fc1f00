"""Whole rounds of secure aggregation in memory: members vanish at stages, messages travel as the JSON that they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from abr.errors import FormatError
from abr.records import dumps, loads
from abr.secure_aggregation.degree import ChooseDegree, choose_degree
from abr.secure_aggregation.masks import Words
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import Forwarded, Keys, Openings, Roster, Shares, Survivors, loads_message
from abr.secure_aggregation.round import Round
from abr.secure_aggregation.stages import Stage

STAGES = ("keys", "shares", "masked", "openings")


class RoundResult(NamedTuple):
    """total: None where there is no sum. sent: bytes of each member's messages, by stage."""

    round: Round
    total: Words | None
    sent: Mapping[int, Mapping[str, bytes]]


def run_round(
    vectors: list[Words],
    gone: Mapping[str, set[int]] | None = None,
    *,
    cohort: int = 5,
    choose: ChooseDegree = choose_degree,
    seed: int = 1,
    on_stage: Callable[[Round], None] = lambda _round: None,
) -> RoundResult:
    """gone: the vectors' places whose members vanish when this stage is to be answered."""
    gone = gone or {}
    server = Round("r", len(vectors[0]), cohort=cohort, choose=choose, random=Random(seed))
    members: dict[int, Member] = {}
    place_of: dict[int, int] = {}
    sent: dict[int, dict[str, bytes]] = {place: {} for place in range(len(vectors))}
    for place in range(len(vectors)):
        if place not in gone.get("keys", set()):
            member = Member("r", choose)
            body = dumps(member.keys())
            number = server.join(loads(body, Keys, what="keys"))
            members[number], place_of[number], sent[place]["keys"] = member, place, body
    on_stage(server)
    server.advance()
    total: Words | None = None
    for stage in STAGES[1:]:
        for number, member in list(members.items()):
            if place_of[number] in gone.get(stage, set()):
                del members[number]
                continue
            if not server.is_over and (question := server.message_for(number)) is not None:
                sent[place_of[number]][stage] = _answer(
                    server, member, number, dumps(question), vectors[place_of[number]]
                )
        on_stage(server)
        if server.is_over:
            break
        unmasking = server.advance()
        if unmasking is not None:
            try:
                total = unmasking.compute()
                server.conclude(succeeded=True)
            except FormatError:
                server.conclude(succeeded=False)
    assert server.stage in (Stage.SUMMED, Stage.ABANDONED)
    return RoundResult(server, total, sent)


def _answer(server: Round, member: Member, number: int, question: bytes, vector: Words) -> bytes:
    match loads_message(question):
        case Roster() as roster:
            body = dumps(member.share(roster))
            server.take_shares(number, loads(body, Shares, what="shares"))
        case Forwarded() as forwarded:
            body = member.mask(forwarded, vector)
            server.take_masked(number, body)
        case Survivors() as survivors:
            body = dumps(member.open(survivors))
            server.take_openings(number, loads(body, Openings, what="openings"))
        case _:
            raise AssertionError(question)
    return body
