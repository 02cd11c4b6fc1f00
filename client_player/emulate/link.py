"""The emulated bottleneck link: how many bytes have left it at a given time. Pure; time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from abr.simulation.traces import Trace

TURN_BYTES = 1448
"""Flows take turns of this many bytes: what one TCP segment carries."""


@dataclass(slots=True, kw_only=True)
class Link:
    """A link that carries what waits at exactly the trace's pace.

    edge_s: the instant (trace time) up to which the link's capacity is spent. Capacity is lost only while nothing
    waits: a caller who comes late to `take` gets all that could have left in the meantime. (A bucket that drops credit
    above some depth loses what every late wake-up of the event loop overshoots.)
    """

    trace: Trace
    edge_s: float = 0.0

    def wake(self, now_s: float) -> None:
        """Something waits again at `now_s`, after nothing did."""
        self.edge_s = max(self.edge_s, now_s)

    def take(self, now_s: float, waiting_bytes: int) -> int:
        """How many of the waiting bytes leave by `now_s`; they count as gone."""
        if now_s <= self.edge_s:
            return 0
        count = min(waiting_bytes, int(self.trace.bytes_between(self.edge_s, now_s)))
        self.edge_s = self.trace.finish_s(self.edge_s, count)
        return count

    def next_s(self) -> float:
        """When the next byte may leave, if one waits: later than `edge_s` by an outage, if there is one."""
        return self.trace.finish_s(self.edge_s, 1)


@dataclass(slots=True, eq=False, kw_only=True)
class Flow:
    """What waits of one connection. blocked: its receiver takes no more, and leaves its share to the others."""

    waiting: bytearray = field(default_factory=bytearray)
    blocked: bool = False


L = TypeVar("L", bound=Flow)


def share_link(flows: deque[L], count: int) -> Iterator[tuple[L, bytes]]:
    """Take `count` bytes out of the flows, in turns, beginning with the one whose turn it is.

    The flows that are not blocked must hold at least that many.
    """
    while count > 0:
        flow = flows[0]
        flows.rotate(-1)
        if flow.blocked or not flow.waiting:
            continue
        piece = bytes(flow.waiting[: min(TURN_BYTES, count)])
        del flow.waiting[: len(piece)]
        count -= len(piece)
        yield flow, piece
