"""Wraps a classic controller: it chooses the rendition, then the best enhancer that can be afforded is added."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from abr.controllers.batch import ColumnController, DecisionBatch, ObservationBatch
from abr.controllers.common import estimate_throughput, is_starting, per_title
from abr.core.arrays import Floats, Indices, Number, namespace_of
from abr.core.control import BatchController, Controller, Decision, Observation
from abr.core.options import Menu, PriceList, known_cells


class _Enhanced(NamedTuple):
    """The E options of a segment that are enhanced in real time: (E,) each."""

    options: Indices
    rendition: Indices
    lead_s: Floats
    vmaf: Floats


@lru_cache(maxsize=1024)
def _enhanced(menu: Menu) -> _Enhanced:
    compute_s, lead_s, vmaf = menu.compute_s[0], menu.lead_s[0], menu.quality[0]
    is_real_time = (compute_s > 0) & (compute_s <= menu.duration_s[0])
    options = np.flatnonzero(is_real_time & known_cells(vmaf, lead_s, menu.size_bytes[0]))
    rendition = np.array([menu.choices[option].rendition for option in options], dtype=np.intp)
    return _Enhanced(options, rendition, lead_s[options], vmaf[options])


@per_title
def _rendition_of(prices: PriceList) -> Indices:
    """(O,) the rendition of each option."""
    return np.array([choice.rendition for choice in prices.choices], dtype=np.intp)


class Greedy:
    """Adds the best enhancer that runs in real time, ends in time, and whose weights do not endanger the buffer.

    weights_share: the share of the buffer that a download of weights may take.
    """

    def __init__(self, classic: Controller, weights_share: float = 0.25) -> None:
        self._classic = classic
        self._weights_share = weights_share

    def decide(self, observation: Observation) -> Decision:
        """Let the classic controller choose, then add the best enhancer that is affordable."""
        chosen, menu = self._classic.decide(observation), observation.menu
        options = _enhanced(menu).options
        if is_starting(observation) or not len(options):
            return chosen
        rate_bps, buffer_s = estimate_throughput(observation).throughput_bps, observation.buffer_s
        vmaf = self._affordable_vmaf(menu, chosen.option, menu.weights_bytes, buffer_s, observation.backlog_s, rate_bps)
        best = int(vmaf.argmax())
        gain, option = float(vmaf[best] - menu.quality[0, chosen.option]), int(options[best])
        if not gain > 0:
            return chosen
        reason = f"{chosen.reason}; {menu.choices[option].enhancer} adds {gain:.1f} VMAF"
        return msgspec.structs.replace(chosen, option=option, reason=reason)

    def _affordable_vmaf(
        self,
        menu: Menu,
        chosen: int | Indices,
        weights_bytes: Floats,
        buffer_s: Number,
        backlog_s: Number,
        rate_bps: Number,
    ) -> Floats:
        """The quality of each enhanced option, -inf where it is not affordable in place of the one chosen.

        (E,) for one session; (M, E) for M of them, given as columns (M, 1), weights_bytes as (M, O).
        """
        maximum, rendition = namespace_of(buffer_s).maximum, _rendition_of(menu)
        download_s = menu.size_bytes[0, chosen] * 8 / rate_bps
        idle_s = buffer_s - download_s - maximum(0.0, backlog_s - download_s)
        enhanced = _enhanced(menu)
        possible = (
            (enhanced.rendition == rendition[chosen])
            & (backlog_s + enhanced.lead_s <= buffer_s)
            & (enhanced.lead_s <= idle_s)
            & (weights_bytes[..., enhanced.options] <= self._weights_share * buffer_s * rate_bps / 8)
        )
        return np.where(possible, enhanced.vmaf, -np.inf)


class GreedyBatch(Greedy, ColumnController):
    """The same around a controller that decides for several sessions at once."""

    def __init__(self, classic: BatchController, weights_share: float = 0.25) -> None:
        super().__init__(classic, weights_share)
        self._classic_batch = classic

    def decide_columns(self, batch: ObservationBatch) -> DecisionBatch:
        """Let the classic controller choose for all, then add the best enhancers that are affordable."""
        chosen, menu = DecisionBatch.of(self._classic_batch.decide_batch(batch)), batch.menu
        options = _enhanced(menu).options
        if not len(options):
            return chosen
        columns = (batch.buffer_s, batch.backlog_s, batch.expected.throughput_bps)
        buffer_s, backlog_s, rate_bps = (column[:, None] for column in columns)
        weights_bytes, option = batch.weights_bytes, chosen.option[:, None]
        vmaf = self._affordable_vmaf(menu, option, weights_bytes, buffer_s, backlog_s, rate_bps)
        gains = vmaf.max(axis=1) > menu.quality[0, chosen.option]
        return replace(chosen, option=np.where(gains, options[vmaf.argmax(axis=1)], chosen.option))


def greedy(classic: Controller) -> Greedy:
    """`classic` with enhancers; for several sessions at once if it decides so."""
    return GreedyBatch(classic) if isinstance(classic, BatchController) else Greedy(classic)
