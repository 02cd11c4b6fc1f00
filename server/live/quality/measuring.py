"""The quality of a stream, measured while it runs, by a process beside it (`enhancers.workflows.live_quality`).

It keeps to its share of one core. One sample is under way at a time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from abr.core.live.quality import Answer, LiveQuality, Sample
from abr.records import dumps, loads
from server.live.samples.files import SampledStream
from server.live.samples.process import SampledProcess

COMMAND = (sys.executable, "-m", "enhancers.workflows.live_quality")


class Measuring(SampledProcess):
    """Measures a live title, with `share` of one core.

    measured: hears of the quality after each sample; told: one sentence for people.
    """

    def __init__(
        self,
        stream: SampledStream,
        share: float,
        *,
        measured: Callable[[LiveQuality], None],
        told: Callable[[str], None],
        command: Sequence[str] = COMMAND,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, [*command, "--share", f"{share:g}"], _MeasuringExchange(measured, told), ticks=ticks)


class _MeasuringExchange:
    def __init__(self, measured: Callable[[LiveQuality], None], told: Callable[[str], None]) -> None:
        self._measured, self._tell = measured, told

    def ask(self, folders: Sequence[Path], _segments: Sequence[int]) -> bytes:
        """See SampleExchange."""
        return dumps(Sample(folder=str(folders[-1])))

    def hear(self, line: bytes) -> bool:
        """See SampleExchange."""
        answer = loads(line, Answer, what="what was measured")
        if answer.quality is not None:
            self._measured(answer.quality)
        return True

    def end(self, problem: str) -> None:
        """See SampleExchange."""
        if problem:
            self._tell(f"nothing is measured: {problem}.")
        else:
            self._tell("what measures its pictures has ended; decisions go on by what was measured until then.")
