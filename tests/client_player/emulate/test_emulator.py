"""The link emulator: exact whenever it is looked at, and a faithful proxy."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from served import listening

from abr.errors import InputError
from abr.simulation.trace_formats import DUMPS
from abr.simulation.traces import Trace, constant, make
from client_player.emulate.link import Flow, Link, share_link
from client_player.emulate.proxy import emulating

spans = st.lists(
    st.tuples(st.floats(0.05, 5.0), st.sampled_from([0.0, 2e5, 5e5, 5e6, 5e7]), st.floats(0.0, 0.3)),
    min_size=1,
    max_size=6,
).filter(lambda spans: any(bps for _, bps, _ in spans))


@given(spans, st.integers(0, 2**32))
@settings(deadline=None)
def test_however_late_it_is_looked_at_a_busy_link_carries_what_the_trace_says(spans, seed):
    trace, chance = make("any", spans), random.Random(seed)
    link, now_s, carried = Link(trace=trace), 0.0, 0
    while now_s < 12.0:
        now_s += chance.choice([0.001, 0.0014, 0.01, 0.3])
        carried += link.take(now_s, 10**9)
        assert carried == pytest.approx(trace.bytes_between(0.0, now_s), abs=2.0)


def test_capacity_is_lost_while_nothing_waits_and_only_then():
    link = Link(trace=constant(8e6))
    assert link.take(1.0, 500_000) == 500_000, "half of what could have gone"
    link.wake(3.0)
    assert link.take(3.0, 10**9) == 0
    assert link.take(3.5, 10**9) == 500_000


def test_an_outage_says_when_it_ends():
    link = Link(trace=make("gap", [(1.0, 8e6, 0.0), (2.0, 0.0, 0.0)]))
    assert link.take(1.5, 10**9) == 1_000_000
    assert link.next_s() == pytest.approx(3.0, abs=1e-5)


def test_connections_share_in_turns_and_a_blocked_one_leaves_its_share():
    heavy, light, stuck = Flow(waiting=bytearray(100_000)), Flow(waiting=bytearray(5_000)), Flow(blocked=True)
    stuck.waiting += bytes(9_000)
    flows = deque([heavy, light, stuck])
    sizes = {id(flow): 0 for flow in flows}
    for flow, piece in share_link(flows, 20_000):
        sizes[id(flow)] += len(piece)
    assert sizes == {id(heavy): 15_000, id(light): 5_000, id(stuck): 0}
    assert len(heavy.waiting) == 85_000


BODY = random.Random(1).randbytes(200_000)


def upstream() -> web.Application:
    async def body(request: web.Request) -> web.Response:
        asked = await request.read()
        return web.Response(body=BODY + asked)

    app = web.Application(client_max_size=1 << 22)
    app.router.add_route("*", "/body", body)
    return app


async def test_bytes_pass_unchanged_both_ways_on_several_connections_at_once():
    trace = constant(200e6, 0.001)
    async with listening(upstream()) as url, emulating(trace, url) as link, aiohttp.ClientSession() as pool:

        async def ask(sent: bytes) -> bytes:
            async with pool.post(f"{link.url}body", data=sent) as answer:
                return await answer.read()

        bodies = [bytes([i]) * 70_000 for i in range(8)]
        assert await asyncio.gather(*map(ask, bodies)) == [BODY + sent for sent in bodies]
        assert await ask(b"again, on a kept connection") == BODY + b"again, on a kept connection"


async def test_a_request_waits_for_the_latency_and_its_body_for_the_link():
    loop, trace = asyncio.get_running_loop(), constant(4e6, 0.25)
    async with listening(upstream()) as url, emulating(trace, url) as link, aiohttp.ClientSession() as pool:
        asked_s = loop.time()
        async with pool.get(f"{link.url}body") as answer:
            first_s = loop.time() - asked_s
            await answer.read()
            last_s = loop.time() - asked_s
    assert first_s >= 0.25
    assert last_s >= 0.25 + len(BODY) * 8 / 4e6 - 0.01


async def test_a_player_who_hangs_up_and_a_server_that_is_not_there_leave_the_emulator_running():
    async with listening(upstream()) as url, emulating(constant(1e6), url) as link:
        port = int(link.url.rstrip("/").rpartition(":")[2])
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /body HTTP/1.1\r\nHost: x\r\n\r\n")
            await writer.drain()
            writer.transport.abort()
        async with aiohttp.ClientSession() as pool, pool.head(f"{link.url}body") as answer:
            assert answer.status == 200
    async with emulating(constant(1e6), url) as link, aiohttp.ClientSession() as pool:
        with pytest.raises(aiohttp.ClientConnectionError):
            await pool.get(f"{link.url}body")


async def test_it_closes_without_a_word_under_a_player_in_mid_download():
    faults: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
    async with listening(upstream()) as url:
        async with emulating(constant(1e6), url) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(link.url.rstrip("/").rpartition(":")[2]))
            writer.write(b"GET /body HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.read(100)
        assert len(await reader.read()) < len(BODY)
        writer.close()
    await asyncio.sleep(0)
    assert faults == []


async def test_an_upstream_that_is_no_http_url_is_refused_in_one_sentence():
    for given_url in ("ftp://somewhere", "localhost:80", "https://secure"):
        with pytest.raises(InputError, match="http://"):
            async with emulating(constant(1e6), given_url):
                pass


@pytest.mark.parametrize("form", sorted(DUMPS))
def test_the_command_reads_every_trace_format_and_ends_when_told(form: str, tmp_path: Path):
    trace = Trace(name="t", duration_s=[1.0, 1.0], throughput_bps=[8e6, 4e6], latency_s=[0.05, 0.05])
    file = tmp_path / "trace"
    file.write_text(DUMPS[form](trace))
    command = [sys.executable, "-m", "abr", "emulate", "--trace", str(file), "--listen", "0"]
    with subprocess.Popen(
        [*command, "--upstream", "http://127.0.0.1:9/"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("http://127.0.0.1:")
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=120) == 0
