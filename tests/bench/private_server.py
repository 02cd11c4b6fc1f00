"""The server of private_rounds.py, a process: Toprung's own, whose private rounds sum vectors of any length.

It prints its URL, then a line of JSON for each round: outcome, members, survivors, seconds of the wall and of the
processor since the round had all its members. Sums of other vectors than telemetry go into a file.
"""

from __future__ import annotations

import asyncio
import sys
import time

import msgspec
import numpy as np
from private_player import RULES

from abr.private_telemetry.layout import TELEMETRY
from abr.secure_aggregation.degree import Degree
from abr.secure_aggregation.masks import Words
from server.app import create_app
from server.connection.listener import listening
from server.private.rounds import Channel
from server.settings import Settings


class Post(msgspec.Struct, frozen=True):
    """What the server is to be."""

    library: str
    rule: str
    words: int
    cohort: int
    period_s: float
    stage_s: float
    sum_file: str


class RoundTold(msgspec.Struct, frozen=True):
    """One round. seconds, processor_s: since its members were all there."""

    outcome: str
    members: int
    survivors: int
    seconds: float
    processor_s: float


class _Teller:
    """Keeps the sum, tells of the round, and looks at the clock when the graph is drawn."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._began = time.perf_counter(), time.process_time()

    def choose(self, members: int) -> Degree:
        self._began = time.perf_counter(), time.process_time()
        return RULES[self._post.rule](members)

    async def take_sum(self, total: Words, survivors: int) -> None:
        np.save(self._post.sum_file, total)

    def count_round(self, outcome: str, members: int, survivors: int) -> None:
        wall_s, processor_s = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
        told = RoundTold(
            outcome=str(outcome), members=members, survivors=survivors, seconds=wall_s, processor_s=processor_s
        )
        print(msgspec.json.encode(told).decode(), flush=True)


async def main(argument: str) -> None:
    """`argument` is a Post as JSON. Ends when stdin does."""
    post = msgspec.json.decode(argument, type=Post)
    teller = _Teller(post)
    settings = Settings(
        library=post.library,
        private_telemetry=True,
        private_period_s=post.period_s,
        private_stage_s=post.stage_s,
        private_cohort=5,
        private_cohort_max=post.cohort,
        log_level="error",
    )
    words, layout = (post.words, "bench") if post.words else (TELEMETRY.words, TELEMETRY.fingerprint)
    channel = Channel(words=words, layout=layout, listener=teller, choose=teller.choose)
    async with listening(create_app(settings, channel=channel), "127.0.0.1", 0) as port:
        print(f"http://127.0.0.1:{port}/", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
