"""What earlier sessions have seen of this device's speed, and what a session adds to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from abr.core.device import DeviceProfile
from client_player.playback import slow_enhancers
from client_player.source import speed_drift


def profile_seen(path: Path | None, profile: DeviceProfile, slow: slow_enhancers.SlowEnhancers) -> DeviceProfile:
    """The profile, corrected by what earlier sessions have seen of this device. path: of the slow enhancers' file."""
    if path is not None:
        seen = speed_drift.load_or_empty(path.with_name(speed_drift.DRIFT_FILE))
        profile = speed_drift.correct_profile(profile, seen.frame_ms(profile, time.time()))
    return slow_enhancers.adjust_profile(profile, slow, time.time())


def keep_speeds(
    path: Path,
    profile: DeviceProfile,
    slow: slow_enhancers.SlowEnhancers,
    slow_frame_s: Mapping[str, float],
    frame_ms: Mapping[str, float],
) -> None:
    """Keep what a session has seen, as in Player. Raises StorageError."""
    if slow_frame_s:
        slow_enhancers.save(path, slow_enhancers.add_failures(slow, profile, slow_frame_s, time.time()))
    if frame_ms:
        drift_file = path.with_name(speed_drift.DRIFT_FILE)
        seen = speed_drift.load_or_empty(drift_file)
        speed_drift.save(drift_file, speed_drift.add_seen(seen, profile, frame_ms, time.time()))
