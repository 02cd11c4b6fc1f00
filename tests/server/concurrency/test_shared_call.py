"""A call that many ask for is made once, also for those who come in the very moment it ends."""

from __future__ import annotations

import asyncio

from server.concurrency.shared_call import SharedCalls


async def calls_made(turns_before: int) -> int:
    """How often the call is made when a second one asks so many turns of the loop after it has returned."""
    shared: SharedCalls[int] = SharedCalls()
    kept: list[int] = []
    loop = asyncio.get_running_loop()
    has_asked = asyncio.Event()
    made = 0

    def make() -> int:
        nonlocal made
        made += 1
        if made == 1:
            loop.call_soon_threadsafe(wait_and_ask, turns_before)
        return 7

    async def ask() -> int:
        return kept[0] if kept else await shared.run("same", make, keep=kept.append)

    def wait_and_ask(turns: int) -> None:
        if turns:
            loop.call_soon(wait_and_ask, turns - 1)
        else:
            asked.append(asyncio.create_task(ask()))
            has_asked.set()

    asked = [asyncio.create_task(ask())]
    assert await asked[0] == 7
    await has_asked.wait()
    assert await asked[1] == 7
    return made


async def test_who_asks_in_the_very_turn_in_which_a_call_ends_finds_what_was_kept():
    """The loop tells the end of a call to those who wait for it a turn later; others may ask in between."""
    assert [await calls_made(turns) for turns in range(12)] == [1] * 12


async def test_a_call_that_fails_keeps_nothing_and_is_made_again():
    shared: SharedCalls[float] = SharedCalls()
    kept: list[float] = []
    for divisor, expected in ((0, ZeroDivisionError), (2, None)):
        asked = (shared.run("same", lambda by=divisor: 1 / by, keep=kept.append) for _ in range(3))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {expected or float}
    assert kept == [0.5]
