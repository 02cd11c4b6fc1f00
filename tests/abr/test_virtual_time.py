"""Virtual time: idle time is free and exact, work is charged what it takes."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from abr.virtual_time import SessionClock, VirtualTimeLoop, run_virtual, working
from client_player.worker_thread import WorkerThread


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

    assert run_virtual(main()) == pytest.approx([0.1, 3600.0, 3600.5], abs=1e-6)


@pytest.mark.parametrize("wall_rate", [1.0, 0.25])
def test_work_is_charged_at_the_walls_rate(wall_rate: float) -> None:
    async def main() -> tuple[float, float]:
        clock = SessionClock()
        began_s = time.monotonic()
        with WorkerThread("spin") as compute:
            await compute.run(_spin, 0.1)
        return clock.now_s(), time.monotonic() - began_s

    virtual_s, wall_s = run_virtual(main(), wall_rate=wall_rate)
    assert 0.1 * wall_rate <= virtual_s <= wall_s * wall_rate + 0.001


def test_timers_run_while_another_task_works() -> None:
    """A sleeper due in the middle of work is woken then, not after it: the work lasts until the sleeper has woken."""
    woken = threading.Event()

    async def main() -> bool:
        clock = SessionClock()

        async def sleeper() -> None:
            await clock.sleep_until(0.05)
            woken.set()

        waiting = asyncio.create_task(sleeper())
        with WorkerThread("wait") as compute:
            in_time = await compute.run(woken.wait, 60.0)
        await waiting
        return in_time

    assert run_virtual(main())


def test_who_waits_for_an_idle_peer_needs_no_wall_time() -> None:
    async def main() -> float:
        loop, clock = asyncio.get_running_loop(), SessionClock()
        assert isinstance(loop, VirtualTimeLoop)
        with working():
            with loop.idling():
                await clock.sleep_until(3600.0)
                assert clock.now_s() == pytest.approx(3600.0, abs=1e-6)
            await asyncio.to_thread(_spin, 0.05)
        return clock.now_s()

    assert run_virtual(main()) >= 3600.05


def test_a_charge_makes_work_longer() -> None:
    async def main() -> tuple[float, float]:
        loop, clock = asyncio.get_running_loop(), SessionClock()
        assert isinstance(loop, VirtualTimeLoop)
        began_s = time.monotonic()
        with working(), WorkerThread("slow") as compute:
            await compute.run(loop.charge, 30.0)
        return clock.now_s(), time.monotonic() - began_s

    virtual_s, wall_s = run_virtual(main())
    assert 30.0 <= virtual_s <= 30.0 + wall_s + 0.001


def test_work_in_any_thread_is_not_skipped_past() -> None:
    """A timer far away must not fire early because a thread's result is all that is being waited for."""

    async def session() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(3600, lambda: None)
        await asyncio.to_thread(threading.Event().wait, 0.01)
        return loop.time()

    assert run_virtual(session()) < 3600
