"""All controllers by name. A user's own is given as `path/to/file.py:Class`; each entry makes a fresh controller."""

from __future__ import annotations

from collections.abc import Callable

from abr.controllers.bba import BufferBased
from abr.controllers.bola import Bola, BolaE
from abr.controllers.bones import Bones, BonesAuto, BonesMonitor
from abr.controllers.dynamic import Dynamic
from abr.controllers.fixed import Fixed
from abr.controllers.greedy import greedy
from abr.controllers.mpc import RobustMpc
from abr.controllers.rate_based import Throughput
from abr.controllers.toprung.controller import Toprung
from abr.core.control import Controller
from abr.errors import InputError
from abr.registry import Registry

HORIZON = 8
"""Segments of the menu that live server and simulator show to a controller."""

CONTROLLERS: Registry[Callable[[], Controller]] = Registry("controller")

_CLASSIC: dict[str, Callable[[], Controller]] = {
    "throughput": Throughput,
    "bba": BufferBased,
    "bola": Bola,
    "bola_e": BolaE,
    "dynamic": Dynamic,
    "mpc": RobustMpc,
}

CONTROLLERS.add("toprung", Toprung)
CONTROLLERS.add("bones", Bones)
CONTROLLERS.add("bones_auto", BonesAuto)
CONTROLLERS.add("bones_monitor", BonesMonitor)
CONTROLLERS.add("bones_auto_monitor", lambda: BonesMonitor(BonesAuto()))
CONTROLLERS.add("fixed", Fixed)
CONTROLLERS.add("lowest", lambda: Fixed(rung=0))
for _name, _make in _CLASSIC.items():
    CONTROLLERS.add(_name, _make)
for _name, _make in _CLASSIC.items():
    CONTROLLERS.add(f"{_name}_greedy", lambda make=_make: greedy(make()))  # type: ignore[misc]
CONTROLLERS.add("highest_greedy", lambda: greedy(Fixed()))


def make_controller(name: str) -> Controller:
    """A fresh controller called `name`. Raises UnknownNameError, or InputError for a user's file."""
    make = CONTROLLERS.get(name)
    try:
        controller = make()
    except Exception as error:
        raise InputError(f"The controller {name} cannot be made: {type(error).__name__}: {error}.") from error
    if not callable(getattr(controller, "decide", None)):
        raise InputError(f"The controller {name} has no method decide(observation); see abr.core.control.Controller.")
    return controller
