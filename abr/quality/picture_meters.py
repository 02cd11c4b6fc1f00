"""The members of the panel that this package computes itself, fed pair by pair with bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from abr.quality.ciede2000 import ciede2000
from abr.quality.erqa import erqa
from abr.quality.pictures import Plane, Planes, rgb_of
from abr.quality.ssimulacra2 import ssimulacra2

_ON_PLANES = {"ciede2000": ciede2000}
_ON_RGB = {"ssimulacra2": ssimulacra2, "erqa": erqa}
_FLICKER = "flicker"


class PictureMeters:
    """Scores one pair in `every_frames`, from pair `first` on, by ssimulacra2, erqa, ciede2000 and flicker."""

    def __init__(self, names: Sequence[str], every_frames: int, first: int = 0) -> None:
        self._on_planes = {name: meter for name, meter in _ON_PLANES.items() if name in names}
        self._on_rgb = {name: meter for name, meter in _ON_RGB.items() if name in names}
        self._flicker = FlickerMeter(every_frames, first) if _FLICKER in names else None
        self._every_frames = every_frames
        self._values: dict[str, list[float]] = {name: [] for name in (*self._on_planes, *self._on_rgb)}
        self._count = -first

    def feed(self, source: Planes, shown: Planes) -> None:
        """Look at the next pair."""
        if self._count % self._every_frames == 0:
            self._score(source, shown)
        if self._flicker:
            self._flicker.feed(source[0], shown[0])
        self._count += 1

    def _score(self, source: Planes, shown: Planes) -> None:
        for name, planes_meter in self._on_planes.items():
            self._values[name].append(planes_meter(source, shown))
        if self._on_rgb:
            pictures = rgb_of(source), rgb_of(shown)
            for name, rgb_meter in self._on_rgb.items():
                self._values[name].append(rgb_meter(*pictures))

    def finish(self) -> dict[str, npt.NDArray[np.float64]]:
        """The figures of the scored frames, by member."""
        flicker = {_FLICKER: self._flicker.values} if self._flicker else {}
        return {name: np.array(values, dtype=np.float64) for name, values in (self._values | flicker).items()}


class FlickerMeter:
    """Flicker error: the mean of |ΔE − ΔS|, where E is the shown luma, S the source's, and Δ the change between frames.

    What moves as the source does costs nothing, however wrong it is; what shimmers does. Unit: 8-bit code values.
    The change is that from the frame before; the first frame of all takes that to the frame after, or 0 without one.
    One pair in `every_frames` is scored, from pair `first` on.
    """

    def __init__(self, every_frames: int, first: int = 0) -> None:
        self.values: list[float] = []
        self._every_frames = every_frames
        self._first = first
        self._count = 0
        self._error: npt.NDArray[np.int16] | None = None

    def feed(self, source: Plane, shown: Plane) -> None:
        """Look at the next pair of lumas. Of those that are not scored, only the one before a scored one counts."""
        place, is_second = (self._count - self._first) % self._every_frames, self._count == 1 and self._first == 0
        self._count += 1
        if place not in (0, self._every_frames - 1) and not is_second:
            return
        before, self._error = self._error, shown.astype(np.int16) - source
        change = 0.0 if before is None else float(np.abs(self._error - before).mean())
        if place == 0:
            self.values.append(change)
        if is_second:
            self.values[0] = change
