"""The kernel track of a source: for each shot one code, or one a frame where its kernel moves.

Kernels of real video are consistent in time except where they are not (arXiv 2108.08305, section 3). So each shot is
tested: means over short windows are compared with one another. By how much they would differ if nothing moved is told
by the estimator itself: each frame is estimated twice, from two halves of its patches, and half the difference of the
two is an error that the kernel has no part in. Its means over the same windows keep what content adds for longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from abr.blur.estimator import Estimate
from abr.blur.kernel import CODE_FLOATS
from abr.core.title import Count, Positive
from abr.records import Record

KERNELS_FILE = "kernels.json"
"""In a title's folder."""
Share = Annotated[float, Meta(ge=0, le=1)]
StoredCode = Annotated[tuple[Share, ...], Meta(min_length=CODE_FLOATS, max_length=CODE_FLOATS)]
Codes = npt.NDArray[np.float64]
"""(frames, CODE_FLOATS)."""

_WINDOW_S = 0.5
_WINDOWS_MIN = 3
MOVES_FROM = 4.0
"""Times the estimator's own noise by which windows must differ."""
_NOISE_MIN = 1e-5
"""Mean square: codes are not told more exactly than a third of a hundredth, however alike the halves are."""
_SMOOTH_S = 0.2
"""Standard deviation of the window that smooths moving codes: longer lags behind the kernel, none flickers."""
_DIGITS = 4


class Shot(Record, frozen=True):
    """Neighbouring frames of one camera. codes: one for all frames, or one a frame; none where nothing can be told.

    movement: how many times the estimator's own noise its windows differ by; 0 for a shot too short to tell.
    """

    start: Count
    frames: Positive
    codes: tuple[StoredCode, ...]
    movement: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def moves(self) -> bool:
        """Whether there is a code for each frame."""
        return len(self.codes) > 1


class KernelTrack(Record, frozen=True):
    """The blur of a source over time. estimator: sha256 of the weights that told it.

    source_sha256: of the file; empty where that is not known.
    """

    frame_rate: tuple[Positive, Positive]
    estimator: str
    shots: tuple[Shot, ...]
    source_sha256: str = ""
    schema: Annotated[int, Meta(ge=1, le=1)] = 1

    def code_at(self, frame: int) -> tuple[float, ...] | None:
        """The code of one frame, counted from 0; None where nothing was told."""
        for shot in self.shots:
            if shot.start <= frame < shot.start + shot.frames and shot.codes:
                return shot.codes[min(frame - shot.start, len(shot.codes) - 1)]
        return None

    @property
    def mean_code(self) -> tuple[float, ...] | None:
        """Over all frames that have one."""
        told = [(np.mean(shot.codes, axis=0), shot.frames) for shot in self.shots if shot.codes]
        if not told:
            return None
        codes, frames = zip(*told, strict=True)
        return tuple(float(value) for value in np.average(codes, axis=0, weights=frames))


def shot_of(start: int, estimates: Sequence[Estimate | None], fps: float) -> Shot:
    """One shot from the estimates of its frames, in order."""
    frames = len(estimates)
    known = [index for index, estimate in enumerate(estimates) if estimate is not None]
    if not known:
        return Shot(start=start, frames=frames, codes=())
    told = [estimate for estimate in estimates if estimate is not None]
    codes = np.array([estimate.code for estimate in told])
    errors = np.array([np.subtract(*estimate.halves) / 2 for estimate in told])
    movement = movement_of(codes, errors, max(1, round(_WINDOW_S * fps)))
    if movement < MOVES_FROM:
        return Shot(start=start, frames=frames, codes=(_stored(codes.mean(0)),), movement=round(movement, 3))
    filled = np.stack([np.interp(range(frames), known, column) for column in codes.T], axis=1)
    moving = tuple(_stored(code) for code in smooth(filled, _SMOOTH_S * fps))
    return Shot(start=start, frames=frames, codes=moving, movement=round(movement, 3))


def movement_of(codes: Codes, errors: Codes, window: int) -> float:
    """How many times more the means of windows differ than their errors do (mean squares); 0 for too few windows."""
    count = max(1, round(len(codes) / window))
    if count < _WINDOWS_MIN:
        return 0.0
    means, noises = (np.stack([part.mean(0) for part in np.array_split(values, count)]) for values in (codes, errors))
    spread = ((means - means.mean(0)) ** 2).sum() / (count - 1) / codes.shape[1]
    return float(spread / max(float((noises**2).mean()), _NOISE_MIN))


def smooth(codes: Codes, deviation: float) -> Codes:
    """Codes under a Gaussian window of so many frames, mirrored through the ends so that a slope goes on there."""
    reach = min(math.ceil(3 * deviation), len(codes) - 1)
    if reach < 1:
        return codes
    taps = np.exp(-((np.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    before, after = 2 * codes[:1] - codes[reach:0:-1], 2 * codes[-1:] - codes[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, codes, after])
    smoothed = [np.convolve(column, taps / taps.sum(), mode="valid") for column in padded.T]
    bounded: Codes = np.clip(np.stack(smoothed, axis=1), 0.0, 1.0)
    return bounded


def _stored(code: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), _DIGITS) for value in code)
