"""Wraps a classic controller: it chooses the rendition, then the best enhancer that can be afforded is added."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from abr.control import Controller, Decision, Observation
from abr.controllers.rules import expected, in_time, offered, starting
from abr.crowd import Crowd, CrowdController, Decisions


class Greedy:
    """Adds the best enhancer that runs in real time, ends in time, and whose weights do not endanger the buffer.

    weights_share: the share of the buffer that a download of weights may take.
    """

    def __init__(self, classic: Controller, weights_share: float = 0.25) -> None:
        self._classic = classic
        self._weights_share = weights_share

    def decide(self, seen: Observation) -> Decision:
        chosen = self._classic.decide(seen)
        if starting(seen):
            return chosen
        option = max(self._candidates(seen, chosen.option), key=lambda i: float(seen.menu.vmaf[0, i]))
        if option == chosen.option:
            return chosen
        gain = float(seen.menu.vmaf[0, option] - seen.menu.vmaf[0, chosen.option])
        reason = f"{chosen.reason}; {seen.menu.choices[option].enhancer} adds {gain:.1f} VMAF"
        return msgspec.structs.replace(chosen, option=option, reason=reason)

    def _candidates(self, seen: Observation, chosen: int) -> list[int]:
        menu = seen.menu
        rate_bps = expected(seen).throughput_bps
        download_s = float(menu.size_bytes[0, chosen]) * 8 / rate_bps
        idle_s = seen.buffer_s - download_s - max(0.0, seen.backlog_s - download_s)
        weights_max_bytes = self._weights_share * seen.buffer_s * rate_bps / 8
        return [chosen] + [
            i
            for i in np.flatnonzero(menu.compute_s[0] > 0).tolist()
            if menu.choices[i].rendition == menu.choices[chosen].rendition
            and offered(menu, i)
            and in_time(seen, i)
            and menu.compute_s[0, i] <= menu.duration_s[0]
            and menu.lead_s[0, i] <= idle_s
            and menu.weights_bytes[i] <= weights_max_bytes
        ]


class GreedyMany(Greedy):
    """The same around a controller that decides for a crowd."""

    def __init__(self, classic: CrowdController, weights_share: float = 0.25) -> None:
        super().__init__(classic, weights_share)
        self._many = classic

    def decide_many(self, seen: Crowd) -> Decisions:
        chosen, menu, everyone = self._many.decide_many(seen), seen.menu, np.arange(len(seen.buffer_s))
        enhanced = np.flatnonzero(menu.compute_s[0] > 0)
        if not len(enhanced):
            return chosen
        rendition = np.array([choice.rendition for choice in menu.choices])
        rate_bps, buffer_s, backlog_s = seen.expected.throughput_bps, seen.buffer_s, seen.backlog_s
        download_s = menu.size_bytes[0, chosen.option] * 8 / rate_bps
        idle_s = buffer_s - download_s - np.maximum(0.0, backlog_s - download_s)
        lead_s = menu.lead_s[0, enhanced]
        possible = (
            (rendition[enhanced] == rendition[chosen.option][:, None])
            & (backlog_s[:, None] + lead_s <= buffer_s[:, None])
            & (menu.compute_s[0, enhanced] <= menu.duration_s[0])
            & (lead_s <= idle_s[:, None])
            & (seen.weights_bytes[:, enhanced] <= (self._weights_share * buffer_s * rate_bps / 8)[:, None])
        )
        vmaf = np.where(possible, menu.vmaf[0, enhanced], -np.inf)
        best = vmaf.argmax(axis=1)
        better = vmaf[everyone, best] > menu.vmaf[0, chosen.option]
        return replace(chosen, option=np.where(better, enhanced[best], chosen.option))


def greedy(classic: Controller) -> Greedy:
    """`classic` with enhancers, for crowds too if it decides for them."""
    return GreedyMany(classic) if isinstance(classic, CrowdController) else Greedy(classic)
