"""A process that measures, each job in a child of its own: what one leaves behind is in no other's memory.

The process loads what its backend needs, once, and forks for each job. A child that breaks, hangs or is killed costs
its job and nothing else. Jobs go in and answers come out as lines of JSON.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Annotated, Self

from msgspec import Meta

from abr.core.device import Measurement, PowerModel
from abr.core.enhancement import Tier
from abr.errors import ToprungError
from abr.records import Record, dumps, loads
from enhancers.profiling import measuring
from enhancers.profiling.energy import WatchedMeter, find_meter
from enhancers.profiling.measuring import shipped_weights
from enhancers.runtime.onnx_check import loads_onnx

_JOB_MAX_S = 30.0
"""Opening and measuring; what takes longer is of no use to any player."""
_ANSWER_MAX_BYTES = 1 << 16


class Job(Record, frozen=True):
    """What to measure. network: of an imported network, its ONNX file; tier: of one of ours; neither: frame plans.

    runs, seconds: as of Effort.
    """

    scale: float
    width_px: int
    height_px: int
    backend: str
    threads: int
    runs: int
    seconds: float
    tier: Tier | None = None
    network: bytes = b""


class Answer(Record, frozen=True):
    """What was measured; nothing, and why, when it could not be."""

    measurements: tuple[Measurement, ...] = ()
    failure: Annotated[str, Meta(max_length=512)] = ""
    peak_bytes: int = 0


class MeasuringProcess:
    """Measures for one backend. Use it in a `with` block, which ends the process."""

    def __init__(self, backend: str, power: PowerModel) -> None:
        self._setup = dumps({"backend": backend, "power": power})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "enhancers.profiling.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._send(self._setup)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        with self._process as process:
            process.kill()

    def base_memory_bytes(self) -> int:
        """Peak of a child that measures nothing; waits until the backend is loaded. 0 when that failed."""
        return self._answer().peak_bytes

    def measure(self, job: Job) -> Answer:
        """Waits for it; the answer tells what went wrong, if something did."""
        self._send(dumps(job))
        return self._answer()

    def _send(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _answer(self) -> Answer:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline(_ANSWER_MAX_BYTES)
        return loads(line, Answer, what="answer") if line else Answer(failure="the measuring process ended")


class _Setup(Record, frozen=True):
    backend: str
    power: PowerModel


def main() -> None:
    """Load, answer with the memory that takes, then a line for each job until there are no more."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print
    setup = loads(sys.stdin.buffer.readline(), _Setup, what="setup")
    _load(setup.backend)
    meter = find_meter(setup.power, on_gpu=setup.backend == "cuda")
    answers.write(_in_child(None, meter))
    for line in sys.stdin.buffer:
        answers.write(_in_child(loads(line, Job, what="job"), meter))


def _load(backend: str) -> None:
    """Before forking, so that each child begins warm: all that opening an enhancer imports, and no more."""
    kind = backend.partition("-")[0]
    module = {"torch": "torch_eager", "cuda": "torch_eager", "onnxruntime": "onnx_runtime"}.get(kind, "openvino")
    import_module(f"enhancers.runtime.backends.{module}")
    import_module("enhancers.runtime.backends.openvino")  # adds what any of them yields


def _in_child(job: Job | None, meter: WatchedMeter) -> bytes:
    """The answer of a child, as a line. It has _JOB_MAX_S."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with suppress(BaseException):
            os.close(read)
            os.write(write, dumps(_answer_of(job, meter)))
        os._exit(0)
    os.close(write)
    try:
        in_time = bool(select.select([read], [], [], _JOB_MAX_S)[0])
        line = os.read(read, _ANSWER_MAX_BYTES) if in_time else b""
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)  # one that hangs, or only has to end
        _, status = os.waitpid(child, 0)
    return (line or dumps(Answer(failure=_death(in_time, status)))) + b"\n"


def _death(in_time: bool, status: int) -> str:
    if not in_time:
        return f"not done within {_JOB_MAX_S:g} s"
    return f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without an answer"


def _answer_of(job: Job | None, meter: WatchedMeter) -> Answer:
    if job is None:
        return Answer(peak_bytes=measuring.peak_memory_bytes())
    try:
        return Answer(measurements=tuple(_measure(job, meter)), peak_bytes=measuring.peak_memory_bytes())
    except (ToprungError, RuntimeError, ValueError, MemoryError) as error:
        return Answer(failure=str(error)[:512] or type(error).__name__)


def _measure(job: Job, meter: WatchedMeter) -> list[Measurement]:
    effort, size_px = measuring.Effort(runs=job.runs, seconds=job.seconds), (job.width_px, job.height_px)
    if job.tier is None and not job.network:
        return measuring.measure_plan_actions(job.scale, size_px, job.threads, effort, meter)
    weights = loads_onnx(job.network) if job.network else shipped_weights(job.scale, job.tier or Tier.LOW)
    return [measuring.measure_enhancer(weights, size_px, job.backend, job.threads, effort, meter)]


if __name__ == "__main__":
    main()
