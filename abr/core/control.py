"""What a controller is asked and what it answers: `Observation` in, `Decision` out.

To write a controller, write a class with one method, and name it `path/to/file.py:Class` wherever a controller's name
is expected:

    class LowestRung:
        def decide(self, observation: Observation) -> Decision:
            return Decision(option=0, reason="the lowest rung, always")

`observation.menu` lists the options: `menu.choices[i]` is (rendition, enhancer), and `menu.size_bytes[0, i]`,
`menu.compute_s[0, i]` and `menu.quality[0, i]` are its price for the segment to be chosen. Cells that are not finite
are holes: that segment does not have that option.

Controllers are pure: they read no clock and keep no state in `self`. One object decides for all sessions, so what must
be remembered of a session goes into `Decision.memory` and comes back as `Observation.memory`. A controller that raises
or answers nonsense is overruled, never fatal (`abr.controllers.guard`).

Three more methods are optional, each with a Protocol below:

- `decide_batch` decides for several sessions at once, for speed only (`BatchController`);
- `precompute` and `is_precomputed` do long computations beforehand (`PrecomputingController`);
- `reconsider` may give up a slow download (`AbandoningController`).

Structs are msgspec's, because they are made anew with each decision: 0.04 µs each, where a dataclass takes 0.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from abr.core.arrays import Floats
from abr.core.options import Choice, Menu, PriceList

DOWNLOADS_MAX = 16
"""The most downloads that an observation holds."""
MEMORY_MAX = 16
"""The most numbers that a decision may hand back to itself."""
WAIT_MAX_S = 60.0
REASON_MAX = 1024
"""Characters of a decision's reason."""


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
    downloads: the most recent segment downloads, at most DOWNLOADS_MAX, oldest first. last: the choice before this
    one. memory: what this controller handed back with its last decision.
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

    wait_s: how long to wait before this download starts, 0 to WAIT_MAX_S. reason: one line in words and numbers, at
    most REASON_MAX characters; the same text is logged, counted and shown. memory: at most MEMORY_MAX finite numbers,
    to be handed back next time.
    """

    option: int
    reason: str
    wait_s: float = 0.0
    memory: tuple[float, ...] = ()


class Controller(Protocol):
    """Chooses one option from each menu."""

    def decide(self, observation: Observation, /) -> Decision:
        """Pure: the same observation always gives the same decision."""
        ...


@runtime_checkable
class BatchController(Controller, Protocol):
    """A controller that can decide for several sessions at once. Decisions are those of `decide`, only sooner."""

    def decide_batch(self, observations: Sequence[Observation], /) -> Sequence[Decision]:
        """What `decide` answers to each of them, in their order.

        A server asks with a list of sessions that wait at this instant, whatever their titles and segments. The batch
        simulator asks with an `abr.controllers.batch.ObservationBatch`: a sequence like any other, which also has its
        numbers as columns, and may be answered with a `DecisionBatch` of columns. Controllers without this method are
        asked one by one.
        """
        ...


@runtime_checkable
class PrecomputingController(Protocol):
    """A controller whose decisions rest on long computations, which may be done beforehand and in another thread."""

    def is_precomputed(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> bool:
        """Whether `segment` of a title so priced can be decided at once for who lacks these weights.

        weights_bytes: (O,) of each option.
        """
        ...

    def precompute(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> None:
        """Make it so. Changes no decision, only when it comes."""
        ...


class DownloadInFlight(msgspec.Struct, frozen=True, kw_only=True):
    """A download under way: of which option, for how long (latency included), and how much of it has come."""

    option: int
    elapsed_s: float
    done_bytes: float
    size_bytes: int


@runtime_checkable
class AbandoningController(Controller, Protocol):
    """A controller that may think better of a slow download."""

    def reconsider(self, observation: Observation, flight: DownloadInFlight, /) -> int | None:
        """Asked while a segment comes, with the buffers as they are by then; pure.

        Another option to fetch instead, from its first byte, or None to go on.
        """
        ...
