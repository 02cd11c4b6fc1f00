"""From paths to a report: find, merge what is the same, read, run, compare."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from abr.core.device import PowerModel
from abr.errors import InputError
from abr.progress import ShareListener
from abr.records import dumps, loads
from enhancers.gauge.discovery import search
from enhancers.gauge.flops import predict_by_flops
from enhancers.gauge.inspector import Setup as InspectorSetup
from enhancers.gauge.records import Format, FoundFile, GaugedModel, GaugeReport, Inspection, Run
from enhancers.gauge.runner import TAKES, RunJob, Setup, installed_backends
from enhancers.gauge.tasks import classify
from enhancers.profiling.forking import Bounds, ForkingProcess, run_in_child
from enhancers.profiling.machine import this_device

_SEARCH = Bounds(seconds=300.0, memory_bytes=4 << 30)
_PLACES_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeRequest:
    """What to look through. run: run what is found, for so many seconds a backend and number of threads."""

    paths: Sequence[Path]
    power: PowerModel
    threads: Sequence[int] = (1,)
    seconds: float = 1.0
    run: bool = True


def gauge(request: GaugeRequest, progress: ShareListener) -> GaugeReport:
    """Raises InputError when there is nothing at one of the paths, or no model in any."""
    for path in request.paths:
        if not path.exists():
            raise InputError(f"There is nothing at {path}; give files, folders or packages.")
    with tempfile.TemporaryDirectory(prefix="toprung-gauge-") as scratch:
        files, looked_at, skipped = find_files(request.paths, Path(scratch), progress)
        if not files:
            why = f" Not looked into: {'; '.join(skipped[:3])}." if skipped else ""
            raise InputError(f"No model was found in {looked_at} files.{why}")
        models = list(_inspect(files, progress))
        if request.run:
            models = list(_run_all(models, request, progress))
    models, flops = predict_by_flops([_nameless(model) for model in models])
    return GaugeReport(
        device=this_device(),
        power=request.power,
        files=looked_at,
        models=tuple(models),
        skipped=tuple(skipped[:256]),
        flops=flops,
    )


def find_files(paths: Sequence[Path], scratch: Path, progress: ShareListener) -> tuple[list[FoundFile], int, list[str]]:
    """The models in all paths, each content once; how many files were looked at; what could not be."""
    by_digest: dict[str, FoundFile] = {}
    looked_at, skipped = 0, []
    for number, path in enumerate(paths):
        progress("Looking for models", number / len(paths))
        folder = scratch / str(number)
        folder.mkdir()
        answer, death = run_in_child(partial(search, path, folder), _SEARCH)
        if not answer:
            skipped.append(f"{path}: looking through it {death}")
            continue
        found = json.loads(answer)
        looked_at += found["files"]
        skipped += found["skipped"]
        for sha256, kind, size_bytes, where, place, companion in found["models"]:
            known = by_digest.get(sha256)
            if known is not None:
                if place not in known.places and len(known.places) < _PLACES_MAX:
                    by_digest[sha256] = msgspec.structs.replace(known, places=(*known.places, place))
                continue
            by_digest[sha256] = FoundFile(
                sha256=sha256,
                format=Format(kind),
                size_bytes=size_bytes,
                path=where,
                places=(place,),
                companion=companion,
            )
    return list(by_digest.values()), looked_at, skipped


def _inspect(files: Sequence[FoundFile], progress: ShareListener) -> Iterator[GaugedModel]:
    formats = tuple({file.format for file in files})
    with ForkingProcess("enhancers.gauge.inspector", dumps(InspectorSetup(formats=formats))) as process:
        for number, file in enumerate(files):
            progress("Reading models", number / len(files))
            line = process.ask(dumps(file))
            read = loads(line, Inspection, what="inspection") if line else Inspection(failure="the reader ended")
            if read.anatomy is None:
                task = "a checkpoint" if file.format is Format.PICKLE and not read.failure else "unknown"
                why = "it is not opened: opening a pickle runs what its maker put into it" if task != "unknown" else ""
                yield GaugedModel(file=file, failure=read.failure, task=task, why=why)
                continue
            task, why = _task_of(file, read)
            yield GaugedModel(file=file, anatomy=read.anatomy, task=task, why=why)


def _task_of(file: FoundFile, read: Inspection) -> tuple[str, str]:
    if file.format is Format.SAFETENSORS:
        return "weights alone", "the file has no graph"
    if file.format is Format.TORCHSCRIPT:
        return "unknown", "TorchScript does not tell the shapes of its inputs"
    assert read.anatomy is not None
    return classify(read.anatomy)


def _run_all(models: Sequence[GaugedModel], request: GaugeRequest, progress: ShareListener) -> Iterator[GaugedModel]:
    with ExitStack() as stack:
        processes = {
            backend: stack.enter_context(
                ForkingProcess("enhancers.gauge.runner", dumps(Setup(backend=backend, power=request.power)))
            )
            for backend in installed_backends()
            if any(model.file.format in TAKES[backend] for model in models)
        }
        for number, model in enumerate(models):
            progress("Running models", number / len(models))
            backends = [each for each in processes if model.anatomy and model.file.format in TAKES[each]]
            runs = tuple(
                _run(processes[backend], backend, model, threads, request.seconds)
                for backend in backends
                for threads in request.threads
            )
            yield msgspec.structs.replace(model, runs=runs)


def _run(process: ForkingProcess, backend: str, model: GaugedModel, threads: int, seconds: float) -> Run:
    assert model.anatomy is not None
    job = RunJob(
        file=model.file,
        inputs=model.anatomy.inputs,
        shapes=model.anatomy.ran_shapes,
        threads=threads,
        seconds=seconds,
    )
    line = process.ask(dumps(job))
    if not line:
        return Run(backend=backend, threads=threads, failure="the process that runs models ended")
    return msgspec.structs.replace(loads(line, Run, what="run"), backend=backend, threads=threads)


def _nameless(model: GaugedModel) -> GaugedModel:
    """Without where it was unpacked, which is gone."""
    return msgspec.structs.replace(model, file=msgspec.structs.replace(model.file, path="", companion=""))
