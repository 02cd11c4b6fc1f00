"""A source read from start to end, frame after frame, into its kernel track."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from abr.blur.estimator import Estimate, KernelEstimator
from abr.blur.kernel import blur_of
from abr.blur.patches import Luma
from abr.blur.shots import ShotDetector
from abr.blur.track import KernelTrack, Shot, shot_of

SHOT_FRAMES_MAX = 3000
"""A longer shot is told in parts."""
SOFT_FROM_PX = 0.5
"""Standard deviation, in source pixels, along the wider axis, from which a source counts as blurred. A picture that the
bicubic filter shrank has 0.23 (`bicubic_kernel`); the estimator's own error is about 0.1."""
SHARP_BELOW_PX = 0.43
"""Likewise, up to which a picture counts as shrunk by a ladder's own filter: what is made for such pictures serves it
better than what knows all kernels."""


@dataclass(slots=True)
class Surveyor:
    """Told a source's frames in order; gives its track at the end."""

    estimator: KernelEstimator
    digest: str
    frame_rate: tuple[int, int]
    _shots: list[Shot] = field(default_factory=list)
    _estimates: list[Estimate | None] = field(default_factory=list)
    _detector: ShotDetector = field(default_factory=ShotDetector)
    _start: int = 0

    def watch(self, luma: Luma) -> None:
        """The next frame, (H, W)."""
        begins = self._detector.begins(luma)
        if self._estimates and (begins or len(self._estimates) >= SHOT_FRAMES_MAX):
            self._end_shot()
        self._estimates.append(self.estimator.estimate(luma))

    def finish(self) -> KernelTrack:
        """The track of all frames so far."""
        if self._estimates:
            self._end_shot()
        return KernelTrack(frame_rate=self.frame_rate, estimator=self.digest, shots=tuple(self._shots))

    def _end_shot(self) -> None:
        fps = self.frame_rate[0] / self.frame_rate[1]
        self._shots.append(shot_of(self._start, self._estimates, fps))
        self._start += len(self._estimates)
        self._estimates = []


def survey_frames(
    lumas: Iterable[Luma],
    frame_rate: tuple[int, int],
    estimator: KernelEstimator,
    digest: str,
    advance: Callable[[float], None] = lambda _frames: None,
) -> KernelTrack:
    """The track of a source's frames, told by `estimator` of that digest."""
    surveyor = Surveyor(estimator, digest, frame_rate)
    for luma in lumas:
        surveyor.watch(luma)
        advance(1.0)
    return surveyor.finish()


def is_sharp(code: Sequence[float]) -> bool:
    """Whether a picture of this code is as sharp as a ladder's rungs are."""
    return blur_of(code).axes[0] < SHARP_BELOW_PX


def looks_soft(samples: Sequence[Luma], estimator: KernelEstimator) -> bool:
    """Whether most of some frames that tell anything are blurred by more than a ladder's own scaling would."""
    told = [estimate for luma in samples if (estimate := estimator.estimate(luma)) is not None]
    soft = sum(blur_of(estimate.code).axes[0] >= SOFT_FROM_PX for estimate in told)
    return len(told) > 0 and 2 * soft > len(told)
