"""Long computations of controllers happen beforehand, and never in the thread that serves everybody."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
from aiohttp.test_utils import TestClient, TestServer
from serving import CHUNK_SHA256, device_profile

from abr.core.control import Decision
from abr.records import dumps
from abr.registry import Registry
from server.app import create_app
from server.context import CONTEXT
from server.sessions.plan_queue import WAITING_EACH_MAX, WAITING_MAX, FairQueue, PlanRequest, Requester
from server.settings import Settings


class Slow:
    """Plans pairs of segments, for those who have all weights and for others, and refuses to decide without a plan."""

    def __init__(self) -> None:
        self.plans: dict[tuple[int, bool], str] = {}

    def is_precomputed(self, prices, segment, weights_bytes, buffer_max_s):
        return (segment // 2, bool(weights_bytes.any())) in self.plans

    def precompute(self, prices, segment, weights_bytes, buffer_max_s):
        self.plans[segment // 2, bool(weights_bytes.any())] = threading.current_thread().name

    def decide(self, seen):
        assert (seen.menu.segment // 2, bool(seen.menu.weights_bytes.any())) in self.plans
        return Decision(option=1, reason="as planned")


async def test_a_plan_is_made_off_the_loop_before_it_is_needed(library, clock, title):
    slow, registry = Slow(), Registry("controller")
    registry.add("slow", lambda: slow)
    settings = Settings(library=str(library), controller="slow")
    async with TestClient(TestServer(create_app(settings, registry=registry, clock=clock))) as client:
        body = dumps({"title": "bbb", "profile": device_profile(title)})
        opened = await client.post("/sessions", data=body, headers={"Content-Type": "application/json"})
        path = opened.headers["Location"]
        assert list(slow.plans) == [(0, True)], "already when the session opens"
        for number in (1, 2, 3):
            answer = await client.get(f"{path}/video/{number}.m4s")
            assert answer.headers["Toprung-Reason"] == "as planned", "a jump ahead too"
        assert list(slow.plans) == [(0, True), (1, True)]
        owned = {"CMCD-Request": f'com.toprung-w="{CHUNK_SHA256[:8]}"'}
        again = await client.post("/sessions", data=body, headers={"Content-Type": "application/json"})
        answer = await client.get(f"{again.headers['Location']}/video/1.m4s", headers=owned)
        assert answer.headers["Toprung-Reason"] == "as planned", "who comes with weights too"
    assert list(slow.plans) == [(0, True), (1, True), (0, False)]
    assert threading.current_thread().name not in slow.plans.values()


class Held:
    """Like Slow, but its plans are made when the test lets them be; it decides without one, and says so."""

    decides_unplanned = True

    def __init__(self) -> None:
        self.plans, self.let = 0, threading.Event()

    def is_precomputed(self, prices, segment, weights_bytes, buffer_max_s):
        return self.plans > 0

    def precompute(self, prices, segment, weights_bytes, buffer_max_s):
        assert self.let.wait(20)
        self.plans += 1

    def decide(self, seen):
        return Decision(option=1, reason="as planned" if self.plans else "without a plan")


async def test_a_controller_that_decides_without_a_plan_is_never_waited_for(library, clock):
    held, registry = Held(), Registry("controller")
    registry.add("held", lambda: held)
    settings = Settings(library=str(library), controller="held")
    async with TestClient(TestServer(create_app(settings, registry=registry, clock=clock))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        answer = await client.get(f"{path}/video/1.m4s")
        assert answer.headers["Toprung-Reason"] == "without a plan"
        held.let.set()
        async with asyncio.timeout(20):
            await client.app[CONTEXT].sessions.all_planned()
        answer = await client.get(f"{path}/video/2.m4s")
        assert answer.headers["Toprung-Reason"] == "as planned"
    assert held.plans == 1, "asked for twice, made once"


async def test_who_prefers_to_wait_has_the_plans_of_all_its_segments(library, clock):
    slow, registry = Slow(), Registry("controller")
    registry.add("slow", lambda: slow)
    settings = Settings(library=str(library), controller="slow")
    async with TestClient(TestServer(create_app(settings, registry=registry, clock=clock))) as client:
        for prefer, plans in (("respond-async", 1), ("wait=0", 1), ("Wait = 5;x, respond-async", 2)):
            answer = await client.post("/sessions", json={"title": "bbb"}, headers={"Prefer": prefer})
            assert answer.status == 201
            assert len(slow.plans) == plans


async def test_a_preference_to_wait_is_no_promise_to_wait_without_end(library, clock):
    held, registry = Held(), Registry("controller")
    registry.add("held", lambda: held)
    settings = Settings(library=str(library), controller="held")
    async with TestClient(TestServer(create_app(settings, registry=registry, clock=clock))) as client:
        answer = await client.post("/sessions", json={"title": "bbb"}, headers={"Prefer": "wait=1"})
        assert answer.status == 201
        assert held.plans == 0
        held.let.set()


def asked(name):
    return PlanRequest(name, None, 0, np.zeros(1), 60.0)


def test_addresses_take_turns_and_with_one_address_its_titles():
    queue = FairQueue()
    for title in ("a", "b"):
        for index in range(WAITING_EACH_MAX):
            assert queue.put(Requester("attacker", title), asked(f"attacker {title} {index}"))
        assert not queue.put(Requester("attacker", title), asked("one too many"))
    assert queue.put(Requester("viewer", "a"), asked("viewer"))
    taken = [queue.take().controller for _ in range(len(queue))]
    assert taken[1] == "viewer" and taken[0] == "attacker a 0" and taken[2] == "attacker b 0"
    assert len(taken) == len(set(taken)) == 2 * WAITING_EACH_MAX + 1


def test_what_waits_is_bounded_and_everything_is_taken_in_the_end():
    queue = FairQueue()
    put = [queue.put(Requester(str(index % 400), "a"), asked(index)) for index in range(2 * WAITING_MAX)]
    assert sum(put) == len(queue) == WAITING_MAX
    assert sorted(queue.take().controller for _ in range(WAITING_MAX)) == list(range(WAITING_MAX))
