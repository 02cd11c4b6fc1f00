"""Virtual time: idle time is free and exact, work is charged what it takes."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from abr.clock import SessionClock, VirtualTimeLoop, run_virtual, working
from client_player.compute import Compute


def _spin(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_idle_time_costs_nothing_and_is_exact() -> None:
    async def main() -> list[float]:
        clock, woke = SessionClock(), []
        for instant_s in (0.1, 3600.0, 3600.5):
            await clock.sleep_until(instant_s)
            woke.append(clock.now_s())
        return woke

    began_s = time.monotonic()
    assert run_virtual(main()) == pytest.approx([0.1, 3600.0, 3600.5], abs=1e-6)
    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("wall_rate", [1.0, 0.25])
def test_work_is_charged_at_the_walls_rate(wall_rate: float) -> None:
    async def main() -> tuple[float, float]:
        clock = SessionClock()
        began_s = time.monotonic()
        with Compute("spin") as compute:
            await compute.run(_spin, 0.1)
        return clock.now_s(), time.monotonic() - began_s

    virtual_s, wall_s = run_virtual(main(), wall_rate=wall_rate)
    assert 0.1 * wall_rate <= virtual_s <= wall_s * wall_rate + 0.001


def test_timers_run_while_another_task_works() -> None:
    """A sleeper due in the middle of work is woken then, not after it."""

    async def main() -> float:
        clock = SessionClock()

        async def sleeper() -> float:
            await clock.sleep_until(0.05)
            return clock.now_s()

        waiting = asyncio.create_task(sleeper())
        with Compute("spin") as compute:
            await compute.run(_spin, 0.4)
        return await waiting

    assert 0.05 <= run_virtual(main()) < 0.4


def test_a_charge_makes_work_longer() -> None:
    async def main() -> float:
        loop, clock = asyncio.get_running_loop(), SessionClock()
        assert isinstance(loop, VirtualTimeLoop)
        with working(), Compute("slow") as compute:
            await compute.run(loop.charge, 30.0)
        return clock.now_s()

    assert 30.0 <= run_virtual(main()) < 31.0


def test_work_in_any_thread_is_not_skipped_past() -> None:
    """A timer far away must not fire early because a thread's result is all that is being waited for."""

    async def session() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(3600, lambda: None)
        await asyncio.to_thread(threading.Event().wait, 0.01)
        return loop.time()

    assert run_virtual(session()) < 60
