"""Asks a controller and never lets it break a session: what it gets wrong is mended and said in the reason."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from operator import index
from typing import SupportsIndex, TypeGuard

from msgspec.structs import replace

from abr.controllers.common import is_offered
from abr.controllers.ladder import step_down
from abr.core.control import (
    MEMORY_MAX,
    REASON_MAX,
    WAIT_MAX_S,
    AbandoningController,
    BatchController,
    Controller,
    Decision,
    DownloadInFlight,
    Observation,
)

log = logging.getLogger(__name__)

FAILED = "the controller failed"
"""How the reason begins of a decision that was taken in the controller's place."""


def is_failure(decision: Decision) -> bool:
    """Whether the guard took the decision because the controller could not."""
    return decision.reason.startswith(FAILED)


def decide(controller: Controller, observation: Observation) -> Decision:
    """The controller's decision, or the lowest rung and why. Never raises for what a controller does."""
    try:
        decision = controller.decide(observation)
        fault = _fault(decision, observation)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's controller may raise anything; the session goes on
        decision, fault = None, f"{type(error).__name__}: {error}"
    return _mended(decision, fault, observation)


def decide_batch(requests: Sequence[tuple[Controller, Observation]]) -> list[Decision]:
    """`decide` for each of them; at once for those who ask the same controller, if it can do that."""
    groups: dict[int, list[int]] = {}
    for i, (controller, _) in enumerate(requests):
        groups.setdefault(id(controller), []).append(i)
    decisions: dict[int, Decision] = {}
    for group in groups.values():
        controller, observations = requests[group[0]][0], [requests[i][1] for i in group]
        decisions.update(zip(group, _decide_batch(controller, observations), strict=True))
    return [decisions[i] for i in range(len(requests))]


def _decide_batch(controller: Controller, observations: Sequence[Observation]) -> list[Decision]:
    if len(observations) > 1 and _is_batch_controller(controller):
        try:
            decisions = controller.decide_batch(observations)
            faults = [_fault(*pair) for pair in zip(decisions, observations, strict=True)]
            return list(map(_mended, decisions, faults, observations))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above; one by one the others get what they would
            log.warning("%d decisions at once: %s: %s", len(observations), type(error).__name__, error)
    return [decide(controller, observation) for observation in observations]


def _is_batch_controller(controller: Controller) -> TypeGuard[BatchController]:
    """Asking the protocol costs 20 µs."""
    return callable(getattr(controller, "decide_batch", None))


def _mended(decision: Decision | None, fault: str, observation: Observation) -> Decision:
    """The decision in plain types; the lowest rung when something is wrong with it."""
    if decision is None or fault:
        reason = _one_line(f"{FAILED} ({fault}), so the lowest rung plays")
        log.warning("Segment %d: %s", observation.menu.segment, reason)
        return Decision(option=step_down(observation.menu, 0), reason=reason)
    if type(decision.option) is int and 0 < len(decision.reason) <= REASON_MAX and decision.reason.isprintable():
        return decision
    return replace(decision, option=index(decision.option), reason=_one_line(decision.reason))


def reconsider(
    controller: AbandoningController,
    observation: Observation,
    flight: DownloadInFlight,
    on_failure: Callable[[str], None] = lambda _reason: None,
) -> int | None:
    """What the controller would rather fetch; None, so that the download goes on, when it gets that wrong.

    on_failure is then told why.
    """
    try:
        option = controller.reconsider(observation, flight)
        wrong = option is not None and not 0 <= index(option) < len(observation.menu.choices)
        fault = f"it wants option {option!r} of {len(observation.menu.choices)}" if wrong else ""
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        option, fault = None, f"{type(error).__name__}: {error}"
    if fault:
        reason = _one_line(f"{FAILED} ({fault}), so the download goes on")
        log.warning("Segment %d: %s", observation.menu.segment, reason)
        on_failure(reason)
        return None
    return None if option is None or not is_offered(observation.menu, option) else index(option)


def _fault(decision: Decision, observation: Observation) -> str:
    """What is wrong with the decision; empty when nothing is."""
    if not isinstance(decision, Decision):
        return f"it answered {type(decision).__name__}, not a Decision"
    if not isinstance(decision.reason, str) or not isinstance(decision.option, int | SupportsIndex):
        return "its reason is no text or its option no whole number"
    if not 0 <= decision.option < len(observation.menu.choices):
        return f"it chose option {decision.option} of {len(observation.menu.choices)}"
    if not is_offered(observation.menu, decision.option) and is_offered(
        observation.menu, step_down(observation.menu, 0)
    ):
        return f"it chose option {decision.option}, which this segment does not have"
    if not 0 <= decision.wait_s <= WAIT_MAX_S:
        return f"it wants to wait {decision.wait_s} s"
    if len(decision.memory) > MEMORY_MAX or not all(map(math.isfinite, decision.memory)):
        return f"its memory is more than {MEMORY_MAX} finite numbers"
    return ""


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:REASON_MAX] or "no reason given"
