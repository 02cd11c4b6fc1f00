"""Predicts latency from operations: how long each kind takes with one backend and number of threads, by least squares.

FLOPs alone predict badly (gaugeNN, arXiv 2109.13963, section 6): scaling and adding up move memory and multiply little,
and each frame costs something whatever its size. A frame of an enhancer is so much of each of these:

    frame        1
    convolution  10⁹ multiply-accumulates, of luma and chroma
    position     10⁶ positions of the working grid
    scaled       10⁶ pixels made by the display scaler
    added        10⁶ pixels that a residual is added to
    carried      10⁶ pixels whose gain is carried from the frame before
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from abr.core.arrays import Floats
from abr.core.device import LatencyFit, Measurement
from abr.core.frame_plan import carry_name, upscale_name
from abr.errors import FormatError
from enhancers.networks import catalog
from enhancers.networks.plain import PlainArchitecture, parse
from enhancers.profiling.least_squares import solve_relative
from enhancers.profiling.measuring import display_px

OPERATIONS = ("frame", "convolution", "position", "scaled", "added", "carried")
_CELLS_MIN = 4
_ACTIONS = {
    name(scale): (carried, scale)
    for scale in catalog.SQUEEZES
    for name, carried in ((upscale_name, False), (carry_name, True))
}

Work = Mapping[str, float]
"""Units of each operation."""


def work_of(architecture: str, size_px: tuple[int, int]) -> Work:
    """What a frame of this input size takes. Raises FormatError for what is none of ours, such as imported networks."""
    if architecture in _ACTIONS:
        carried, scale = _ACTIONS[architecture]
        shown = _megapixels(int(size_px[0] * scale), int(size_px[1] * scale))
        return {"frame": 1.0, "scaled": shown + _rescaled(size_px, scale), "carried": shown * carried}
    return _network_work(parse(architecture), size_px)


def gmacs_of(work: Work) -> float:
    """10⁹ multiply-accumulates of a frame: all that a model by FLOPs knows."""
    return work.get("convolution", 0.0)


def _network_work(network: PlainArchitecture, size_px: tuple[int, int]) -> Work:
    """Of a network that runs on one frame in some, the mean."""
    width_px, height_px = size_px
    ran = 1 / network.reuse
    shown = _megapixels(*network.shown_px(*size_px))
    positions = -(-width_px // network.squeeze) * -(-height_px // network.squeeze)
    chroma = catalog.chroma_architecture(network.scale)
    columns, rows = chroma.grid(*size_px)
    macs = positions * sum(each.macs for each in network.layers) + columns * rows * sum(
        each.macs for each in chroma.layers
    )
    return {
        "frame": 1.0,
        "convolution": ran * macs / 1e9,
        "position": ran * (positions + columns * rows) / 1e6,
        "scaled": shown + _rescaled(size_px, network.scale),
        "added": shown,
        "carried": (1 - ran) * shown,
    }


def _rescaled(size_px: tuple[int, int], scale: float) -> float:
    """Pixels of the display, when the network's picture is of another size and has to be scaled once more."""
    shown, display = (int(size_px[0] * scale), int(size_px[1] * scale)), display_px(size_px, scale)
    return 0.0 if shown == display else _megapixels(*display)


def _megapixels(width_px: int, height_px: int) -> float:
    return width_px * height_px / 1e6


def fit_latency(measurements: Iterable[Measurement]) -> tuple[LatencyFit, ...]:
    """A fit for each backend and number of threads that enough was measured with; predictions are no evidence."""
    ways: dict[tuple[str, int], list[Measurement]] = {}
    for each in measurements:
        if each.runs and _is_ours(each.architecture):
            ways.setdefault((each.backend, each.threads), []).append(each)
    fits = (_fit_way(*way, cells) for way, cells in ways.items() if len(_sizes(cells)) >= 2)
    return tuple(fit for fit in fits if fit is not None)


def predict(fit: LatencyFit, architecture: str, size_px: tuple[int, int]) -> Measurement:
    """What a frame would take, with `runs` 0. Raises FormatError for architectures that are none of ours."""
    work = work_of(architecture, size_px)
    p50_ms = max(0.001, sum(fit.operations_ms.get(name, 0.0) * units for name, units in work.items()))
    return Measurement(
        architecture=architecture,
        width_px=size_px[0],
        height_px=size_px[1],
        backend=fit.backend,
        threads=fit.threads,
        p50_ms=p50_ms,
        p95_ms=p50_ms * fit.p95_times,
        runs=0,
        fixed_ms=min(p50_ms, fit.operations_ms.get("frame", 0.0)),
    )


def _is_ours(architecture: str) -> bool:
    try:
        work_of(architecture, (16, 16))
    except FormatError:
        return False
    return True


def _sizes(cells: Sequence[Measurement]) -> list[tuple[int, int]]:
    return sorted({(each.width_px, each.height_px) for each in cells})


def _fit_way(backend: str, threads: int, cells: Sequence[Measurement]) -> LatencyFit | None:
    if len(cells) < _CELLS_MIN:
        return None
    works = [work_of(each.architecture, (each.width_px, each.height_px)) for each in cells]
    table = np.array([[work.get(name, 0.0) for name in OPERATIONS] for work in works])
    flops = np.array([[1.0, gmacs_of(work)] for work in works])
    times_ms = np.array([each.p50_ms for each in cells])
    size_of = [(each.width_px, each.height_px) for each in cells]
    error, flops_error = (_errors_across(each, times_ms, size_of) for each in (table, flops))
    return LatencyFit(
        backend=backend,
        threads=threads,
        cells=len(cells),
        operations_ms=dict(zip(OPERATIONS, solve_relative(table, times_ms).round(6).tolist(), strict=True)),
        p95_times=max(1.0, float(np.median([each.p95_ms / each.p50_ms for each in cells]))),
        error_p50=float(np.percentile(error, 50)),
        error_p95=float(np.percentile(error, 95)),
        flops_error_p50=float(np.percentile(flops_error, 50)),
        flops_error_p95=float(np.percentile(flops_error, 95)),
    )


def _errors_across(table: Floats, times_ms: Floats, sizes: Sequence[tuple[int, int]]) -> Floats:
    """Relative errors of all cells, those of each size predicted from the cells of the others."""
    errors = np.empty(len(times_ms))
    for size in set(sizes):
        held = np.array([each == size for each in sizes])
        found = table[held] @ solve_relative(table[~held], times_ms[~held])
        errors[held] = np.abs(found / times_ms[held] - 1)
    return errors
