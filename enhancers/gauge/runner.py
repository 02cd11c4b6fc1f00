"""A process that runs models on one backend, each in a child with bounds, and measures time, memory and energy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from abr.core.device import PowerModel
from abr.errors import FormatError
from abr.records import Record, dumps, loads
from enhancers.gauge.inspector import BOUNDS, check_onnx, read_model
from enhancers.gauge.records import Format, FoundFile, Port, Run
from enhancers.gauge.shapes import Shape, is_integer
from enhancers.profiling.energy import WatchedMeter, find_meter
from enhancers.profiling.forking import Work, serve
from enhancers.profiling.measuring import metered, peak_memory_bytes

TAKES = {
    "openvino": (Format.ONNX, Format.TFLITE, Format.OPENVINO),
    "onnxruntime": (Format.ONNX,),
    "torch": (Format.TORCHSCRIPT,),
}
"""What each backend runs."""
_WARM_UP, _RUNS_MIN, _RUNS_MAX = 2, 4, 200
_TORCH_SHAPES: tuple[Shape, ...] = ((1, 3, 224, 224), (1, 1, 224, 224), (1, 512), (1, 32, 32))
"""TorchScript does not tell what it takes: these are tried."""
_TYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "boolean": "bool", "u8": "uint8", "i8": "int8"}

Call = Callable[[], object]


class RunJob(Record, frozen=True):
    """Run a file with inputs of these shapes, for so many seconds."""

    file: FoundFile
    inputs: tuple[Port, ...]
    shapes: tuple[Shape, ...]
    threads: int
    seconds: float


class Setup(Record, frozen=True):
    """Which backend to load. power: of the model of energy."""

    backend: str
    power: PowerModel


def installed_backends() -> tuple[str, ...]:
    """Those of TAKES that have their package here."""
    return tuple(name for name in TAKES if find_spec(name))


def prepare(line: bytes) -> Work:
    """Load the backend, before forking."""
    setup = loads(line, Setup, what="setup")
    import_module(setup.backend)
    if setup.backend == "torch":
        import_module("torch.jit")
    return partial(_run_line, setup.backend, find_meter(setup.power))


def _run_line(backend: str, meter: WatchedMeter, line: bytes) -> bytes:
    job = loads(line, RunJob, what="job")
    try:
        call = _OPENERS[backend](job)
        return dumps(_measure(call, backend, job, meter))
    except FormatError as error:
        return failed(str(error).rstrip("."))
    except Exception as error:  # noqa: BLE001 (each runtime has errors of its own, and all of them are a failure to run)
        lines = [each.strip() for each in str(error).splitlines() if each.strip()]
        return failed(lines[-1][:300].rstrip(".") if lines else type(error).__name__)


def failed(reason: str) -> bytes:
    """The answer for what did not run; who asked knows on which backend."""
    return dumps(Run(backend="", threads=0, failure=reason[:1000]))


def _measure(call: Call, backend: str, job: RunJob, meter: WatchedMeter) -> Run:
    for _ in range(_WARM_UP):
        call()
    times_ms: list[float] = []

    def work() -> None:
        until_s = time.perf_counter() + job.seconds
        while len(times_ms) < _RUNS_MAX and (len(times_ms) < _RUNS_MIN or time.perf_counter() < until_s):
            began_s = time.perf_counter()
            call()
            times_ms.append((time.perf_counter() - began_s) * 1000)

    energy_j, source = metered(work, meter)
    return Run(
        backend=backend,
        threads=job.threads,
        p50_ms=round(float(np.percentile(times_ms, 50)), 4),
        p95_ms=round(float(np.percentile(times_ms, 95)), 4),
        runs=len(times_ms),
        memory_bytes=peak_memory_bytes(),
        energy_mj=round(1000 * energy_j / len(times_ms), 4),
        energy_source=source,
    )


def _open_openvino(job: RunJob) -> Call:
    import openvino

    if job.file.format is Format.ONNX:
        check_onnx(Path(job.file.path).read_bytes())
    model = read_model(job.file)
    if any(-1 in port.shape for port in job.inputs):
        model.reshape(dict(enumerate(job.shapes)))
    settings = {"INFERENCE_NUM_THREADS": job.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    given = _pictures(job.inputs, job.shapes)
    return lambda: request.infer(given, share_inputs=True)


def _open_onnxruntime(job: RunJob) -> Call:
    import onnxruntime

    data = Path(job.file.path).read_bytes()
    check_onnx(data)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job.threads, 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    given = {}
    for wanted, value in zip(session.get_inputs(), _pictures(job.inputs, job.shapes), strict=False):
        given[wanted.name] = value
    return lambda: session.run(None, given)


def _open_torch(job: RunJob) -> Call:
    """The first of some usual inputs that it takes. Raises FormatError when it takes none of them."""
    import torch

    torch.set_num_threads(job.threads)
    model: Any = torch.jit.load(job.file.path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    random = np.random.default_rng(0)
    for shape in _TORCH_SHAPES:
        value = torch.from_numpy(random.random(shape, np.float32))
        for given in ((value,), (value, 16_000)):  # sounds come with their rate

            def call(given: tuple[Any, ...] = given) -> object:
                with torch.inference_mode():
                    return model(*given)

            try:
                call()
            except Exception:  # noqa: BLE001 (its own code raises what it likes; the next shape is tried)
                continue
            return call
    raise FormatError("It does not tell the shape of its input, and took none of the usual ones.")


def _pictures(ports: Sequence[Port], shapes: Sequence[Shape]) -> list[Any]:
    """Noise from 0 to 1; whole numbers are 1, which is a token of every vocabulary."""
    random = np.random.default_rng(0)
    given: list[Any] = []
    for port, shape in zip(ports, shapes, strict=True):
        kind = np.dtype(_TYPES.get(port.dtype, port.dtype.replace("i", "int", 1).replace("u", "uint", 1)))
        given.append(
            np.ones(shape, kind) if is_integer(port.dtype) else np.asarray(random.random(shape, np.float32), kind)
        )
    return given


_OPENERS: dict[str, Callable[[RunJob], Call]] = {
    "openvino": _open_openvino,
    "onnxruntime": _open_onnxruntime,
    "torch": _open_torch,
}


if __name__ == "__main__":
    serve(prepare, BOUNDS, failed)
