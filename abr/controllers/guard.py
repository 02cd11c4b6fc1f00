"""Asks a controller and never lets it break a session: what it gets wrong is mended and said in the reason."""

from __future__ import annotations

import logging
import math
from operator import index
from typing import SupportsIndex

from msgspec.structs import replace

from abr.control import Controller, Decision, Flight, Observation, WatchfulController
from abr.controllers.rules import offered, step_down

REASON_MAX = 1024
WAIT_MAX_S = 60.0
MEMORY_MAX = 16

log = logging.getLogger(__name__)


def decide(controller: Controller, seen: Observation) -> Decision:
    """The controller's decision, or the lowest rung and why. Never raises for what a controller does."""
    try:
        decision = controller.decide(seen)
        fault = _fault(decision, seen)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's controller may raise anything; the session goes on
        decision, fault = None, f"{type(error).__name__}: {error}"
    if decision is None or fault:
        reason = _one_line(f"the controller failed ({fault}), so the lowest rung plays")
        log.warning("Segment %d: %s", seen.menu.segment, reason)
        return Decision(option=step_down(seen.menu, 0), reason=reason)
    if type(decision.option) is int and 0 < len(decision.reason) <= REASON_MAX and decision.reason.isprintable():
        return decision
    return replace(decision, option=index(decision.option), reason=_one_line(decision.reason))


def reconsider(controller: WatchfulController, seen: Observation, flight: Flight) -> int | None:
    """What the controller would rather fetch; None, so that the download goes on, when it gets that wrong."""
    try:
        option = controller.reconsider(seen, flight)
        wrong = option is not None and not 0 <= index(option) < len(seen.menu.choices)
        fault = f"it wants option {option!r} of {len(seen.menu.choices)}" if wrong else ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        option, fault = None, f"{type(error).__name__}: {error}"
    if fault:
        log.warning(
            "Segment %d: %s", seen.menu.segment, _one_line(f"the controller failed ({fault}), so the download goes on")
        )
        return None
    return None if option is None or not offered(seen.menu, option) else index(option)


def _fault(decision: Decision, seen: Observation) -> str:
    """What is wrong with the decision; empty when nothing is."""
    if not isinstance(decision, Decision):
        return f"it answered {type(decision).__name__}, not a Decision"
    if not isinstance(decision.reason, str) or not isinstance(decision.option, int | SupportsIndex):
        return "its reason is no text or its option no whole number"
    if not 0 <= decision.option < len(seen.menu.choices):
        return f"it chose option {decision.option} of {len(seen.menu.choices)}"
    if not offered(seen.menu, decision.option) and offered(seen.menu, step_down(seen.menu, 0)):
        return f"it chose option {decision.option}, which this segment does not have"
    if not 0 <= decision.wait_s <= WAIT_MAX_S:
        return f"it wants to wait {decision.wait_s} s"
    if len(decision.memory) > MEMORY_MAX or not all(map(math.isfinite, decision.memory)):
        return "its memory is more than 16 finite numbers"
    return ""


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:REASON_MAX] or "no reason given"
