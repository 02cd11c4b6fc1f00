"""What is asked for in one turn of the loop is done at once, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from server.concurrency.batcher import TurnBatcher
from server.connection.eager_coroutine import EagerCoroutine


class Doubling:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, asked: Sequence[int]) -> list[int]:
        self.batches.append(list(asked))
        if 0 in asked:
            raise ZeroDivisionError("nothing to double")
        return [2 * each for each in asked]


async def test_one_turn_at_once_in_order_and_no_more_than_the_most():
    double = Doubling()
    together = TurnBatcher(double, batch_max=3)

    async def twice(number: int) -> int:
        return await together.submit(await together.submit(number))

    assert await asyncio.gather(*map(twice, range(1, 6))) == [4, 8, 12, 16, 20]
    assert double.batches == [[1, 2, 3], [4, 5, 2], [4, 6, 8], [10]]


async def test_what_goes_wrong_is_told_to_all_who_were_done_at_once_and_to_nobody_else():
    together = TurnBatcher(Doubling(), batch_max=2)
    answers = await asyncio.gather(*(together.submit(each) for each in (1, 0, 3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ZeroDivisionError, ZeroDivisionError, int]


async def test_who_gives_up_waiting_spoils_nothing():
    together = TurnBatcher(Doubling())

    async def ask(number: int) -> int:
        return await together.submit(number)

    impatient, patient = asyncio.create_task(ask(1)), asyncio.create_task(ask(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == 4
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_an_errand_waits_for_its_answer_without_a_task():
    together, ended, tasks = TurnBatcher(Doubling()), asyncio.Queue(), []

    async def run(number: int) -> None:
        tasks.append(asyncio.current_task())
        assert await together.submit(number) == 2 * number
        tasks.append(asyncio.current_task())

    for number in (3, 4, 0):
        asyncio.get_running_loop().call_soon(EagerCoroutine(run(number), ended.put_nowait).advance)
    ends = [await ended.get() for _ in range(3)]
    assert [type(end) for end in ends] == [ZeroDivisionError] * 3
    asyncio.get_running_loop().call_soon(EagerCoroutine(run(5), ended.put_nowait).advance)
    assert await ended.get() is None
    assert tasks == [None] * 5


async def test_what_follows_a_batch_is_done_for_all_of_it_before_anything_else():
    deciding, sending, order, ended = TurnBatcher(Doubling()), TurnBatcher(Doubling()), [], asyncio.Queue()

    async def run(number: int) -> None:
        decided = await deciding.submit(number)
        asyncio.get_running_loop().call_soon(order.append, "another's turn")
        await sending.submit(decided)
        order.append(number)

    for number in (1, 2, 3):
        asyncio.get_running_loop().call_soon(EagerCoroutine(run(number), ended.put_nowait).advance)
    assert [await ended.get() for _ in range(3)] == [None] * 3
    assert order[:3] == [1, 2, 3]


async def test_an_errand_goes_as_far_as_it_can_and_on_when_what_it_waits_for_is_there():
    steps, ended = [], asyncio.Queue()

    async def walk(gate: asyncio.Future[str] | None) -> None:
        steps.append("begun")
        if gate is not None:
            steps.append(await gate)
            await asyncio.sleep(0)
            steps.append(await asyncio.to_thread(str, "read"))

    EagerCoroutine(walk(None), ended.put_nowait).advance()
    assert (steps, ended.get_nowait()) == (["begun"], None)
    opened, broken, cancelled = (asyncio.get_running_loop().create_future() for _ in range(3))
    for gate in (opened, broken, cancelled):
        EagerCoroutine(walk(gate), ended.put_nowait).advance()
    assert steps == ["begun"] * 4
    broken.set_exception(ConnectionResetError("gone"))
    assert isinstance(await ended.get(), ConnectionResetError)
    cancelled.cancel()
    assert isinstance(await ended.get(), asyncio.CancelledError)
    opened.set_result("passed")
    assert await ended.get() is None
    assert steps[4:] == ["passed", "read"]
