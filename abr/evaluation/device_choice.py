"""For which device a title is priced in the simulator: a given profile, this machine's own, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from abr.core.device import DeviceProfile
from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.errors import FormatError, StorageError
from abr.files import cache_folder
from abr.records import load


def choose_profile(title: Path, given: Path | None, *, plain: bool, say: Callable[[str], None]) -> Path | None:
    """The device profile to price `title` with, or None for plain playback only. What was not given is told to `say`.

    plain: leave enhancers out. Without that and without a profile, the newest that `toprung profile` or `play` left in
    the user's cache is taken, if the title has enhancers at all.
    """
    if plain or given is not None or not (title / ENHANCEMENTS_FILE).is_file():
        return None if plain else given
    for path in _cached():
        try:
            device = load(path, DeviceProfile).device
        except (FormatError, StorageError) as error:
            say(f"The device profile is passed over. {error}")
            continue
        say(f"Enhancers are priced for {device.name} ({device.processor}), by the device profile {path}.")
        return path
    say("Only plain playback is offered: this device has no profile. Measure it with toprung profile.")
    return None


def _cached() -> list[Path]:
    """Newest first: a profile belongs to the networks of one version, and the last one measured is in use."""
    found = [(path.stat().st_mtime_ns, path) for path in cache_folder().glob("device-*.json") if path.is_file()]
    return [path for _, path in sorted(found, reverse=True)]
