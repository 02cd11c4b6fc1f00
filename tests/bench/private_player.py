"""One player of private_rounds.py: a process that joins one round over HTTP, and tells on stdout what that took.

Its vector is what a real session counted (TITLE given: the session is played first, in virtual time), or `words` real
numbers drawn by its seed, as fixed-point words. It can vanish, as a machine does that loses its power, at one step.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import msgspec
import numpy as np

from abr.private_telemetry.layout import TELEMETRY
from abr.private_telemetry.tally import SessionTally
from abr.secure_aggregation.degree import ChooseDegree, choose_degree, complete_degree
from abr.secure_aggregation.fixed_point import FixedPoint
from abr.secure_aggregation.masks import Words
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import Openings, Shares
from client_player.private.contribution import Contribution, Vector
from client_player.private.server import PrivateServer

LIMIT, MEMBERS = 8.0, 160
"""Of the real numbers, and of the cohorts: the largest of both."""
RULES: dict[str, ChooseDegree] = {"SecAgg+": choose_degree, "SecAgg": complete_degree}


class Told(msgspec.Struct, frozen=True):
    """What a player tells. seconds: of its processor, from before joining to the end of the round."""

    part: str
    survivors: int
    sent_bytes: int
    received_bytes: int
    seconds: float
    vector: str
    """Where its vector lies, or nothing where it never came to hand one in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a player is to do. title: plays it first; words: else of the vector. vanish_at: a step, or nothing."""

    url: str
    rule: str
    words: int
    seed: int
    vanish_at: str
    folder: str
    title: str


def numbers(seed: int, words: int) -> np.ndarray:
    """The real numbers of the player with this seed: normal, within the limit."""
    return np.random.default_rng(seed).normal(size=words).clip(-LIMIT, LIMIT)


def main(argument: str) -> None:
    """`argument` is an Errand as JSON."""
    errand = msgspec.json.decode(argument, type=Errand)
    vector = _watched(errand) if errand.title else FixedPoint(LIMIT, MEMBERS).encode(numbers(errand.seed, errand.words))
    file = f"{errand.folder}/{errand.seed}.npy"
    np.save(file, vector)
    print("ready", flush=True)
    sys.stdin.readline()
    print(msgspec.json.encode(asyncio.run(_take_part(errand, vector, file))).decode(), flush=True)


class _Timed(Contribution):
    """Knows the processor seconds of its cryptography, which runs in a thread."""

    seconds = 0.0

    def _answer(self, member: Member, message: object) -> Shares | Openings | bytes:
        began_s = time.thread_time()
        answer = super()._answer(member, message)
        self.seconds += time.thread_time() - began_s
        return answer


async def together(url: str, rule: str, words: int, players: int) -> list[Told]:
    """Many players in one process, each over HTTP by itself. seconds: of a player's cryptography alone."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as pool:
        servers = [PrivateServer(pool, url) for _ in range(players)]
        contributions = [
            _Timed(
                server,
                Vector(
                    words=words,
                    layout="bench",
                    give=partial(FixedPoint(LIMIT, MEMBERS).encode, numbers(number, words)),
                ),
                choose=RULES[rule],
            )
            for number, server in enumerate(servers, start=1)
        ]
        parts = await asyncio.gather(*(each.take_part() for each in contributions))
    return [
        Told(
            part=part,
            survivors=each.survivors,
            sent_bytes=server.sent_bytes,
            received_bytes=server.received_bytes,
            seconds=each.seconds,
            vector="",
        )
        for part, each, server in zip(parts, contributions, servers, strict=True)
    ]


def _watched(errand: Errand) -> Words:
    """A session of the title, played in virtual time, as it is counted."""
    from abr.virtual_time import run_virtual
    from client_player.session.request import PlayRequest
    from client_player.session.run import watch

    tally = SessionTally(None)
    request = PlayRequest(url=errand.url, title=errand.title, families=())
    run_virtual(watch(request, Path(errand.folder) / f"{errand.seed}.y", tally=tally))
    return tally.give()


async def _take_part(errand: Errand, vector: Words, file: str) -> Told:
    def leave(step: str) -> None:
        if step == errand.vanish_at:
            os._exit(0)

    layout = TELEMETRY.fingerprint if errand.title else "bench"
    async with aiohttp.ClientSession() as pool:
        server = PrivateServer(pool, errand.url)
        began_s = time.process_time()
        contribution = Contribution(
            server,
            Vector(words=len(vector), layout=layout, give=lambda: vector),
            choose=RULES[errand.rule],
            on_step=leave,
        )
        part = await contribution.take_part()
    return Told(
        part=part,
        survivors=contribution.survivors,
        sent_bytes=server.sent_bytes,
        received_bytes=server.received_bytes,
        seconds=time.process_time() - began_s,
        vector=file,
    )


if __name__ == "__main__":
    main(sys.argv[1])
