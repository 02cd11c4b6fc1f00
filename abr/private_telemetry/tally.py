"""Counts what happens in a session into the words of the layout."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from math import isfinite
from threading import Lock

import numpy as np

from abr.core.device import DeviceProfile
from abr.core.enhancement import PLAIN
from abr.core.events import AnyEvent, Decided, Ended, Failed, Playing, Shown, Stalled
from abr.core.title import Title
from abr.private_telemetry.layout import CORES, PLAN, TELEMETRY, TIERS, WORD_MAX, Layout
from abr.secure_aggregation.masks import Words

_DECISIONS_MAX = 4096


class SessionTally:
    """Takes a session's events, and gives what has been counted since it last gave. May be used from two threads."""

    def __init__(self, profile: DeviceProfile | None, layout: Layout = TELEMETRY) -> None:
        self._layout = layout
        self._cores = _cores_class(profile)
        self._counts = np.zeros(layout.words, dtype=np.int64)
        self._decided: OrderedDict[int, Decided] = OrderedDict()
        self._title: Title | None = None
        self._lock = Lock()

    def know_title(self, title: Title) -> None:
        """Bitrates and qualities are counted from now on: they are told by the title's tables."""
        self._title = title

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to hand in."""
        return not self._counts.any()

    def give(self) -> Words:
        """The vector since the last time, each word at most WORD_MAX; counting begins anew."""
        with self._lock:
            given = np.minimum(self._counts, WORD_MAX).astype(np.uint32)
            self._counts = np.zeros(self._layout.words, dtype=np.int64)
        return given

    def give_back(self, vector: Words) -> None:
        """Nobody has the sum in which this vector should have been: it is counted in the next one."""
        with self._lock:
            self._counts += vector.astype(np.int64)

    def also_taking(self, listener: Callable[[AnyEvent], None]) -> Callable[[AnyEvent], None]:
        """Tells events to the listener, and takes them."""

        def tell(event: AnyEvent) -> None:
            listener(event)
            self.take(event)

        return tell

    def take(self, event: AnyEvent) -> None:
        """Count an event. Those that tell of nothing in the layout are passed over."""
        match event:
            case Decided():
                self._decided[event.segment] = event
                while len(self._decided) > _DECISIONS_MAX:
                    self._decided.popitem(last=False)
            case Playing():
                self._count("startup_seconds", event.startup_s)
            case Stalled():
                self._count("stall_seconds", event.duration_s)
            case Failed():
                self._count("failures", 1)
            case Ended():
                self._count("sessions", 1)
            case Shown():
                self._count_shown(event)

    def _count_shown(self, event: Shown) -> None:
        share = min(1.0, event.enhanced_frames / event.frames) if event.frames else 0.0
        self._count("enhanced_ratio", share)
        self._count("late_frames", event.late_frames)
        if event.enhanced_frames and event.enhance_p50_ms > 0 and (tier := _tier(event.enhancer)):
            self._count("enhance_seconds", event.enhance_p50_ms / 1000, tier, self._cores)
        decided = self._decided.pop(event.segment, None)
        if self._title is not None:
            self._count_title(self._title, event, decided, share)

    def _count_title(self, title: Title, event: Shown, decided: Decided | None, share: float) -> None:
        durations = title.segment_duration_s
        duration_s = durations[min(event.segment, len(durations) - 1)]
        self._count("shown_seconds", duration_s)
        if decided is None or decided.rendition != event.rendition:
            return
        self._count("video_bytes_per_second", decided.size_bytes / duration_s)
        plain = title.plain_quality.get(event.rendition)
        if event.enhancer == PLAIN or plain is None or event.segment >= len(plain.vmaf):
            before, share = 0.0, 1.0  # what was promised is what was shown
        else:
            before = plain.vmaf[event.segment]
        self._count("vmaf", before + share * (decided.promised_vmaf - before))
        self._count("quality", before + share * (decided.quality - before))

    def _count(self, name: str, value: float, *labels: str) -> None:
        start, counted = self._layout.find(name, *labels)
        if not isfinite(value):
            return
        with self._lock:
            if counted.bounds:
                self._counts[start + bisect_left(counted.bounds, value)] += 1
            self._counts[start + counted.words - 1] += round(max(0.0, value) / counted.step)


def _tier(enhancer: str) -> str | None:
    """Of `<family>-<tier>` and `<family>-plan-<number>`; None for others."""
    parts = enhancer.split("-")
    tier = parts[1] if len(parts) > 1 else ""
    return tier if tier in TIERS and (len(parts) == 2 or tier == PLAN) else None


def _cores_class(profile: DeviceProfile | None) -> str:
    cores = profile.device.cores if profile else 0
    return next((each for each in CORES[:-1] if cores <= int(each)), CORES[-1])
