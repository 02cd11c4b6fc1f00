"""Servers that lead the player to other machines, and servers that send byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from faulty import idling
from hypothesis import given
from hypothesis import strategies as st
from served import listening
from titles import prepared_title
from viewers import FAST_MACHINE

from abr.core.events import Ended
from abr.errors import ToprungError
from abr.virtual_time import SessionClock, run_virtual
from client_player.session.request import PlayRequest
from client_player.session.run import watch
from client_player.transport import address_guard
from client_player.transport.address_guard import Reach, reach_of
from client_player.transport.http import DownloadError, HttpReply, HttpTransport, get_with_retries, http_pool


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.THIS_MACHINE),
        ("127.8.9.1", Reach.THIS_MACHINE),
        ("0.0.0.0", Reach.THIS_MACHINE),
        ("::1", Reach.THIS_MACHINE),
        ("::", Reach.THIS_MACHINE),
        ("::ffff:127.0.0.1", Reach.THIS_MACHINE),
        ("64:ff9b::7f00:1", Reach.THIS_MACHINE),
        ("2002:7f00:1::", Reach.THIS_MACHINE),
        ("169.254.169.254", Reach.THIS_LINK),
        ("fe80::1%eth0", Reach.THIS_LINK),
        ("::ffff:169.254.169.254", Reach.THIS_LINK),
        ("10.0.0.1", Reach.THIS_NETWORK),
        ("172.31.0.1", Reach.THIS_NETWORK),
        ("192.168.1.1", Reach.THIS_NETWORK),
        ("100.64.0.1", Reach.THIS_NETWORK),
        ("fd00::1", Reach.THIS_NETWORK),
        ("224.0.0.1", Reach.THIS_NETWORK),
        ("ff02::1", Reach.THIS_NETWORK),
        ("255.255.255.255", Reach.THIS_NETWORK),
        ("1.1.1.1", Reach.EVERYWHERE),
        ("2606:4700:4700::1111", Reach.EVERYWHERE),
        ("::ffff:1.1.1.1", Reach.EVERYWHERE),
    ],
)
def test_tells_how_far_an_address_reaches(address: str, reach: Reach) -> None:
    assert reach_of(address) == reach


@given(st.ip_addresses())
def test_every_address_has_a_reach(address: object) -> None:
    assert reach_of(str(address)) in Reach


@asynccontextmanager
async def _servers(target: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Yields the URL of a server that redirects to `target` (with the port of another one), and what was asked there.

    `http://127.0.0.1:PORT/` is the first server, and all of 127.0.0.0/8 leads to the other one.
    """
    asked: list[str] = []

    async def secret(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="secret")

    inner, outer = web.Application(), web.Application()
    inner.router.add_get("/{rest:.*}", secret)
    runner = web.AppRunner(inner, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "0.0.0.0", 0)
        await site.start()

        async def redirect(_: web.Request) -> web.Response:
            raise web.HTTPFound(target.format(port=site.port))

        outer.router.add_get("/", redirect)
        async with listening(outer) as url:
            yield url, asked
    finally:
        await runner.cleanup()


