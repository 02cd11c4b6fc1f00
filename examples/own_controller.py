"""Your own controller, held against those that ship.

A controller sees a menu of options, each a (rendition, enhancer), and picks one for the next segment. Any class with a
method `decide` will do. Prepare a title, then run it in the simulator over your traces (own_trace.py makes one):

    toprung prepare film.mp4 --library titles
    toprung compare titles/film --traces traces/ --controller examples/own_controller.py:Mine

It decides in a server too, `toprung serve … --add-controller examples/own_controller.py:Mine --controller Mine`, and in
a player, `toprung play … --local --controller examples/own_controller.py:Mine`.
"""

from __future__ import annotations

import numpy as np

from abr.core.control import Decision, Observation
from abr.core.throughput import harmonic_mean

SHARE = 0.8
"""Of what the estimate allows, this much is used: estimates err."""
SAFE_S = 12.0
"""A buffer that is kept for bad times. Of what is above it a download may use an eighth."""


class Mine:
    """The best option that is likely to arrive, and to be enhanced, before the buffer runs out."""

    def decide(self, seen: Observation) -> Decision:
        """Pick an option. Pure: what it may know is in `seen`, and time comes in as `seen.now_s`."""
        menu = seen.menu
        is_possible = np.isfinite(menu.quality[0])  # holes in the table are options that this segment does not have
        if not seen.downloads:  # nothing is known of the network yet: begin with what costs least
            smallest = np.where(is_possible, menu.size_bytes[0] + menu.weights_bytes, np.inf)
            return Decision(option=int(smallest.argmin()), reason="mine: the first segment is the smallest")

        # The estimate: the harmonic mean, which one lucky download does not mislead.
        expected = harmonic_mean(seen.downloads)

        # Row 0 of each table is the segment to choose now. An enhancer's weights are downloaded once, and count.
        download_s = expected.latency_s + 8 * (menu.size_bytes[0] + menu.weights_bytes) / expected.throughput_bps
        enhance_s = seen.backlog_s + menu.compute_s[0]
        spare_s = max(seen.buffer_s - SAFE_S, 0.0) / 8
        comes_in_time = download_s <= SHARE * menu.duration_s[0] + spare_s
        is_done_in_time = enhance_s <= SHARE * (seen.buffer_s + menu.duration_s[0])

        # Of those, the one that looks best. When nothing comes in time, what comes soonest.
        in_time = is_possible & comes_in_time & is_done_in_time
        if in_time.any():
            best = int(np.where(in_time, menu.quality[0], -np.inf).argmax())
        else:
            best = int(np.where(is_possible, download_s + enhance_s, np.inf).argmin())

        # The reason is logged, counted and shown to the viewer: words and numbers, one line.
        network = f"{expected.throughput_bps / 1e3:.0f} kbit/s and {seen.buffer_s:.1f} s of buffer"
        reason = f"mine: {network} carry a quality of {menu.quality[0, best]:.0f}"
        return Decision(option=best, reason=reason)
