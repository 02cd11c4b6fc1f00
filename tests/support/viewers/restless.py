"""A controller that never stays: what is shown must follow every decision."""

from __future__ import annotations

from collections.abc import Callable

from abr.core.control import Controller, Decision, Observation
from abr.registry import Registry


class Restless:
    """Another rung with every decision, up and down the ladder."""

    def decide(self, seen: Observation) -> Decision:
        (count,) = seen.memory or (0.0,)
        option = (3 * int(count) + 2) % len(seen.menu.choices)
        return Decision(option=option, reason="restless: on to another rung", memory=(count + 1,))


RESTLESS: Registry[Callable[[], Controller]] = Registry("controller")
RESTLESS.add("restless", Restless)
