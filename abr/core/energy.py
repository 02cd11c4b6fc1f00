"""What enhancing costs in joules, and how many points of quality a viewer gives for them.

The joules are those of enhancing, above the idle device: decoding, the screen and the radio are spent in any case.
"""

from __future__ import annotations

from abr.core.device import DeviceProfile, EnergySource, Measurement, PowerModel, Wish

WISH_POINTS = {Wish.QUALITY: 0.0, Wish.BALANCED: 6.0, Wish.SAVER: 24.0}
"""Points of quality that enhancing has to bring if it takes all that the device draws above rest; less for less."""
_CORE_IDLE_W, _CORE_FULL_W = 0.5, 4.5
"""Of servers of some years: 280 W for 64 cores. Laptops draw as much for a core, and less at rest."""


def assumed_power(cores: int) -> PowerModel:
    """Watts of a machine of so many cores of which nothing is known."""
    return PowerModel(idle_w=_CORE_IDLE_W * cores, full_w=_CORE_FULL_W * cores)


def frame_energy_j(profile: DeviceProfile, measured: Measurement) -> float:
    """Joules of a frame. What was not measured is reckoned as threads that work all the time."""
    if measured.energy_source is not None:
        return measured.energy_mj / 1000
    cores = max(1, profile.device.cores)
    return min(1.0, measured.threads / cores) * measured.p50_ms / 1000 * _span_w(profile)


def energy_source(profile: DeviceProfile) -> EnergySource:
    """What the joules of this profile's options rest on; an estimate as soon as one of them is."""
    sources = {each.energy_source or EnergySource.MODEL for each in profile.measurements if each.runs}
    return sources.pop() if len(sources) == 1 else EnergySource.MODEL


def price_points(profile: DeviceProfile, watts: float) -> float:
    """Points of quality that work of so many watts, above rest, has to bring by the profile's wish."""
    return WISH_POINTS[profile.wish] * watts / _span_w(profile) if WISH_POINTS[profile.wish] else 0.0


def _span_w(profile: DeviceProfile) -> float:
    power = profile.power or assumed_power(max(1, profile.device.cores))
    return max(power.full_w - power.idle_w, 1e-3)
