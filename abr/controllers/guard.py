"""Asks a controller and never lets it break a session: what it gets wrong is mended and said in the reason."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from operator import index
from typing import SupportsIndex, TypeGuard

from msgspec.structs import replace

from abr.control import Controller, Decision, Flight, GroupController, Observation, WatchfulController
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
    return _mended(decision, fault, seen)


def decide_group(asked: Sequence[tuple[Controller, Observation]]) -> list[Decision]:
    """`decide` for each of them; at once for those who ask the same controller, if it can do that."""
    groups: dict[int, list[int]] = {}
    for place, (controller, _) in enumerate(asked):
        groups.setdefault(id(controller), []).append(place)
    decisions: dict[int, Decision] = {}
    for group in groups.values():
        controller, seen = asked[group[0]][0], [asked[place][1] for place in group]
        decisions.update(zip(group, _decide_group(controller, seen), strict=True))
    return [decisions[place] for place in range(len(asked))]


def _decide_group(controller: Controller, seen: Sequence[Observation]) -> list[Decision]:
    if len(seen) > 1 and _is_group_controller(controller):
        try:
            decisions = controller.decide_group(seen)
            faults = [_fault(decision, each) for decision, each in zip(decisions, seen, strict=True)]
            return list(map(_mended, decisions, faults, seen))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above; alone the others get what they would
            log.warning("%d decisions at once: %s: %s", len(seen), type(error).__name__, error)
    return [decide(controller, each) for each in seen]


def _is_group_controller(controller: Controller) -> TypeGuard[GroupController]:
    """Asking the protocol costs 20 µs."""
    return callable(getattr(controller, "decide_group", None))


def _mended(decision: Decision | None, fault: str, seen: Observation) -> Decision:
    """The decision in plain types; the lowest rung when something is wrong with it."""
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
