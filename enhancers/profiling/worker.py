"""A process that measures, each job in a child of its own: what one leaves behind is in no other's memory."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Annotated, Self

from msgspec import Meta

from abr.core.device import Measurement, PowerModel
from abr.core.enhancement import Tier
from abr.errors import ToprungError
from abr.records import Record, dumps, loads
from enhancers.networks.derived import is_derived, loads_derived
from enhancers.profiling import measuring
from enhancers.profiling.energy import WatchedMeter, find_meter
from enhancers.profiling.forking import Bounds, ForkingProcess, Work, serve
from enhancers.profiling.measuring import shipped_weights
from enhancers.runtime.backends import AnyNetwork
from enhancers.runtime.onnx_check import loads_onnx

_BOUNDS = Bounds(seconds=30.0)
"""Of opening and measuring; what takes longer is of no use to any player."""


class Job(Record, frozen=True):
    """What to measure. network: the file of an imported or derived network; tier: of one of ours; neither: frame plans.

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


class _Setup(Record, frozen=True):
    backend: str
    power: PowerModel


class MeasuringProcess:
    """Measures for one backend, and others of the same packages. Use it in a `with` block, which ends the process."""

    def __init__(self, backend: str, power: PowerModel) -> None:
        self._process = ForkingProcess(__name__, dumps(_Setup(backend=backend, power=power)))

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.__exit__(kind, error, tb)

    def base_memory_bytes(self) -> int:
        """Peak of a child that measures nothing; waits until the backend is loaded. 0 when that failed."""
        return self._ask(None).peak_bytes

    def measure(self, job: Job) -> Answer:
        """Waits for it; the answer tells what went wrong, if something did."""
        return self._ask(job)

    def _ask(self, job: Job | None) -> Answer:
        line = self._process.ask(dumps(job))
        return loads(line, Answer, what="answer") if line else Answer(failure="the measuring process ended")


def prepare(setup_line: bytes) -> Work:
    """Before forking, so that each child begins warm: load all that opening an enhancer imports, and no more."""
    setup = loads(setup_line, _Setup, what="setup")
    kind = setup.backend.partition("-")[0]
    module = {"torch": "torch_eager", "cuda": "torch_eager", "onnxruntime": "onnx_runtime"}.get(kind, "openvino")
    import_module(f"enhancers.runtime.backends.{module}")
    import_module("enhancers.runtime.backends.openvino")  # adds what any of them yields
    return partial(_answer_to, find_meter(setup.power, on_gpu=kind == "cuda"))


def _answer_to(meter: WatchedMeter, line: bytes) -> bytes:
    job = loads(line, Job | None, what="job")  # type: ignore[arg-type]
    try:
        measurements = tuple(_measure(job, meter)) if job else ()
    except (ToprungError, RuntimeError, ValueError, MemoryError) as error:
        return _failed(str(error) or type(error).__name__)
    return dumps(Answer(measurements=measurements, peak_bytes=measuring.peak_memory_bytes()))


def _failed(reason: str) -> bytes:
    return dumps(Answer(failure=reason[:512]))


def _measure(job: Job, meter: WatchedMeter) -> list[Measurement]:
    effort, size_px = measuring.Effort(runs=job.runs, seconds=job.seconds), (job.width_px, job.height_px)
    if job.tier is None and not job.network:
        return measuring.measure_plan_actions(job.scale, size_px, job.threads, effort, meter)
    weights = _loaded(job.network) if job.network else shipped_weights(job.scale, job.tier or Tier.LOW)
    return [measuring.measure_enhancer(weights, size_px, job.backend, job.threads, effort, meter)]


def _loaded(data: bytes) -> AnyNetwork:
    return loads_derived(data).weights if is_derived(data) else loads_onnx(data)


if __name__ == "__main__":
    serve(prepare, _BOUNDS, _failed)
