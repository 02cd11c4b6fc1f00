"""A reverse proxy that misbehaves on demand: what a bad network, a dying server or a tamperer does to a player."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from served import listening

from abr.virtual_time import VirtualTimeLoop

_PASSED_ON = ("Content-Type", "CMSD-Dynamic", "Location")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to the `times` first requests whose path matches.

    kind: a status such as `503`, or `cut` (closed in the middle), `short` (complete, but bytes missing), `corrupt`
    (damaged, of the right length), `scrambled` (no byte of it true, of the right length), `endless` (more and more),
    `silent` (never answered).
    """

    path: str
    kind: str
    times: int = 1_000_000


@dataclass(slots=True)
class Proxy:
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    hits: Counter[Fault] = field(default_factory=Counter)


@asynccontextmanager
async def faulty(target: str, *faults: Fault) -> AsyncIterator[Proxy]:
    """A proxy in front of the server at `target`, with these faults; more may be added to `faults`."""
    proxy, over = Proxy(faults=list(faults)), asyncio.Event()
    async with aiohttp.ClientSession() as pool:

        async def handle(request: web.Request) -> web.StreamResponse:
            proxy.requests[request.path] += 1
            fault = next((f for f in proxy.faults if re.search(f.path, request.path) and proxy.hits[f] < f.times), None)
            if fault is not None:
                proxy.hits[fault] += 1
                if fault.kind.isdigit():
                    return web.Response(status=int(fault.kind), text="broken on purpose")
                if fault.kind == "silent":
                    with idling():
                        await over.wait()
            headers = {key: value for key, value in request.headers.items() if key.startswith(("CMCD", "Content-Type"))}
            url = target.rstrip("/") + str(request.rel_url)
            async with pool.request(request.method, url, data=await request.read(), headers=headers) as answer:
                body = await answer.read()
                kept = {k: v for k, v in answer.headers.items() if k in _PASSED_ON or k.startswith("Toprung-")}
            return await _answer(request, answer.status, kept, body, fault.kind if fault else "")

        app = web.Application(client_max_size=1 << 22)
        app.router.add_route("*", "/{rest:.*}", handle)
        async with listening(app, handler_cancellation=True) as proxy.url:
            try:
                yield proxy
            finally:
                over.set()


def idling() -> AbstractContextManager[None]:
    """Saying nothing takes no time where time is virtual."""
    loop = asyncio.get_running_loop()
    return loop.idling() if isinstance(loop, VirtualTimeLoop) else nullcontext()


async def _answer(
    request: web.Request, status: int, headers: dict[str, str], body: bytes, kind: str
) -> web.StreamResponse:
    if kind == "short":
        body = body[: len(body) // 2]
    if kind == "corrupt":
        middle = len(body) // 4
        body = body[:middle] + bytes(byte ^ 0x5A for byte in body[middle:])
    if kind == "scrambled":
        body = bytes(len(body))
    if kind not in ("cut", "endless"):
        return web.Response(status=status, headers=headers, body=body)
    response = web.StreamResponse(status=status, headers=headers)
    if kind == "cut":
        response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if kind == "cut":
        assert request.transport is not None
        request.transport.close()
        return response
    try:
        while True:
            await response.write(bytes(1 << 20))
    except (ConnectionError, asyncio.CancelledError):
        return response
