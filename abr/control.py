"""What a controller is told and what it answers. Controllers are pure: time comes in, never from a clock.

What is made anew with each decision is msgspec's, which a server feels: a dataclass takes 0.8 µs to make, this 0.04.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from abr.options import Choice, Floats, Menu, PriceList


class Download(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One finished download, as the viewer saw it.

    duration_s: from request to last byte, latency included. latency_s: from request to first byte.
    """

    started_s: float
    duration_s: float
    latency_s: float
    size_bytes: int


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a controller may know when segment `menu.segment` is to be chosen.

    now_s: session time. buffer_s: media seconds downloaded and not yet played, `buffer_max_s` the most there may be.
    backlog_s: compute seconds of enhancement accepted and not yet done. playing: False during start-up.
    downloads: the most recent segment downloads, oldest first (at most 16). last: the choice before this one.
    memory: what this controller handed back with its last decision.
    """

    now_s: float
    menu: Menu
    buffer_s: float
    buffer_max_s: float
    backlog_s: float = 0.0
    playing: bool = True
    downloads: tuple[Download, ...] = ()
    last: Choice | None = None
    memory: tuple[float, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen option, as an index into `menu.choices`.

    wait_s: how long to wait before this download starts. reason: one line in words and numbers; the same text is
    logged, counted and shown. memory: at most 16 numbers to be handed back next time.
    """

    option: int
    reason: str
    wait_s: float = 0.0
    memory: tuple[float, ...] = ()


class Controller(Protocol):
    """Chooses one option from each menu."""

    def decide(self, seen: Observation) -> Decision:
        """Pure: the same observation always gives the same decision."""
        ...


@runtime_checkable
class GroupController(Controller, Protocol):
    """A controller that decides for several viewers at once: the same decisions, sooner. See `abr.crowd` for many who
    are about to choose the same segment."""

    def decide_group(self, seen: Sequence[Observation]) -> list[Decision]:
        """What `decide` answers to each of them."""
        ...


@runtime_checkable
class Foresighted(Protocol):
    """A controller whose decisions rest on long computations, which may be done beforehand and in another thread."""

    def foreseen(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> bool:
        """Whether `segment` of a title so priced can be decided at once for who lacks these weights, (O,) of each
        option."""
        ...

    def foresee(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> None:
        """Make it so. Changes no decision, only when it comes."""
        ...


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """A download under way: of which option, for how long (latency included), and how much of it has come."""

    option: int
    elapsed_s: float
    done_bytes: float
    size_bytes: int


@runtime_checkable
class WatchfulController(Controller, Protocol):
    """A controller that may think better of a slow download."""

    def reconsider(self, seen: Observation, flight: Flight) -> int | None:
        """Asked while a segment comes, with the buffers as they are by then; pure.

        Another option to fetch instead, from its first byte, or None to go on.
        """
        ...
