"""The kernel track of a title: made when it is asked for, or when the source turns out to be blurred."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from abr.blur.plot import track_svg
from abr.blur.source_track import survey_source
from abr.blur.survey import looks_soft
from abr.blur.track import KERNELS_FILE
from abr.files import write_atomically
from abr.media.planes import luma_of
from abr.media.probe import SourceInfo, probe
from abr.progress import ProgressBars
from abr.quality.vmaf import Luma
from abr.records import dumps_pretty

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

KERNELS_PLOT_FILE = "kernels.svg"
_SAMPLES = 8


class KernelWish(StrEnum):
    """When a title gets a kernel track."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class SoftnessWatcher:
    """Tells whether a source is blurred, from a few of its display frames, while something else uses them."""

    def __init__(self, wish: KernelWish, frames_expected: int) -> None:
        self._wish = wish
        self._every = max(1, frames_expected // _SAMPLES)
        self._seen: list[Luma] = []

    def watch(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """Pass the frames on unchanged, and keep a sample of their luma."""
        for index, frame in enumerate(frames):
            if self._wish is KernelWish.AUTO and index % self._every == self._every // 2:
                self._seen.append(luma_of(frame).copy())
            yield frame

    @property
    def wants_track(self) -> bool:
        """Whether the title is to get one."""
        from abr.blur.estimator import shipped_estimator

        return self._wish is KernelWish.ALWAYS or bool(self._seen and looks_soft(self._seen, shipped_estimator()))


def write_kernels(folder: Path, source: Path, footage: SourceInfo, bars: ProgressBars) -> None:
    """Read the source once more, and write its track and a plot of it into a title's folder: the track last."""
    with bars("reading kernels", footage.frames_expected) as advance:
        track = survey_source(source, footage, advance)
    write_atomically(folder / KERNELS_PLOT_FILE, track_svg(track, source.name).encode())
    write_atomically(folder / KERNELS_FILE, dumps_pretty(track))


def add_kernels(folder: Path, source: Path, accept_short: bool, bars: ProgressBars) -> None:
    """Write the track of a title that is complete without one; `source` is the file that it was prepared from."""
    if not (folder / KERNELS_FILE).is_file():
        write_kernels(folder, source, probe(source, accept_short=accept_short), bars)
