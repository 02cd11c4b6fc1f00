"""A process of lowest priority beside a running stream, which is asked about samples of its newest segments.

The ladder comes first: while segments are late, or rungs are left out, the process is stopped. It goes on when they are
in time again. A sample's files go when its answer has come.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

from abr.errors import FormatError, StorageError
from server.live.samples.files import AFTER, BEFORE, SampledStream, sampled_places, write_sample

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LATE_SHARE = 0.5
"""Segments that are ready later than this share of their duration are late."""
_LINE_BYTES_MAX = 4 << 20
STUCK_SEGMENTS = 2.0
"""No segment for so long is late too."""


class SampleExchange(Protocol):
    """What is asked about samples, and what becomes of the answers. Called in a thread of its own."""

    def ask(self, folders: Sequence[Path], segments: Sequence[int]) -> bytes:
        """One line, about samples, oldest first."""
        ...

    def hear(self, line: bytes) -> bool:
        """Take an answer; whether the process can be asked again. Raises FormatError, StorageError."""
        ...

    def end(self, problem: str) -> None:
        """The process has ended, or never began, before the stream did."""
        ...


@dataclass(slots=True)
class _Taken:
    segment: int
    pictures: dict[int, VideoFrame] = field(default_factory=dict)


class SampledProcess:
    """A context manager: the process begins with the block and is over at its end.

    Only `watch` and `listed` are called by the ladder's threads; neither waits for anything. waiting_max: samples that
    wait until the process can be asked about them all; the oldest goes. With 1, none is taken before it can be asked.
    spread: shares of a segment at which further pictures are taken.
    """

    def __init__(
        self,
        stream: SampledStream,
        command: Sequence[str],
        exchange: SampleExchange,
        *,
        waiting_max: int = 1,
        spread: Sequence[float] = (),
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._command, self._exchange, self._ticks = stream, command, exchange, ticks
        self._places = sampled_places(stream.segment_frames, spread)
        self._is_open = stream.segment_frames > BEFORE + AFTER
        self._takes_ahead = waiting_max > 1
        self._taken: list[_Taken] = []
        """Those whose segments are not listed yet."""
        self._waiting: deque[_Taken] = deque(maxlen=waiting_max)
        self._is_free = True
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_late = self._is_stuck = self._is_resting = False
        self._has_died = False
        self._listed_s = ticks()
        self._thread = threading.Thread(target=self._run, name="live-samples", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process; None when there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def is_resting(self) -> bool:
        """Whether the ladder needs the processor."""
        return self._is_resting

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            self._is_open = False
            self._exchange.end(str(error.strerror))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._thread.join()
        shutil.rmtree(self._stream.work, ignore_errors=True)

    def watch(self, frame: VideoFrame, segment: int, place: int) -> None:
        """A frame of the stream, by its place in a segment, as it is given to the encoders."""
        if place == 0:
            self._is_stuck = self._ticks() - self._listed_s > STUCK_SEGMENTS * self._stream.segment_s
            self._rest_or_go_on()
            if self._is_wanted():
                self._taken.append(_Taken(segment))
        if place in self._places and self._taken and self._taken[-1].segment == segment:
            self._taken[-1].pictures[place] = frame

    def _is_wanted(self) -> bool:
        if not self._is_open or self._is_resting or len(self._taken) > 1:
            return False
        return self._takes_ahead or (self._is_free and not self._waiting and not self._taken)

    def listed(self, segment: int, ready_s: float, *, is_short: bool = False) -> None:
        """A segment is listed, so long after its last frame came. is_short: the ladder is not whole."""
        self._listed_s, self._is_stuck = self._ticks(), False
        self._look_after_process()
        self._is_late = is_short or ready_s > LATE_SHARE * self._stream.segment_s
        self._rest_or_go_on()
        while self._taken and self._taken[0].segment <= segment:
            taken = self._taken.pop(0)
            if taken.segment == segment and len(taken.pictures) == len(self._places) and not self._is_resting:
                with self._changed:
                    self._waiting.append(taken)
                    self._changed.notify_all()

    def _look_after_process(self) -> None:
        """It may die while nothing is asked of it."""
        if not self._has_died and self._process is not None and self._process.poll() is not None:
            with self._changed:
                self._has_died = True
                self._changed.notify_all()

    def _rest_or_go_on(self) -> None:
        process, is_late = self._process, self._is_late or self._is_stuck
        if is_late == self._is_resting or process is None or process.poll() is not None:
            return
        self._is_resting = is_late
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP if is_late else signal.SIGCONT)

    def _run(self) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return
        while taken := self._next():
            goes_on = self._ask(taken, process.stdin, process.stdout)
            shutil.rmtree(self._stream.work / "samples", ignore_errors=True)
            if not goes_on:
                break
            self._is_free = True
        if self._is_open:
            self._is_open = False
            self._exchange.end("")

    def _next(self) -> list[_Taken]:
        """All samples that wait, once there is one; none at the end, or when the process has died."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._has_died or not self._is_open)
            taken = list(self._waiting) if self._is_open and not self._has_died else []
            self._waiting.clear()
            self._is_free = False
            return taken

    def _ask(self, taken: Sequence[_Taken], stdin: IO[bytes], stdout: IO[bytes]) -> bool:
        """Whether the process goes on."""
        written = [(each.segment, folder) for each in taken if (folder := self._written(each)) is not None]
        if not written:
            return True
        try:
            stdin.write(
                self._exchange.ask([folder for _, folder in written], [number for number, _ in written]) + b"\n"
            )
            stdin.flush()
            while line := stdout.readline(_LINE_BYTES_MAX):
                with suppress(FormatError, StorageError):
                    if not self._exchange.hear(line):
                        continue
                return True
        except OSError:
            pass
        return False

    def _written(self, taken: _Taken) -> Path | None:
        """None when it cannot be written, as when the window is past it."""
        try:
            return write_sample(self._stream, taken.segment, taken.pictures)
        except (OSError, FormatError, StorageError):
            return None
