"""Wraps a classic controller: it chooses the rendition, then the best enhancer that can be afforded is added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from abr.control import Controller, Decision, Observation
from abr.controllers.rules import expected, in_time, offered, starting


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
        return replace(chosen, option=option, reason=reason)

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
