"""The quality of a stream, measured while it runs: samples of its newest segments go to a process of lowest priority.

That process (`enhancers.workflows.live_quality`) keeps to its share of one core. The ladder comes first: while segments
are late, the process is stopped, and it goes on when they are in time again. One sample is under way at a time, and
its files go when it has been measured.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import IO, TYPE_CHECKING

import numpy as np

from abr.core.live_quality import PICTURES_FILE, Answer, LiveQuality, Sample
from abr.core.live_tables import TABLES_FILE, LiveTables
from abr.core.title import TITLE_FILE, segment_file
from abr.errors import FormatError, StorageError
from abr.files import write_file
from abr.media.planes import planes_of
from abr.records import dumps, load, loads
from server.ingest.cmaf import INIT_FILE

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

COMMAND = (sys.executable, "-m", "enhancers.workflows.live_quality")
_AHEAD, _BEHIND = 2, 1
"""Pictures before and after the middle one: flicker and motion need them."""
LATE_SHARE = 0.5
"""Segments that are ready later than this share of their duration are late."""
STUCK_SEGMENTS = 2.0
"""No segment for so long is late too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStream:
    """folder: of the live title. work: where samples are put meanwhile. rungs: their ids. share: of one core."""

    folder: Path
    work: Path
    rungs: Sequence[str]
    segment_frames: int
    segment_s: float
    share: float


class Measuring:
    """Measures a live title. A context manager: it begins with the block and is over at its end.

    measured: hears of the quality after each sample; told: one sentence for people. Only `watch` and `listed` are
    called by the ladder's threads; neither waits for anything.
    """

    def __init__(
        self,
        stream: MeasuredStream,
        *,
        measured: Callable[[LiveQuality], None],
        told: Callable[[str], None],
        command: Sequence[str] = COMMAND,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._work, self._rungs = stream.folder, stream.work, tuple(stream.rungs)
        self._frames, self._segment_s, self._share = stream.segment_frames, stream.segment_s, stream.share
        self._measured, self._tell, self._command, self._ticks = measured, told, command, ticks
        self._wanted = -1
        """The segment whose pictures are taken; -1 while none is."""
        self._pictures: list[VideoFrame] = []
        self._taken_segment = -1
        self._taken: list[VideoFrame] = []
        """One that has all of its pictures, and waits until it is listed."""
        self._is_free = self._frames > _AHEAD + _BEHIND
        self._samples: Queue[tuple[int, list[VideoFrame]] | None] = Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_resting = False
        self._listed_s = ticks()
        self._thread = threading.Thread(target=self._run, name="live-quality", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process that measures; None when there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def is_resting(self) -> bool:
        """Whether the ladder needs the processor."""
        return self._is_resting

    def __enter__(self) -> Measuring:
        command, pipe = [*self._command, "--share", f"{self._share:g}"], subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            self._tell(f"nothing is measured: {error.strerror}.")
            self._is_free = False
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._samples.put(None)
        process, self._is_free = self._process, False
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._thread.join()
        shutil.rmtree(self._work, ignore_errors=True)

    def watch(self, frame: VideoFrame, number: int) -> None:
        """A frame of the stream, by its number, as it is given to the encoders."""
        segment, place = divmod(number, self._frames)
        middle = self._frames // 2
        if place == 0:
            self._rest_if(self._ticks() - self._listed_s > STUCK_SEGMENTS * self._segment_s)
            self._pictures = []
            is_wanted = self._is_free and not self._is_resting and not self._taken
            self._wanted = segment if is_wanted else -1
        if segment == self._wanted and middle - _AHEAD <= place <= middle + _BEHIND:
            self._pictures.append(frame)
            if place == middle + _BEHIND:
                self._taken_segment, self._taken, self._pictures = segment, self._pictures, []

    def listed(self, segment: int, ready_s: float) -> None:
        """A segment is listed, so long after its last frame came."""
        self._listed_s = self._ticks()
        self._rest_if(ready_s > LATE_SHARE * self._segment_s)
        taken, self._taken = self._taken, self._taken if segment < self._taken_segment else []
        if segment == self._taken_segment and taken and self._is_free and not self._is_resting:
            self._is_free = False
            self._samples.put((segment, taken))

    def _rest_if(self, is_late: bool) -> None:
        process = self._process
        if is_late == self._is_resting or process is None or process.poll() is not None:
            return
        self._is_resting = is_late
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP if is_late else signal.SIGCONT)

    def _run(self) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return
        while (taken := self._samples.get()) is not None:
            sample = self._work / "sample"
            try:
                self._write_sample(sample, *taken)
                answer = _ask(process.stdin, process.stdout, sample)
            except (OSError, FormatError, StorageError) as error:
                answer = Answer(problem=str(error)) if process.poll() is None else None
            shutil.rmtree(sample, ignore_errors=True)
            if answer is None:
                if self._samples.empty():
                    self._tell("what measures its pictures has ended; decisions go on by what was measured until then.")
                return
            if answer.quality is not None:
                self._measured(answer.quality)
            self._is_free = True

    def _write_sample(self, sample: Path, segment: int, pictures: Sequence[VideoFrame]) -> None:
        """The title of that one segment. Raises OSError, FormatError, StorageError."""
        shutil.rmtree(sample, ignore_errors=True)
        for rung in self._rungs:
            home = sample / "video" / rung
            home.mkdir(parents=True)
            for name, as_name in ((INIT_FILE, INIT_FILE), (segment_file(segment), segment_file(0))):
                _link(self._folder / "video" / rung / name, home / as_name)
        write_file(sample / TITLE_FILE, dumps(load(self._folder / TABLES_FILE, LiveTables).typical))
        planes = zip(*(planes_of(frame) for frame in pictures), strict=True)
        y, u, v = (np.stack([np.array(plane) for plane in each]) for each in planes)
        with (sample / PICTURES_FILE).open("wb") as file:
            np.savez(file, y=y, u=u, v=v, first=np.array(self._frames // 2 - _AHEAD))


def _link(path: Path, twin: Path) -> None:
    try:
        os.link(path, twin)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, twin)


def _ask(stdin: IO[bytes], stdout: IO[bytes], sample: Path) -> Answer | None:
    """None when the process has ended."""
    stdin.write(dumps(Sample(folder=str(sample))) + b"\n")
    stdin.flush()
    line = stdout.readline()
    return loads(line, Answer, what="what was measured") if line else None
