"""Enhancers that were too slow on this device in earlier sessions: they are not chosen again for a while.

The device profile is measured while the device is idle; in a session the same work may take longer. That time is kept
beside the profile and used in its place until it expires: an hour the first time, four times as long each
further time, a week at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.core.device import DeviceProfile, Measurement, Milliseconds
from abr.errors import FormatError, StorageError
from abr.files import write_atomically
from abr.records import Record, dumps_pretty, load

SLOW_ENHANCERS_FILE = "setbacks.json"
EXPIRES_S = 3600.0
EXPIRES_MAX_S = 7 * 86400.0
_KEPT_MAX = 64
_KEY = re.compile(r"(.+)@([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class SlowEnhancer(Record, frozen=True):
    """One kind of work. key: architecture and input size (`speed_key`). until_s: Unix time."""

    key: Annotated[str, Meta(max_length=128)]
    frame_ms: Milliseconds
    times: Annotated[int, Meta(gt=0)]
    until_s: float


class SlowEnhancers(Record, frozen=True):
    """Those of one device profile, oldest first."""

    weights_hash: str = ""
    entries: Annotated[tuple[SlowEnhancer, ...], Meta(max_length=_KEPT_MAX)] = ()


def speed_key(measured: Measurement) -> str:
    """Architecture and input size, on which the speed of an enhancer depends."""
    return f"{measured.architecture}@{measured.width_px}x{measured.height_px}"


def adjust_profile(profile: DeviceProfile, slow: SlowEnhancers, now_s: float) -> DeviceProfile:
    """The profile with each p95 raised to what was measured in sessions, where that has not expired at `now_s`."""
    if slow.weights_hash != profile.weights_hash:
        return profile
    slowest_ms = {entry.key: entry.frame_ms for entry in slow.entries if now_s < entry.until_s}
    known = {speed_key(measurement) for measurement in profile.measurements}
    estimates = (_estimate(profile, key) for key in slowest_ms if key not in known)
    measurements = tuple(
        msgspec.structs.replace(
            measurement, p95_ms=max(measurement.p95_ms, slowest_ms.get(speed_key(measurement), 0.0))
        )
        for measurement in (*profile.measurements, *filter(None, estimates))
    )
    return msgspec.structs.replace(profile, measurements=measurements)


def _estimate(profile: DeviceProfile, key: str) -> Measurement | None:
    """The profile's estimate for a size that it did not measure, which a session has; None for a key it cannot read."""
    match = _KEY.fullmatch(key)
    known = profile.best(match[1], int(match[2]), int(match[3])) if match else None
    return msgspec.structs.replace(known, runs=1) if known else None


def add_failures(
    slow: SlowEnhancers, profile: DeviceProfile, slow_frame_s: Mapping[str, float], now_s: float
) -> SlowEnhancers:
    """`slow` with the enhancers that failed in a session. slow_frame_s: seconds a frame by `speed_key`."""
    known = slow.entries if slow.weights_hash == profile.weights_hash else ()
    before = {entry.key: entry.times for entry in known}
    fresh = tuple(
        SlowEnhancer(
            key=key,
            frame_ms=max(0.001, frame_s * 1000),
            times=before.get(key, 0) + 1,
            until_s=now_s + min(EXPIRES_MAX_S, EXPIRES_S * 4.0 ** before.get(key, 0)),
        )
        for key, frame_s in slow_frame_s.items()
    )
    kept = tuple(entry for entry in known if entry.key not in slow_frame_s)
    return SlowEnhancers(weights_hash=profile.weights_hash, entries=(*kept, *fresh)[-_KEPT_MAX:])


def load_or_empty(path: Path) -> SlowEnhancers:
    """Empty when there is no such file or it is damaged: the figures will be measured again."""
    try:
        return load(path, SlowEnhancers)
    except (StorageError, FormatError):
        return SlowEnhancers()


def save(path: Path, slow: SlowEnhancers) -> None:
    """Raises StorageError."""
    write_atomically(path, dumps_pretty(slow))
