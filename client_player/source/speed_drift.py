"""Enhancers that take another time in sessions than the device profile says: the profile is corrected.

A profile is measured on an idle device. What a player sees of the same work, with a decoder and other programs beside
it, may be a quarter more or less. Then it counts: at once where the player decides itself, and in later sessions for a
week. Enhancers that failed are another matter (`client_player.playback.slow_enhancers`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.device import DeviceProfile, Milliseconds
from abr.errors import FormatError, StorageError
from abr.files import write_atomically
from abr.records import Record, dumps_pretty, load

DRIFT_FILE = "drift.json"
DRIFT_MIN = 0.25
FRAMES_MIN = 48
"""Two seconds of film: less says more of a moment than of a device."""
_BLOCK = 8
EXPIRES_S = 7 * 86400.0
_KEPT_MAX = 64
_KEY = re.compile(r"(.+)@([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class SeenSpeed(Record, frozen=True):
    """What a frame took in a session. key: architecture and input size (`speed_key`). at_s: Unix time."""

    key: Annotated[str, Meta(max_length=128)]
    p50_ms: Milliseconds
    at_s: float


class SeenSpeeds(Record, frozen=True):
    """Those of one device profile, oldest first."""

    weights_hash: str = ""
    entries: Annotated[tuple[SeenSpeed, ...], Meta(max_length=_KEPT_MAX)] = ()

    def frame_ms(self, profile: DeviceProfile, now_s: float) -> dict[str, float]:
        """Milliseconds by key, of those that still count at `now_s`; none of another profile."""
        if self.weights_hash != profile.weights_hash:
            return {}
        return {entry.key: entry.p50_ms for entry in self.entries if now_s < entry.at_s + EXPIRES_S}


def seen_frame_ms(recent_s: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Milliseconds of a frame by key, of what ran for long enough to tell: the median of means over a few frames.

    Means, since a network may run on one frame in some and the others be much cheaper. recent_s: of the last frames.
    """
    seen = {key: list(times_s) for key, times_s in recent_s.items() if len(times_s) >= FRAMES_MIN}
    return {
        key: max(0.001, 1000 * median(fmean(times_s[i : i + _BLOCK]) for i in range(0, len(times_s), _BLOCK)))
        for key, times_s in seen.items()
    }


def correct_profile(profile: DeviceProfile, frame_ms: Mapping[str, float]) -> DeviceProfile:
    """`profile` with the times of what drifted by more than DRIFT_MIN; `profile` itself when nothing did."""
    for key, seen_ms in frame_ms.items():
        match = _KEY.fullmatch(key)
        known = profile.best(match[1], int(match[2]), int(match[3])) if match else None
        if match is None or known is None or abs(seen_ms / known.p50_ms - 1) <= DRIFT_MIN:
            continue
        what = match[1], int(match[2]), int(match[3])
        rows = [each for each in profile.measurements if (each.architecture, each.width_px, each.height_px) == what]
        corrected = [each.slowed(seen_ms / known.p50_ms) for each in rows or [msgspec.structs.replace(known, runs=1)]]
        others = (each for each in profile.measurements if each not in rows)
        profile = msgspec.structs.replace(profile, measurements=(*others, *corrected))
    return profile


def describe_correction(profile: DeviceProfile, frame_ms: Mapping[str, float]) -> str:
    """What `correct_profile` changes, in words and numbers; empty for nothing."""
    changes = []
    for key, seen_ms in frame_ms.items():
        match = _KEY.fullmatch(key)
        known = profile.best(match[1], int(match[2]), int(match[3])) if match else None
        if known is not None and abs(seen_ms / known.p50_ms - 1) > DRIFT_MIN:
            changes.append(f"{key} takes {seen_ms:.1f} ms here, not {known.p50_ms:.1f}")
    return "; ".join(changes)


def add_seen(speeds: SeenSpeeds, profile: DeviceProfile, frame_ms: Mapping[str, float], now_s: float) -> SeenSpeeds:
    """`speeds` with what a session has seen of `profile`, in place of older figures."""
    known = speeds.entries if speeds.weights_hash == profile.weights_hash else ()
    kept = tuple(entry for entry in known if entry.key not in frame_ms)
    fresh = tuple(SeenSpeed(key=key, p50_ms=seen_ms, at_s=now_s) for key, seen_ms in frame_ms.items())
    return SeenSpeeds(weights_hash=profile.weights_hash, entries=(*kept, *fresh)[-_KEPT_MAX:])


def load_or_empty(path: Path) -> SeenSpeeds:
    """Empty when there is no such file or it is damaged: it will be seen again."""
    try:
        return load(path, SeenSpeeds)
    except (StorageError, FormatError):
        return SeenSpeeds()


def save(path: Path, speeds: SeenSpeeds) -> None:
    """Raises StorageError."""
    write_atomically(path, dumps_pretty(speeds))
