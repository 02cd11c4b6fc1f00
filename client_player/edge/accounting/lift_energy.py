"""Joules that lifting takes, above the machine at rest: by its counters, or else reckoned from processor time."""

from __future__ import annotations

import logging

from abr.core.device import EnergySource, PowerModel
from abr.core.energy import assumed_power
from abr.virtual_time import SessionClock
from enhancers.profiling.energy import ModelMeter, WatchedMeter, Work
from enhancers.profiling.machine import cores

log = logging.getLogger("toprung.edge")


def model_meter(power: PowerModel | None) -> WatchedMeter:
    """Reckons from processor time; power: of this machine, if it is known."""
    known = power or assumed_power(cores())
    return WatchedMeter(meter=ModelMeter(known), idle_w=known.idle_w)


class LiftEnergy:
    """Reads the meter when lifts begin and end. What several at once take is told in all, not for each."""

    def __init__(self, watched: WatchedMeter, clock: SessionClock) -> None:
        self._watched, self._clock = watched, clock
        self._under_way = 0
        self._untold_j = 0.0
        self._read()

    @property
    def source(self) -> EnergySource:
        """What is read."""
        return self._watched.meter.source

    def begin(self) -> None:
        """A lift begins."""
        self._settle(0.0)
        self._under_way += 1

    def end(self, cpu_s: float) -> float:
        """A lift has ended that took so much processor time: joules that lifts took since this was last told."""
        self._settle(cpu_s)
        self._under_way -= 1
        told, self._untold_j = self._untold_j, 0.0
        return told

    def _settle(self, cpu_s: float) -> None:
        before, then_s = self._reading, self._at_s
        self._read()
        if self._under_way:
            wall_s = max(self._at_s - then_s, cpu_s / cores())
            self._untold_j += self._watched.above_idle_j(before, self._reading, Work(wall_s=wall_s, cpu_s=cpu_s))

    def _read(self) -> None:
        self._at_s = self._clock.now_s()
        try:
            self._reading = self._watched.meter.read()
        except OSError as error:
            log.warning("Energy can no longer be read (%s); from now on it is reckoned.", error)
            self._watched = model_meter(None)
            self._reading = self._watched.meter.read()
