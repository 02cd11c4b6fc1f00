"""Which segment is lifted first, and which not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from abr.virtual_time import SessionClock, run_virtual
from client_player.edge.lifts.lift_process import LiftError
from client_player.edge.lifts.lift_queue import LiftOrder, LiftQueue, Outcome


def orders_done(*given: tuple[str, float, float, Sequence[float]], later: float = 0.0) -> list[tuple[str, Outcome]]:
    """(key, gain, cost, instants at which viewers play it) of each order → what became of them, in order."""
    came: list[tuple[str, Outcome]] = []

    async def main() -> None:
        clock = SessionClock()

        def count(order: LiftOrder) -> None:
            assert order.outcome is not None
            came.append((order.key, order.outcome))

        def order(key: str, gain: float, cost_s: float, due: Sequence[float]) -> LiftOrder:
            async def work() -> None:
                await asyncio.sleep(cost_s)
                if key == "broken":
                    raise LiftError("broken on purpose")

            return LiftOrder(key=key, gain=gain, cost_s=cost_s, due=lambda _now_s: due, later=lambda: later, work=work)

        queue = LiftQueue(1, clock, count)
        made = [queue.submit(order(*each)) for each in given]
        async with queue.working():
            await asyncio.gather(*(each.done.wait() for each in made))
        assert len(queue) == 0 and queue.backlog_s == 0

    run_virtual(main())
    return came


def test_what_brings_most_points_to_most_viewers_a_second_comes_first() -> None:
    soon = [100.0]
    done = orders_done(
        ("small gain", 2.0, 1.0, soon),
        ("many viewers", 4.0, 1.0, soon * 3),
        ("costly", 10.0, 4.0, soon),
        ("great gain", 10.0, 1.0, soon),
    )
    assert [key for key, _ in done] == ["many viewers", "great gain", "costly", "small gain"]


def test_what_would_be_late_for_everybody_is_not_begun() -> None:
    done = orders_done(("first", 9.0, 2.0, [2.5]), ("second", 8.0, 2.0, [3.0]), ("third", 1.0, 2.0, [9.0, 1.0]))
    assert done == [("first", Outcome.LIFTED), ("second", Outcome.LATE), ("third", Outcome.LIFTED)]


def test_a_late_lift_is_done_when_others_may_come_for_it() -> None:
    assert orders_done(("late", 9.0, 2.0, [1.0]), later=0.2) == [("late", Outcome.LIFTED)]


def test_a_lift_that_breaks_does_not_stop_the_others() -> None:
    done = orders_done(("broken", 9.0, 1.0, [9.0]), ("good", 5.0, 1.0, [9.0]))
    assert done == [("broken", Outcome.FAILED), ("good", Outcome.LIFTED)]


def test_one_order_stands_for_all_of_its_name() -> None:
    done = orders_done(*[("the same", 9.0, 1.0, [9.0])] * 5)
    assert done == [("the same", Outcome.LIFTED)]
