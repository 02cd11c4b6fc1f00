"""Predicting latency: what the fit finds of a device whose times are known, and what it says of its own error."""

from __future__ import annotations

import numpy as np
import pytest

from abr.core.device import Measurement
from abr.core.enhancement import Tier
from abr.errors import FormatError
from enhancers.networks.catalog import SQUEEZES, TIER_DEPTHS, architecture
from enhancers.profiling.latency_fit import fit_latency, gmacs_of, predict, work_of

TRUE_MS = {"frame": 0.8, "convolution": 6.0, "position": 9.0, "scaled": 2.5, "added": 1.5, "carried": 4.0}
SIZES = {4.0: ((320, 180), (480, 270)), 3.0: ((426, 240), (640, 360)), 2.0: ((640, 360), (960, 540))}


def takes_ms(name: str, size_px: tuple[int, int]) -> float:
    return sum(TRUE_MS[each] * units for each, units in work_of(name, size_px).items())


def measured(noise: float, threads: int = 1) -> list[Measurement]:
    random = np.random.default_rng(0)
    names = {scale: [str(architecture(scale, t)) for t in (*TIER_DEPTHS, Tier.REUSE)] for scale in SIZES}
    cells = [
        (name, size)
        for scale, sizes in SIZES.items()
        for name in (*names[scale], f"carry-x{scale:g}", f"upscale-x{scale:g}")
        for size in sizes
    ]
    return [
        Measurement(
            architecture=name,
            width_px=size[0],
            height_px=size[1],
            backend="test",
            threads=threads,
            p50_ms=(ms := takes_ms(name, size) * float(np.exp(random.normal(0, noise)))),
            p95_ms=1.2 * ms,
        )
        for name, size in cells
    ]


def test_a_device_whose_operations_take_known_times_is_found_out() -> None:
    (fit,) = fit_latency(measured(0.0))
    assert fit.operations_ms == pytest.approx(TRUE_MS, rel=1e-3)
    assert fit.error_p95 < 1e-4 and fit.p95_times == pytest.approx(1.2)


def test_sizes_and_depths_that_were_never_measured_are_predicted_and_say_so() -> None:
    (fit,) = fit_latency(measured(0.03))
    for name in ("plain-m4c32x4", "plain-m7c32x3", "plain-m3c32x2d2", "plain-m10c32x4r4"):
        for size_px in ((256, 144), (512, 288), (720, 404)):
            told = predict(fit, name, size_px)
            assert told.p50_ms == pytest.approx(takes_ms(name, size_px), rel=0.1)
            assert told.runs == 0 and told.p95_ms == pytest.approx(1.2 * told.p50_ms)
            assert 0.3 < told.fixed_ms < 1.5


def test_the_stated_error_is_that_of_sizes_left_out_and_flops_alone_do_worse() -> None:
    quiet, noisy = (fit_latency(measured(noise))[0] for noise in (0.01, 0.2))
    assert quiet.error_p50 < 0.03 < 0.05 < noisy.error_p50
    assert quiet.flops_error_p50 > 3 * quiet.error_p50


def test_no_operation_takes_less_than_no_time_whatever_was_measured() -> None:
    random = np.random.default_rng(1)
    odd = [
        Measurement(**{**{f: getattr(m, f) for f in m.__struct_fields__}, "p50_ms": ms, "p95_ms": ms})
        for m, ms in zip(measured(0.0), random.uniform(1, 100, 100), strict=False)
    ]
    (fit,) = fit_latency(odd)
    assert min(fit.operations_ms.values()) >= 0


def test_each_way_has_a_fit_of_its_own_and_predictions_are_no_evidence() -> None:
    one, two = measured(0.0), measured(0.0, threads=2)
    guesses = [predict(fit_latency(one)[0], each.architecture, (each.width_px, each.height_px)) for each in one]
    assert [(fit.threads, fit.cells) for fit in fit_latency([*one, *two, *guesses])] == [(1, len(one)), (2, len(two))]
    assert fit_latency(one[:3]) == (), "too little to go by"


def test_all_shipped_networks_have_known_work_and_others_are_refused() -> None:
    for scale in SQUEEZES:
        light, heavy = (gmacs_of(work_of(str(architecture(scale, tier)), (320, 180))) for tier in (Tier.LOW, Tier.HIGH))
        assert 0 < light < heavy
    with pytest.raises(FormatError):
        work_of("onnx-d8869a1278f9a103x2", (320, 180))
