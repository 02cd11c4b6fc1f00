"""A player in virtual time, over the same playback model as live; what a simulated session is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from abr.core.control import DOWNLOADS_MAX, Decision, Download, Observation
from abr.core.options import Choice, PriceList, menu_of, plain_of
from abr.core.playback import Playback
from abr.core.qoe import Experience, experience


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSegment:
    """One segment: what was observed and decided, how it came, what was shown.

    fetched: the option that came in the end; another than decided when the controller thought better of a slow
    download. download: all that was fetched for it, bytes given up included. stall_s: playback stood still while it
    was fetched. shown: the option as shown, plain if the enhancement would have been late. starts_s: when its playback
    begins.
    """

    observation: Observation
    decision: Decision
    download: Download
    fetched: int
    stall_s: float
    shown: int
    starts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A simulated session.

    failures: how often the controller failed and the guard answered in its place. first_failure: why, the first time.
    """

    prices: PriceList
    steps: tuple[SimulatedSegment, ...]
    startup_s: float
    stall_s: float
    failures: int = 0
    first_failure: str = ""

    @property
    def quality(self) -> list[float]:
        """Quality of each segment as shown, in the currency of the price list."""
        if self.prices.energy_points is not None:
            return [self.prices.shown_quality(segment, step.shown) for segment, step in enumerate(self.steps)]
        return [row[step.shown] for row, step in zip(tables_of(self.prices).quality, self.steps, strict=True)]

    @property
    def experience(self) -> Experience:
        """The session's quality of experience."""
        return experience(self.quality, self.stall_s)

    @property
    def size_bytes(self) -> int:
        """Everything fetched, weights included."""
        return sum(step.download.size_bytes for step in self.steps)


class SimulatedPlayer:
    """A player: its clock, its buffers, and what its controller is asked with. How segments come is not its affair."""

    def __init__(self, prices: PriceList, buffer_max_s: float, horizon: int) -> None:
        self.playback = Playback(buffer_max_s=buffer_max_s)
        self.now_s = 0.0
        self.failures, self.first_failure = 0, ""
        self._prices, self._tables, self._horizon = prices, tables_of(prices), horizon
        self._owned: frozenset[str] = frozenset()
        self._downloads: tuple[Download, ...] = ()
        self._last: Choice | None = None
        self._memory: tuple[float, ...] = ()

    def count_failure(self, reason: str) -> None:
        """The controller could not answer, for this reason."""
        self.failures += 1
        self.first_failure = self.first_failure or reason

    def pass_time(self, time_s: float) -> None:
        """Play on for so long."""
        if time_s > 0:
            self.playback.advance(time_s)
        self.now_s += time_s

    def observe(self, segment: int) -> Observation:
        """What the controller may know once there is room for the segment."""
        playback = self.playback
        if segment:
            self.pass_time(playback.room_wait_s(self._tables.duration_s[segment]))
        return Observation(
            now_s=self.now_s,
            menu=menu_of(self._prices, segment, self._horizon, self._owned),
            buffer_s=playback.buffer_s,
            buffer_max_s=playback.buffer_max_s,
            backlog_s=playback.backlog_s,
            playing=playback.playing,
            downloads=self._downloads,
            last=self._last,
            memory=self._memory,
        )

    def size_bytes(self, observation: Observation, option: int) -> int:
        """What the option costs to fetch, lacking weights included."""
        menu = observation.menu
        return int(self._tables.size_bytes[menu.segment][option]) + int(menu.weights_bytes[option])

    def finish_download(self, began_s: float, end_s: float, latency_s: float, size_bytes: int) -> Download:
        """What was fetched since `began_s` is there at `end_s`."""
        self.pass_time(end_s - self.now_s)
        self.now_s = began_s + (end_s - began_s)  # the very sum that a reader of the download would compute
        return Download(started_s=began_s, duration_s=end_s - began_s, latency_s=latency_s, size_bytes=size_bytes)

    def receive(
        self, observation: Observation, decision: Decision, option: int, download: Download, stalled_s: float
    ) -> SimulatedSegment:
        """Add the segment to the buffer, enhanced if that ends in time. stalled_s: in all before it was fetched."""
        playback, prices, tables, segment = self.playback, self._prices, self._tables, observation.menu.segment
        starts_s = self.now_s + playback.buffer_s
        compute_s = tables.compute_s[segment][option]
        is_enhanced = playback.add(tables.duration_s[segment], compute_s, tables.lead_s[segment][option])
        shown = option if is_enhanced or compute_s == 0 else tables.plain[prices.choices[option].rendition]
        if prices.weights[option]:
            self._owned = self._owned.union(prices.weights[option])
        self._downloads = (*self._downloads[1 - DOWNLOADS_MAX :], download)
        self._last, self._memory = prices.choices[shown], decision.memory
        return SimulatedSegment(
            observation=observation,
            decision=decision,
            download=download,
            fetched=option,
            stall_s=playback.stall_s - stalled_s,
            shown=shown,
            starts_s=starts_s,
        )

    def session(self, segments: Sequence[SimulatedSegment]) -> Session:
        """The whole session, once all segments are there."""
        return Session(
            prices=self._prices,
            steps=tuple(segments),
            startup_s=self.playback.startup_s,
            stall_s=self.playback.stall_s,
            failures=self.failures,
            first_failure=self.first_failure,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """A price list as plain lists, which single look-ups read faster than arrays."""

    plain: list[int]
    duration_s: list[float]
    size_bytes: list[list[float]]
    compute_s: list[list[float]]
    lead_s: list[list[float]]
    quality: list[list[float]]


@lru_cache(maxsize=8)
def tables_of(prices: PriceList) -> Tables:
    """The tables of a list; raises FormatError for one in which a segment cannot be had at all."""
    prices.check()
    return Tables(
        plain=plain_of(prices),
        duration_s=prices.duration_s.tolist(),
        size_bytes=prices.size_bytes.tolist(),
        compute_s=prices.compute_s.tolist(),
        lead_s=prices.lead_s.tolist(),
        quality=prices.quality.tolist(),
    )
