"""The private names that server.connection leans on are there, and mean what it takes them for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from server.concurrency.batcher import BatchEntry, TurnBatcher
from server.connection.aiohttp_handler import make_handler


class Wire(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        return None

    def is_closing(self) -> bool:
        return False


async def until(holds: Callable[[], bool], sentence: str) -> None:
    """Some turns of the loop, at most; fails with the sentence."""
    for _ in range(50):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError(sentence)


async def test_aiohttp_tells_whether_it_waits_for_a_request():
    gate = asyncio.Event()

    async def answer(_request: web.BaseRequest) -> web.Response:
        await gate.wait()
        return web.Response(text="done")

    handler, wire = make_handler(web.Server(answer)), Wire()
    assert hasattr(handler, "_waiter"), (
        "aiohttp's RequestHandler has no _waiter any more: find out anew how it tells that it waits for a request "
        "(server.connection.aiohttp_handler), or serve with fast_path = false."
    )
    handler.connection_made(wire)
    idle = "aiohttp's _waiter no longer tells that the handler waits for a request."
    await until(lambda: handler.is_idle, idle)
    handler.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: not handler.is_idle, "aiohttp's _waiter no longer tells that a request is being answered.")
    for _ in range(10):
        await asyncio.sleep(0)
        assert not handler.is_idle, "aiohttp's _waiter says idle while a request is being answered."
    gate.set()
    await until(lambda: handler.is_idle and wire.written.endswith(b"done"), idle)
    handler.connection_lost(None)


async def test_a_future_that_is_awaited_says_so_to_whoever_drives_the_coroutine():
    future = asyncio.get_running_loop().create_future()

    async def wait() -> str:
        return await future

    coroutine = wait()
    awaited = coroutine.send(None)
    assert awaited is future and getattr(awaited, "_asyncio_future_blocking", None) is True, (
        "A future that is awaited no longer yields itself with _asyncio_future_blocking set: "
        "server.connection.eager_coroutine must learn anew how to wait for one."
    )
    awaited._asyncio_future_blocking = False
    future.set_result("there")
    try:
        coroutine.send(None)
    except StopIteration as end:
        assert end.value == "there"


async def test_a_task_waits_for_what_has_the_methods_of_a_future():
    batcher = TurnBatcher(lambda numbers: [2 * number for number in numbers])

    async def double(number: int) -> int:
        return await batcher.submit(number)

    try:
        assert await asyncio.wait_for(asyncio.create_task(double(21)), 5) == 42
    except RuntimeError as error:
        raise AssertionError(
            f"A task no longer waits for a BatchEntry by its _asyncio_future_blocking ({error}); "
            "server.concurrency.batcher must give it a future."
        ) from error
    assert BatchEntry(batcher, 1)._asyncio_future_blocking is None, "not a future before it is awaited"
