"""A session as Sabre and its heirs run it: one Python event loop, the network advancing in small steps.

Not how Toprung simulates (`abr.simulation.simulator` computes each transfer at once): it is the peer that `toprung
bench simulator` times, and an independent oracle in the tests. The step sizes, the question after each step whether to
abandon the download, and the buffer as a list of segments follow sabre.py (Spiteri et al., MMSys 2018;
UMass-LIDS/sabre).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from abr.core.control import DOWNLOADS_MAX, Controller, Download, Observation
from abr.core.options import Choice, Menu, PriceList
from abr.simulation.traces import Trace

STEP_BITS = 12_000.0
STEP_S = 0.05
"""A step downloads at least this many bits for at least this long (NetworkModel.min_progress_size and _time)."""
NOTHING_BITS = 1e-9
GRACE_S = 0.5
ABANDON_AFTER_SEGMENTS = 1.8
"""dash.js's AbandonRequestsRule: from GRACE_S on, a download that would take longer than this is given up."""


class DownloadProgress(NamedTuple):
    """What is known of a download after a step."""

    size_bits: float
    done_bits: float
    time_s: float
    latency_s: float


class Network:
    """Walks along a trace, span by span."""

    def __init__(self, trace: Trace) -> None:
        columns = (trace.duration_s, trace.throughput_bps, trace.latency_s)
        self.spans: list[tuple[float, float, float]] = list(zip(*(c.tolist() for c in columns), strict=True))
        self.index, self.left_s = 0, self.spans[0][0]

    @property
    def latency_s(self) -> float:
        """Of the span that now holds."""
        return self.spans[self.index][2]

    def next_span(self) -> None:
        """Go on to the next span; after the last, to the first."""
        self.index = (self.index + 1) % len(self.spans)
        self.left_s = self.spans[self.index][0]

    def pass_time(self, time_s: float) -> None:
        """Let seconds pass."""
        while time_s > self.left_s:
            time_s -= self.left_s
            self.next_span()
        self.left_s -= time_s

    def step(self, bits: float) -> tuple[float, float]:
        """Download one step, or `bits` if that is less: bits done, seconds taken."""
        done, taken_s = 0.0, 0.0
        while bits - done > NOTHING_BITS and (done < STEP_BITS or taken_s < STEP_S):
            rate = self.spans[self.index][1]
            if rate <= 0:
                taken_s += self.left_s
                self.next_span()
                continue
            wanted_s = min(max((STEP_BITS - done) / rate, STEP_S - taken_s), (bits - done) / rate)
            if wanted_s <= self.left_s:
                self.left_s -= wanted_s
            else:
                wanted_s = self.left_s
                self.next_span()
            done += wanted_s * rate
            taken_s += wanted_s
        return done, taken_s


@dataclass(slots=True)
class ReferencePlayer:
    """The player's side. contents_s: what is left to play of each buffered segment."""

    now_s: float = 0.0
    contents_s: list[float] = field(default_factory=list)
    backlog_s: float = 0.0
    stall_s: float = 0.0
    playing: bool = False
    abandonable: int = 0
    """How many downloads the abandonment rule would have given up. Its answer is only counted: see `play`."""

    @property
    def buffer_s(self) -> float:
        """Media seconds that are held."""
        return sum(self.contents_s)

    def drain(self, time_s: float) -> None:
        """Let seconds pass: enhance, and play what is held."""
        self.now_s += time_s
        self.backlog_s = max(0.0, self.backlog_s - time_s)
        if not self.playing:
            return
        while time_s > 0 and self.contents_s:
            played_s = min(time_s, self.contents_s[0])
            self.contents_s[0] -= played_s
            time_s -= played_s
            if self.contents_s[0] <= 0:
                self.contents_s.pop(0)
        self.stall_s += time_s

    def would_abandon(self, progress: DownloadProgress, duration_s: float) -> bool:
        """Whether Sabre would give this download up: it is going to take too long."""
        spent_s = progress.time_s - progress.latency_s
        if spent_s < GRACE_S or progress.done_bits <= 0:
            return False
        rest_s = (progress.size_bits - progress.done_bits) * spent_s / progress.done_bits
        return progress.time_s + rest_s > ABANDON_AFTER_SEGMENTS * duration_s

    def fetch(self, network: Network, bits: float, duration_s: float) -> DownloadProgress:
        """Latency, then step after step, asking after each whether to go on."""
        latency_s = network.latency_s
        network.pass_time(latency_s)
        progress, abandon = DownloadProgress(bits, 0.0, latency_s, latency_s), False
        while bits - progress.done_bits > NOTHING_BITS:
            done, step_s = network.step(bits - progress.done_bits)
            progress = DownloadProgress(bits, progress.done_bits + done, progress.time_s + step_s, latency_s)
            abandon = self.would_abandon(progress, duration_s) or abandon
        self.abandonable += abandon
        self.drain(progress.time_s)
        return progress


def play(
    prices: PriceList, trace: Trace, controller: Controller, buffer_max_s: float, menus: Sequence[Menu]
) -> tuple[list[float], float]:
    """VMAF of each segment as shown, and the stall in seconds.

    menus: one for each segment. Nothing is really abandoned, so that the session is the one of
    `abr.simulation.simulator`.
    """
    network, player = Network(trace), ReferencePlayer()
    downloads: list[Download] = []
    vmaf: list[float] = []
    last: Choice | None = None
    memory: tuple[float, ...] = ()
    for segment, menu in enumerate(menus):
        duration_s = float(prices.duration_s[segment])
        wait_s = player.buffer_s + duration_s - buffer_max_s
        if wait_s > 0:
            network.pass_time(wait_s)
            player.drain(wait_s)
        observation = Observation(
            now_s=player.now_s,
            menu=menu,
            buffer_s=player.buffer_s,
            buffer_max_s=buffer_max_s,
            backlog_s=player.backlog_s,
            playing=player.playing,
            downloads=tuple(downloads[-DOWNLOADS_MAX:]),
            last=last,
            memory=memory,
        )
        decision = controller.decide(observation)
        option, memory = decision.option, decision.memory
        began_s, bits = player.now_s, float(int(prices.size_bytes[segment, option])) * 8
        progress = player.fetch(network, bits, duration_s)
        compute_s = float(prices.compute_s[segment, option])
        if compute_s > 0 and player.backlog_s + float(prices.lead_s[segment, option]) > player.buffer_s:
            option = prices.choices.index(Choice(rendition=prices.choices[option].rendition))
        else:
            player.backlog_s += compute_s
        player.contents_s.append(duration_s)
        player.playing = True
        vmaf.append(float(prices.quality[segment, option]))
        last = prices.choices[option]
        downloads.append(
            Download(
                started_s=began_s,
                duration_s=progress.time_s,
                latency_s=progress.latency_s,
                size_bytes=int(bits / 8),
            )
        )
    return vmaf, player.stall_s
