"""What an experiment compares, and which arm a viewer is drawn into."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from abr.errors import InputError, UnknownNameError

ARMS_MAX = 8
WEIGHT_MAX = 1000
EXAMPLE = "a=toprung,b=bola"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,16}", re.ASCII)
_WEIGHT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A controller under test. weight: its share of the viewers, against those of the other arms."""

    name: str
    controller: str
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Two arms or more; the others are compared with the first."""

    arms: tuple[Arm, ...]

    @property
    def text(self) -> str:
        """As `read_experiment` takes it, weights included."""
        return ",".join(f"{arm.name}={arm.controller}:{arm.weight}" for arm in self.arms)

    def key(self, quality: str) -> str:
        """Names what is compared, in which quality: another experiment starts from nothing. 16 hex digits."""
        return hashlib.sha256(f"{self.text}\0{quality}".encode()).hexdigest()[:16]

    def share(self, arm: Arm) -> float:
        """The part of all viewers that the arm gets, 0 to 1."""
        return arm.weight / sum(each.weight for each in self.arms)

    def draw(self, number: int) -> Arm:
        """The arm of a viewer whose number, evenly distributed over 64 bits, is this one."""
        place = number * sum(arm.weight for arm in self.arms) >> 64
        for arm in self.arms:
            if place < arm.weight:
                return arm
            place -= arm.weight
        raise ValueError(f"{number} is not a number of 64 bits")


def read_experiment(text: str, controllers: Collection[str]) -> Experiment:
    """`NAME=CONTROLLER[:WEIGHT],…`, such as `a=toprung,b=bola` or `old=bola:9,new=toprung:1`.

    controllers: those that there are. Raises InputError, UnknownNameError.
    """
    arms = tuple(_read_arm(part.strip(), controllers) for part in text.split(","))
    names = [arm.name for arm in arms]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"The experiment {text!r} names two arms {twice!r}; give each a name of its own.")
    if not 2 <= len(arms) <= ARMS_MAX:
        count = "1 arm" if len(arms) == 1 else f"{len(arms)} arms"
        raise InputError(f"The experiment {text!r} has {count}; it takes 2 to {ARMS_MAX}, such as {EXAMPLE}.")
    return Experiment(arms=arms)


def _read_arm(text: str, controllers: Collection[str]) -> Arm:
    name, equals, rest = text.partition("=")
    controller, colon, weight = rest.partition(":")
    if not equals or not controller:
        raise InputError(f"An experiment's arm is {text!r}; it takes NAME=CONTROLLER, such as {EXAMPLE}.")
    if not _NAME.fullmatch(name):
        raise InputError(f"An experiment's arm is named {name!r}; names are 1 to 16 letters, digits, - and _.")
    if controller not in controllers:
        raise UnknownNameError("controller", controller, controllers)
    if colon and not (_WEIGHT.fullmatch(weight) and int(weight) <= WEIGHT_MAX):
        raise InputError(f"Arm {name!r} has weight {weight!r}; a weight is a whole number from 1 to {WEIGHT_MAX}.")
    return Arm(name=name, controller=controller, weight=int(weight) if colon else 1)
