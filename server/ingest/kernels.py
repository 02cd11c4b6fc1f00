"""What is done about a source's blur: its kernel track, and the source lifted to a display above its own size.

A track is made when it is asked for, or when the source turns out to be blurred. Lifting runs networks, which this
package knows nothing of: a process of its own does it (`enhancers.workflows.lift_source`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from abr.blur.plot import track_svg
from abr.blur.source_track import survey_source
from abr.blur.survey import looks_soft
from abr.blur.track import KERNELS_FILE
from abr.core.title import LIFTED_FILE
from abr.errors import InputError, ToprungError
from abr.files import write_atomically
from abr.media.planes import luma_of
from abr.media.probe import SourceInfo, probe
from abr.progress import ProgressBars
from abr.quality.vmaf import Luma
from abr.records import dumps_pretty
from server.ingest.checkpoints import Checkpoints

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

KERNELS_PLOT_FILE = "kernels.svg"
LIFT_COMMAND = (sys.executable, "-m", "enhancers.workflows.lift_source")
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


def pictures_of(
    source: Path, footage: SourceInfo, display_px: int | None, work: Checkpoints, bars: ProgressBars
) -> tuple[Path, SourceInfo]:
    """The file that a title's pictures are encoded from and compared with: the source, or what it is lifted to."""
    if display_px is None:
        return source, footage
    shown = work.run_once("lifted", SourceInfo, lambda: lift_source(work.title, source, footage, display_px, bars))
    return work.title / LIFTED_FILE, shown


def lift_source(
    folder: Path,
    source: Path,
    footage: SourceInfo,
    display_px: int,
    bars: ProgressBars,
    command: Sequence[str] = LIFT_COMMAND,
) -> SourceInfo:
    """Write the source's track and its pictures at a larger display (LIFTED_FILE) into a title's folder.

    display_px: its short side. Returns how the lifted pictures are to be shown. Raises InputError for a display that is
    no larger, and ToprungError when the process fails.
    """
    write_kernels(folder, source, footage, bars)
    out, track = folder / LIFTED_FILE, folder / KERNELS_FILE
    arguments = [str(source), "--display", str(display_px), "--out", str(out), "--kernels", str(track)]
    with bars("lifting the source", footage.frames_expected) as advance:
        # It ends when its stdin does: however this process ends, no other is left behind.
        with subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            problem = ""
            for line in process.stdout:
                kind, _, said = line.strip().partition(" ")
                if kind == "frames":
                    advance(float(said))
                else:
                    problem = line.strip()
        if process.returncode:
            error = InputError if process.returncode == InputError.exit_code else ToprungError
            raise error(problem or f"What lifts {source.name} ended with code {process.returncode}.")
    lifted = probe(out)
    return msgspec.structs.replace(
        lifted, frame_rate=footage.frame_rate, duration_s=footage.duration_s, chapters=footage.chapters, notes=()
    )