def _follow(target: str) -> tuple[HttpReply | DownloadError, list[str], list[str]]:
    async def main() -> tuple[HttpReply | DownloadError, list[str], list[str]]:
        failures: list[str] = []
        async with _servers(target) as (url, asked), http_pool() as pool:
            try:
                transport = HttpTransport(pool, SessionClock())
                return await get_with_retries(transport, url, on_failure=failures.append), asked, failures
            except DownloadError as error:
                return error, asked, failures

    return asyncio.run(main())


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/admin",
        "http://0x7f.2:{port}/admin",
        "http://[::ffff:127.0.0.2]:{port}/admin",
        "http://0.0.0.0:{port}/admin",
    ],
)
def test_a_server_from_further_away_leads_nowhere_nearer(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has no public address, so 127.0.0.1 is taken for one; every other address is what it is."""
    real = address_guard.reach_of
    monkeypatch.setattr(
        address_guard, "reach_of", lambda address: Reach.EVERYWHERE if address == "127.0.0.1" else real(address)
    )
    outcome, asked, failures = _follow(target)
    assert isinstance(outcome, DownloadError) and "an address of this machine" in str(outcome)
    assert asked == [] and len(failures) == 1, "it is not tried again"


@pytest.mark.parametrize("target", ["http://2130706434:{port}/", "file:///etc/passwd", "ftp://x/"])
def test_odd_spellings_and_schemes_lead_nowhere(target: str) -> None:
    outcome, asked, _ = _follow(target)
    assert isinstance(outcome, DownloadError) and asked == []


def test_a_manifest_leads_nowhere_nearer_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its BaseURL names another machine, where the segments really are."""
    real = address_guard.reach_of
    monkeypatch.setattr(
        address_guard, "reach_of", lambda address: Reach.EVERYWHERE if address == "127.0.0.1" else real(address)
    )
    assert _play_from_elsewhere("127.0.0.1", tmp_path / "near.y") == "finished"
    with pytest.raises(ToprungError, match="an address of this machine"):
        _play_from_elsewhere("127.0.0.2", tmp_path / "nearer.y")


def _play_from_elsewhere(host: str, luma: Path) -> str:
    """How a session ends whose manifest comes from 127.0.0.1 and whose segments come from `host`."""
    folder = prepared_title()[1]
    segments = web.Application()
    segments.router.add_static("/", folder)

    async def main() -> str:
        runner = web.AppRunner(segments, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "0.0.0.0", 0)
        await site.start()
        base = f"<BaseURL>http://{host}:{site.port}/</BaseURL><Period"
        manifest = (folder / "manifest.mpd").read_text().replace("<Period", base, 1)

        async def answer(request: web.Request) -> web.Response:
            if request.path != "/manifest.mpd":
                raise web.HTTPNotFound
            return web.Response(text=manifest)

        app = web.Application()
        app.router.add_get("/{rest:.*}", answer)
        try:
            async with listening(app) as url:
                request = PlayRequest(
                    url=f"{url}manifest.mpd", local=True, controller="lowest", profile=None, families=()
                )
                played = await watch(request, luma)
        finally:
            await runner.cleanup()
        (ended,) = [event for event in played.events if isinstance(event, Ended)]
        return ended.reason

    return run_virtual(main(), wall_rate=FAST_MACHINE)


def test_who_begins_on_this_machine_may_be_led_around_it() -> None:
    outcome, asked, _ = _follow("http://127.0.0.2:{port}/segment")
    assert isinstance(outcome, HttpReply) and outcome.body == b"secret" and asked == ["/segment"]


async def _drip_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        for _ in range(100_000):
            await response.write(b"x")
            with idling():
                await asyncio.sleep(5)
    except ConnectionError:
        pass
    return response


async def _trickle(request: web.Request) -> web.StreamResponse:
    """2 kbit/s: no network for films, and a network."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(20):
        await response.write(bytes(1250))
        with idling():
            await asyncio.sleep(5)
    return response


def _fetch(handler: object) -> tuple[HttpReply, float]:
    async def main() -> tuple[HttpReply, float]:
        app = web.Application()
        app.router.add_get("/", handler)  # type: ignore[arg-type]
        async with listening(app, handler_cancellation=True) as url, http_pool() as pool:
            clock = SessionClock()
            reply = await HttpTransport(pool, clock).get(url, headers={}, max_bytes=1 << 20)
            return reply, clock.now_s()

    return run_virtual(main())


def test_a_body_that_drips_in_byte_by_byte_is_given_up() -> None:
    with pytest.raises(DownloadError, match="silent for too long, or too slow") as caught:
        _fetch(_drip_body)
    assert caught.value.may_pass


def test_a_slow_network_is_no_drip() -> None:
    reply, took_s = _fetch(_trickle)
    assert len(reply.body) == 25_000 and took_s > 90


def test_a_head_that_drips_in_byte_by_byte_is_given_up() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for byte in b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                with idling():
                    await asyncio.sleep(5)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main() -> float:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        async with server, http_pool() as pool:
            clock = SessionClock()
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            with pytest.raises(DownloadError, match="too slow"):
                await HttpTransport(pool, clock).get(url, headers={}, max_bytes=100)
            return clock.now_s()

    assert 29 <= run_virtual(main()) <= 31
