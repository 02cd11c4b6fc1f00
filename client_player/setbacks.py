"""What this device failed at in earlier sessions: an enhancer that was too slow here is not chosen again for a while.

The device profile is measured at a quiet moment; a session may find the same work slower. That experience is kept
beside the profile, and raises what the profile says until it expires: an hour the first time, four times as long each
further time, a week at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.device import DeviceProfile, Measurement, Milliseconds
from abr.errors import FormatError, StorageError
from abr.formats import Record, dumps_pretty, load, save_whole

SETBACKS_FILE = "setbacks.json"
HELD_S = 3600.0
HELD_MAX_S = 7 * 86400.0
_KEPT_MAX = 64
_KEY = re.compile(r"(.+)@([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class Setback(Record, frozen=True):
    """One kind of work. key: architecture and input size (`measured_key`). until_s: Unix time."""

    key: Annotated[str, Meta(max_length=128)]
    frame_ms: Milliseconds
    times: Annotated[int, Meta(gt=0)]
    until_s: float


class Setbacks(Record, frozen=True):
    """Those of one device profile, oldest first."""

    weights_hash: str = ""
    entries: Annotated[tuple[Setback, ...], Meta(max_length=_KEPT_MAX)] = ()


def measured_key(measured: Measurement) -> str:
    """What the speed of an enhancer depends on."""
    return f"{measured.architecture}@{measured.width_px}x{measured.height_px}"


def wiser(profile: DeviceProfile, setbacks: Setbacks, now_s: float) -> DeviceProfile:
    """The profile with what was learned since: no work is said to be faster than it turned out to be."""
    if setbacks.weights_hash != profile.weights_hash:
        return profile
    slowest_ms = {each.key: each.frame_ms for each in setbacks.entries if now_s < each.until_s}
    known = {measured_key(each) for each in profile.measurements}
    reckoned = (_reckoned(profile, key) for key in slowest_ms if key not in known)
    measurements = tuple(
        msgspec.structs.replace(each, p95_ms=max(each.p95_ms, slowest_ms.get(measured_key(each), 0.0)))
        for each in (*profile.measurements, *filter(None, reckoned))
    )
    return msgspec.structs.replace(profile, measurements=measurements)


def _reckoned(profile: DeviceProfile, key: str) -> Measurement | None:
    """What the profile says of a size that was not measured; None for a key that means nothing to it."""
    match = _KEY.fullmatch(key)
    return profile.best(match[1], int(match[2]), int(match[3])) if match else None


def learned(setbacks: Setbacks, profile: DeviceProfile, failed_s: Mapping[str, float], now_s: float) -> Setbacks:
    """With what failed in a session: seconds a frame by key."""
    known = setbacks.entries if setbacks.weights_hash == profile.weights_hash else ()
    before = {each.key: each.times for each in known}
    fresh = tuple(
        Setback(
            key=key,
            frame_ms=max(0.001, frame_s * 1000),
            times=before.get(key, 0) + 1,
            until_s=now_s + min(HELD_MAX_S, HELD_S * 4.0 ** before.get(key, 0)),
        )
        for key, frame_s in failed_s.items()
    )
    kept = tuple(each for each in known if each.key not in failed_s)
    return Setbacks(weights_hash=profile.weights_hash, entries=(*kept, *fresh)[-_KEPT_MAX:])


def read(path: Path) -> Setbacks:
    """Nothing when there is no such file or it is damaged: experience can be had again."""
    try:
        return load(path, Setbacks)
    except (StorageError, FormatError):
        return Setbacks()


def write(path: Path, setbacks: Setbacks) -> None:
    """Raises StorageError."""
    save_whole(path, dumps_pretty(setbacks))
