"""What FLOPs alone would have predicted, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from abr.core.arrays import Floats
from enhancers.gauge.records import FlopsFit, GaugedModel
from enhancers.profiling.least_squares import solve_relative

BACKEND = "openvino"
"""It runs most formats, so that most models can be compared on it."""
_MODELS_MIN = 4


def predict_by_flops(models: Sequence[GaugedModel]) -> tuple[list[GaugedModel], FlopsFit | None]:
    """`models` with `flops_ms`, each from the others; and how far off that is. Without enough models, as they were."""
    known = {index: ms for index, model in enumerate(models) if (ms := _measured_ms(model)) is not None}
    if len(known) < _MODELS_MIN:
        return list(models), None
    indices = list(known)
    times_ms = np.array(list(known.values()))
    table = np.array([[1.0, _gmacs(models[index])] for index in indices])
    told = _each_from_the_others(table, times_ms)
    predicted = list(models)
    for index, ms in zip(indices, told.tolist(), strict=True):
        predicted[index] = msgspec.structs.replace(models[index], flops_ms=round(ms, 4))
    fixed_ms, per_gmac = solve_relative(table, times_ms).tolist()
    errors = np.abs(told / times_ms - 1)
    return predicted, FlopsFit(
        backend=BACKEND,
        models=len(known),
        fixed_ms=fixed_ms,
        ms_per_gmac=per_gmac,
        error_p50=float(np.percentile(errors, 50)),
        error_p95=float(np.percentile(errors, 95)),
    )


def measured(model: GaugedModel) -> float | None:
    """Median milliseconds on the backend that models are compared on, with one thread."""
    return next((run.p50_ms for run in model.runs if run.backend == BACKEND and run.runs and run.threads == 1), None)


def _measured_ms(model: GaugedModel) -> float | None:
    return measured(model) if model.anatomy is not None and model.anatomy.macs else None


def _gmacs(model: GaugedModel) -> float:
    assert model.anatomy is not None
    return (model.anatomy.macs or 0.0) / 1e9


def _each_from_the_others(table: Floats, times_ms: Floats) -> Floats:
    told = np.empty(len(times_ms))
    for index in range(len(times_ms)):
        others = np.arange(len(times_ms)) != index
        told[index] = float(table[index] @ solve_relative(table[others], times_ms[others]))
    return told
