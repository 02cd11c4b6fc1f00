"""Many sessions at once, in columns: M sessions of one title, all about to choose the same segment.

`ObservationBatch` is a sequence of observations, `DecisionBatch` one of decisions, so that whoever knows nothing of
columns can go through them one by one. Their fields are those of `Observation` and `Decision`, with a column (M,) where
those have a number: one formula serves both (`abr.core.arrays.namespace_of`). O options, N downloads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, overload

import numpy as np

from abr.core.arrays import Floats, Indices
from abr.core.control import Decision, Download, Observation
from abr.core.options import Menu
from abr.core.throughput import RATE_MIN_BPS, SPAN_MIN_S, Estimate, dual_ewma_columns

T = TypeVar("T", covariant=True)


class _Rows(Sequence[T]):
    """A sequence whose items are made from columns when they are asked for."""

    @abstractmethod
    def row(self, index: int) -> T:
        """The item at `index`, from 0 to len - 1."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self.row(i) for i in range(*index.indices(len(self)))]
        return self.row(range(len(self))[index])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DownloadColumns:
    """The N most recent downloads of M sessions, oldest first: (N, M) each."""

    started_s: Floats
    duration_s: Floats
    latency_s: Floats
    size_bytes: Floats

    def throughput_bps(self) -> Floats:
        """(N, M) of each download, as `abr.core.throughput.throughput_bps`."""
        spent_s = np.maximum(self.duration_s - self.latency_s, SPAN_MIN_S)
        return np.asarray(np.maximum(self.size_bytes * 8 / spent_s, RATE_MIN_BPS))

    def row(self, session: int) -> tuple[Download, ...]:
        """Those of one session."""
        columns = (self.started_s, self.duration_s, self.latency_s, self.size_bytes)
        return tuple(
            Download(started_s=started_s, duration_s=duration_s, latency_s=latency_s, size_bytes=int(size_bytes))
            for started_s, duration_s, latency_s, size_bytes in zip(
                *(c[:, session].tolist() for c in columns), strict=True
            )
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ObservationBatch(_Rows[Observation]):
    """`abr.core.control.Observation` for M sessions that are playing. The tables of the title have no holes.

    menu: as for a device without weights; it knows its price list. weights_bytes: (M, O) still to be fetched by each.
    now_s, buffer_s, backlog_s: (M,). last: (M,) the option shown before. downloads: N ≥ 1 of each. memory: for each
    number that the controller handed back a column (M,); none the first time if it then kept none.
    """

    now_s: Floats
    menu: Menu
    buffer_s: Floats
    buffer_max_s: float
    backlog_s: Floats
    downloads: DownloadColumns
    last: Indices
    weights_bytes: Floats
    memory: tuple[Floats, ...] = ()

    def __len__(self) -> int:
        return len(self.buffer_s)

    def row(self, index: int) -> Observation:
        """The observation of one session."""
        return Observation(
            now_s=float(self.now_s[index]),
            menu=replace(self.menu, weights_bytes=self.weights_bytes[index]),
            buffer_s=float(self.buffer_s[index]),
            buffer_max_s=self.buffer_max_s,
            backlog_s=float(self.backlog_s[index]),
            downloads=self.downloads.row(index),
            last=self.menu.choices[self.last[index]],
            memory=tuple(float(column[index]) for column in self.memory),
        )

    @cached_property
    def expected(self) -> Estimate[Floats]:
        """Dual moving average over the recent downloads; see `abr.controllers.common.expected`."""
        downloads = self.downloads
        return dual_ewma_columns(
            downloads.duration_s, downloads.latency_s, downloads.size_bytes, float(self.menu.duration_s[0])
        )

    @cached_property
    def vmaf_before(self) -> Floats:
        """(M,) quality of the segment before, as shown."""
        assert self.menu.prices is not None
        return np.asarray(self.menu.prices.quality[self.menu.segment - 1, self.last])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecisionBatch(_Rows[Decision]):
    """`abr.core.control.Decision` for M sessions, without reasons. option: (M,). wait_s: (M,) or one number for all.

    memory: columns (M,), to come back as `ObservationBatch.memory`.
    """

    option: Indices
    memory: tuple[Floats, ...] = ()
    wait_s: Floats | float = 0.0

    @classmethod
    def of(cls, decisions: Sequence[Decision]) -> DecisionBatch:
        """The decisions in columns. Raises ValueError when some remember more numbers than others."""
        if isinstance(decisions, cls):
            return decisions
        memory = np.array([decision.memory for decision in decisions], dtype=np.float64)
        return cls(
            option=np.array([decision.option for decision in decisions]),
            memory=tuple(memory.T),
            wait_s=np.array([decision.wait_s for decision in decisions], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.option)

    def row(self, index: int) -> Decision:
        """The decision for one session."""
        waits_s = np.broadcast_to(self.wait_s, self.option.shape)
        memory = tuple(float(column[index]) for column in self.memory)
        reason = "decided in a batch, without a reason"
        return Decision(option=int(self.option[index]), reason=reason, wait_s=float(waits_s[index]), memory=memory)


class ColumnController:
    """A controller that decides for an `ObservationBatch` in columns, and for any other sequence one by one."""

    __slots__ = ()

    def decide(self, observation: Observation) -> Decision:
        """See Controller."""
        raise NotImplementedError

    def decide_columns(self, batch: ObservationBatch) -> DecisionBatch:
        """What `decide` answers to each session of the batch."""
        raise NotImplementedError

    def decide_batch(self, observations: Sequence[Observation]) -> Sequence[Decision]:
        """See BatchController."""
        if isinstance(observations, ObservationBatch):
            return self.decide_columns(observations)
        return [self.decide(observation) for observation in observations]
