"""Players take part in rounds over HTTP: what they counted is in the sums, whoever vanishes, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from served import listening
from titles import prepared_library
from viewers import FAST_MACHINE
from waiting import wait_until

from abr.core.events import Playing, Shown
from abr.private_telemetry.layout import TELEMETRY
from abr.private_telemetry.tally import SessionTally
from abr.secure_aggregation.stages import Stage
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.private.contribution import Contribution, NotOfferedError, Part, Vector
from client_player.private.reporter import PrivateReporter
from client_player.private.server import PrivateServer
from client_player.session.request import PlayRequest
from client_player.session.run import watch
from server.app import create_app
from server.context import CONTEXT
from server.settings import Settings

LONG_S = 1000.0
STEPS = ("keys", "shares", "masked", "openings")


class Rounds:
    """A server's rounds, each stage of which lasts until the test says that its time is over."""

    def __init__(self) -> None:
        settings = Settings(
            library=str(prepared_library().root),
            private_telemetry=True,
            private_period_s=LONG_S,
            private_stage_s=LONG_S,
            private_cohort=5,
        )
        self.url, self._passed_s = "", 0.0
        self.app = create_app(settings, clock=lambda: time.time() + self._passed_s)

    async def until(self, stage: Stage, count: int) -> None:
        """So many have joined, or answered in this stage."""

        def holds() -> bool:
            now = self.app[CONTEXT].contributions.private_rounds._now.round
            return now.stage is stage and (now.members if stage is Stage.JOINING else len(now._answered)) >= count

        await asyncio.to_thread(wait_until, holds, f"{count} members in the stage {stage}")

    def let_pass(self) -> None:
        """The time for what is awaited is over."""
        self._passed_s += LONG_S
        self.app[CONTEXT].contributions.private_rounds.advance()


@asynccontextmanager
async def server() -> AsyncIterator[Rounds]:
    rounds = Rounds()
    async with listening(rounds.app) as rounds.url:
        yield rounds


async def metrics(url: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as pool, pool.get(f"{url}metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("toprung_")}


class GoneError(Exception):
    """The player's machine has lost its network."""


@pytest.mark.parametrize("step", STEPS)
async def test_players_that_vanish_at_a_step_cost_the_round_nothing_but_their_own_vectors(step: str):
    def take_leave(now: str) -> None:
        if now == step:
            raise GoneError

    async with server() as rounds, aiohttp.ClientSession() as pool:
        vectors = [np.full(TELEMETRY.words, 10**number, dtype=np.uint32) for number in range(9)]
        parts = [
            Contribution(
                PrivateServer(pool, rounds.url),
                Vector(words=TELEMETRY.words, layout=TELEMETRY.fingerprint, give=lambda vector=vector: vector),
                on_step=take_leave if number in (6, 7, 8) else lambda _step: None,
            )
            for number, vector in enumerate(vectors)
        ]
        taking_part = asyncio.gather(*(each.take_part() for each in parts), return_exceptions=True)
        await rounds.until(Stage.JOINING, 6 if step == "keys" else 9)
        rounds.let_pass()
        if step in ("shares", "masked"):
            await rounds.until(Stage.SHARING if step == "shares" else Stage.MASKING, 6)
            rounds.let_pass()
        results = await taking_part
        told = await metrics(rounds.url)
    assert results[:6] == [Part.SUMMED] * 6
    if step == "openings":
        assert told["toprung_private_sessions_total"] == 111111111
    else:
        assert [type(each) for each in results[6:]] == [GoneError] * 3
        assert told["toprung_private_sessions_total"] == 111111
    assert told["toprung_private_last_round_survivors"] == (9 if step == "openings" else 6)


async def test_a_reporter_hands_in_all_that_was_counted_at_the_end_of_its_session():
    async with server() as rounds:
        reporters = []
        for number in range(5):
            tally = SessionTally(None)
            tally.take(Playing(t_s=1.0, startup_s=float(number)))
            reporters.append(PrivateReporter(rounds.url, tally))
            reporters[-1].start()
        await rounds.until(Stage.JOINING, 5)
        rounds.let_pass()
        results = await asyncio.gather(*(asyncio.to_thread(each.finish, 60.0) for each in reporters))
        told = await metrics(rounds.url)
    assert [(each.rounds, each.survivors, each.problem) for each in results] == [(1, 5, "")] * 5
    assert told["toprung_private_startup_seconds_sum"] == pytest.approx(10.0)
    assert told["toprung_private_startup_seconds_count"] == 5


async def test_a_lone_viewer_is_told_that_no_cohort_came_and_has_told_nothing():
    async with server() as rounds:
        tally = SessionTally(None)
        tally.take(Playing(t_s=1.0, startup_s=2.0))
        reporter = PrivateReporter(rounds.url, tally)
        reporter.start()
        await rounds.until(Stage.JOINING, 1)
        result = await asyncio.to_thread(reporter.finish, 0.1)
        rounds.let_pass()
        told = await metrics(rounds.url)
    assert (result.rounds, result.problem) == (0, "no cohort took the rest of it within 0 s")
    assert told['toprung_private_rounds_total{outcome="few"}'] == 1
    assert not [name for name in told if name.startswith("toprung_private_startup")]
    assert tally.give().any(), "it is still the viewer's own"


async def test_a_server_that_sums_something_else_gets_nothing():
    async with server() as rounds, aiohttp.ClientSession() as pool:
        vector = Vector(words=TELEMETRY.words, layout="other", give=lambda: pytest.fail("it was given"))
        with pytest.raises(NotOfferedError, match="another version"):
            await Contribution(PrivateServer(pool, rounds.url), vector).take_part()


def test_a_session_that_is_told_in_private_posts_no_event_and_counts_all_that_it_showed(tmp_path: Path):
    tally = SessionTally(None)

    async def main() -> tuple[object, dict[str, float]]:
        async with server() as rounds:
            request = replace(PlayRequest(url=rounds.url, trace=constant(8e6, 0.02), families=()))
            played = await watch(request, tmp_path / "shown.y", tally=tally)
            return played, await metrics(rounds.url)

    played, told = run_virtual(main(), wall_rate=FAST_MACHINE)
    shown = [event for event in played.events if isinstance(event, Shown)]
    assert shown
    assert not [name for name, value in told.items() if name.startswith("toprung_viewer_events_total") and value]
    assert told["toprung_viewer_vmaf_count"] == 0
    vector = tally.give()
    for name, count in (("vmaf", len(shown)), ("video_bytes_per_second", len(shown)), ("startup_seconds", 1)):
        start, counted = TELEMETRY.find(name)
        assert int(vector[start : start + counted.words - 1].sum()) == count
    start, counted = TELEMETRY.find("shown_seconds")
    assert vector[start] * counted.step == pytest.approx(sum(played.title.segment_duration_s), abs=0.2)
