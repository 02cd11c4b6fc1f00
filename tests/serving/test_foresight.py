"""Long computations of controllers happen beforehand, and never in the thread that serves everybody."""

from __future__ import annotations

import threading

from aiohttp.test_utils import TestClient, TestServer
from serving import CHUNK_SHA256, device_profile, enhancements

from abr.control import Decision
from abr.controllers import make_controller
from abr.formats import dumps
from abr.options import price
from abr.registry import Registry
from server.app import create_app
from server.settings import Settings


class Slow:
    """Plans pairs of segments, for those who have all weights and for others, and refuses to decide without a plan."""

    def __init__(self) -> None:
        self.plans: dict[tuple[int, bool], str] = {}

    def foreseen(self, prices, segment, weights_bytes, buffer_max_s):
        return (segment // 2, bool(weights_bytes.any())) in self.plans

    def foresee(self, prices, segment, weights_bytes, buffer_max_s):
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


async def test_our_own_controller_knows_what_it_must_plan(client, opened, title):
    prices, controller = price(title, enhancements(title), device_profile(title)), make_controller("toprung")
    lacking = prices.menu(0, 1).weights_bytes
    assert not controller.foreseen(prices, 0, lacking, 33.0)
    await opened(buffer_max_s=33.0)
    assert controller.foreseen(prices, 0, lacking, 33.0)
