"""Controllers at work: their plans made in a thread beforehand, their decisions taken together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from abr.controllers.guard import decide_batch
from abr.controllers.toprung.bottleneck import Turn
from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.plan_library import PlanLibrary
from abr.core.control import Controller, Decision, Observation
from abr.core.options import Menu, PriceList
from server.concurrency.batcher import TurnBatcher
from server.monitoring.metrics import Metrics
from server.session_service.groups import Links
from server.sessions.plan_queue import WAIT_MAX_S, PlanQueue, Requester
from server.sessions.state import SessionState

Query = tuple[Controller, Observation]


class ControllerRunner:
    """All controllers that sessions may name. One object of each serves all sessions, since controllers are pure.

    Toprung's decides by plans for classes of device, from `plans`, and never waits for one.
    """

    def __init__(
        self, controllers: Mapping[str, Controller], default: str, metrics: Metrics, plans: PlanLibrary
    ) -> None:
        self.plans = plans
        self._controllers = {
            name: replace(controller, plans=self.plans) if isinstance(controller, Toprung) else controller
            for name, controller in controllers.items()
        }
        self._default = default
        self._metrics = metrics
        self._queue = PlanQueue()
        self._links = Links()
        self._batcher: TurnBatcher[Query, tuple[Decision, float]] = TurnBatcher(self._decide_batch)

    @property
    def default(self) -> str:
        """The controller of viewers who name none."""
        return self._default

    @property
    def names(self) -> tuple[str, ...]:
        """Of all controllers that a viewer may ask for."""
        return tuple(self._controllers)

    def close(self) -> None:
        """No more plans are made."""
        self._queue.close()

    async def all_planned(self) -> None:
        """Returns when all plans that viewers need are there."""
        await self._queue.all_made()

    async def plan(self, name: str, menu: Menu, buffer_max_s: float, requester: Requester) -> None:
        """Returns when controller `name` can decide the menu's segment at once."""
        controller, prices = self._controllers[name], menu.prices
        if isinstance(controller, Toprung) and prices is not None:
            what = prices, menu.segment, menu.weights_bytes, buffer_max_s
            if not controller.is_precomputed(*what):
                await asyncio.to_thread(controller.preload, *what)
        await self._queue.wait(controller, menu, buffer_max_s, requester)

    async def plan_all(
        self, name: str, prices: PriceList, buffer_max_s: float, requester: Requester, wait_s: float
    ) -> None:
        """Returns when controller `name` has its plans for all segments, or after WAIT_MAX_S, or wait_s if shorter."""
        menus = (prices.menu(segment, 1) for segment in range(len(prices.duration_s)))
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, WAIT_MAX_S)):
                await self._queue.wait_for_all(self._controllers[name], menus, buffer_max_s, requester)

    async def decide(self, name: str, observation: Observation, session_id: str, requester: Requester) -> Decision:
        """The decision of controller `name`, or of the default one when it is no longer there."""
        controller = self._controller(name)
        await self._queue.wait(controller, observation.menu, observation.buffer_max_s, requester)
        decision, took_s = await self._batcher.submit((controller, observation))
        self._metrics.decision_s.observe(took_s, session_id)
        return decision

    def take_turn(self, state: SessionState, viewer: str, observation: Observation, now_s: float) -> Turn | None:
        """What to ask for a session with a group, and what becomes of the answer. now_s: on the server's clock.

        None when its controller decides each viewer alone: others than Toprung's do not read what the link tells.
        """
        controller = self._controller(state.controller)
        if not isinstance(controller, Toprung):
            return None
        turn = self._links.take_turn(state, viewer, controller, observation, now_s)
        if turn.told:
            self._metrics.shared_decisions.inc()
        return turn

    def leave(self, state: SessionState, viewer: str) -> None:
        """The session has ended; its group, if it has one, shares the link without it."""
        if state.group:
            self._links.leave(state, viewer)

    def _controller(self, name: str) -> Controller:
        """The default one when `name` is no longer there."""
        return self._controllers.get(name, self._controllers[self._default])

    def _decide_batch(self, queries: Sequence[Query]) -> list[tuple[Decision, float]]:
        """The decisions of one turn of the loop, each with its share of the time that all took."""
        self._metrics.decision_rounds.inc()
        started_s = time.perf_counter()
        decisions = decide_batch(queries)
        share_s = (time.perf_counter() - started_s) / len(queries)
        return [(decision, share_s) for decision in decisions]
