"""An independent session simulator in the style of Sabre and its heirs: the network advances in small steps, each of
which looks at the download, drains the buffers and may ask whether to abandon. Slow, simple, and not ours: an oracle.
"""

from __future__ import annotations

from abr.control import Download, Observation
from abr.options import Choice, PriceList
from abr.traces import Trace

STEP_BITS = 12_000.0
STEP_S = 0.05


class Network:
    def __init__(self, trace: Trace) -> None:
        self.spans = list(
            zip(trace.duration_s.tolist(), trace.throughput_bps.tolist(), trace.latency_s.tolist(), strict=True)
        )
        self.index, self.left_s = 0, self.spans[0][0]

    def next_span(self) -> None:
        self.index = (self.index + 1) % len(self.spans)
        self.left_s = self.spans[self.index][0]

    def pass_time(self, time_s: float) -> None:
        while time_s > self.left_s:
            time_s -= self.left_s
            self.next_span()
        self.left_s -= time_s

    def step(self, bits: float) -> tuple[float, float]:
        """Download at least STEP_BITS and STEP_S worth (or `bits`, if fewer): bits done, seconds taken."""
        done, taken_s = 0.0, 0.0
        while bits - done > 1e-9 and (done < STEP_BITS or taken_s < STEP_S):
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


class Abandonment:
    """dash.js's rule, as Sabre asks it at every step; it never fires here, so that results can be compared."""

    def __init__(self, duration_s: float) -> None:
        self.limit_s = 1.8 * duration_s

    def check(self, taken_s: float, done: float, bits: float) -> bool:
        if taken_s < 0.5 or done <= 0:
            return False
        rate = done / taken_s
        estimate_s = taken_s + (bits - done) / rate
        return estimate_s > self.limit_s and bits < 0


def play(prices: PriceList, trace: Trace, controller, buffer_max_s: float, menus) -> tuple[list[float], float]:
    """VMAF of each segment as shown, and the stall in seconds."""
    network = Network(trace)
    now_s = buffer_s = backlog_s = stall_s = 0.0
    playing = False
    downloads: list[Download] = []
    vmaf: list[float] = []
    last, memory = None, ()

    def drain(time_s: float) -> None:
        nonlocal now_s, buffer_s, backlog_s, stall_s
        now_s += time_s
        backlog_s = max(0.0, backlog_s - time_s)
        if playing:
            stall_s += max(0.0, time_s - buffer_s)
            buffer_s = max(0.0, buffer_s - time_s)

    for segment in range(len(prices.duration_s)):
        duration_s = float(prices.duration_s[segment])
        wait_s = max(0.0, buffer_s + duration_s - buffer_max_s)
        if wait_s > 0:
            network.pass_time(wait_s)
            drain(wait_s)
        seen = Observation(
            now_s=now_s,
            menu=menus[segment],
            buffer_s=buffer_s,
            buffer_max_s=buffer_max_s,
            backlog_s=backlog_s,
            playing=playing,
            downloads=tuple(downloads[-16:]),
            last=last,
            memory=memory,
        )
        decision = controller.decide(seen)
        option, memory = decision.option, decision.memory
        latency_s = network.spans[network.index][2]
        network.pass_time(latency_s)
        drain(latency_s)
        bits, taken_s = float(prices.size_bytes[segment, option]) * 8, latency_s
        rule, remaining = Abandonment(duration_s), bits
        while remaining > 1e-9:
            done, step_s = network.step(remaining)
            drain(step_s)
            remaining -= done
            taken_s += step_s
            if rule.check(taken_s, bits - remaining, bits):
                break
        compute_s = float(prices.compute_s[segment, option])
        if compute_s > 0 and backlog_s + compute_s > buffer_s:
            rendition = prices.choices[option].rendition
            option = prices.choices.index(Choice(rendition=rendition))
        else:
            backlog_s += compute_s
        buffer_s += duration_s
        playing = True
        vmaf.append(float(prices.vmaf[segment, option]))
        last = prices.choices[option]
        started_s = now_s - taken_s
        downloads.append(
            Download(started_s=started_s, duration_s=taken_s, latency_s=latency_s, size_bytes=int(bits / 8))
        )
    return vmaf, stall_s
