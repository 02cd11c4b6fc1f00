"""Eight bits on processors that this machine can act as: the picture is the one that all the others show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks
from enhancers.runtime.backends import BACKENDS
from enhancers.runtime.sample_pictures import make_pictures

SIZE_PX = (160, 90)
PROCESSORS = ("AVX512_CORE", "AVX2", "SSE41")
"""The instruction sets that OpenVINO may use at most; none of them has VNNI."""
_SHOW = """
import sys
from tests.enhancers.runtime.test_processors import lift
sys.stdout.buffer.write(lift(float(sys.argv[1]), "openvino-int8").tobytes())
"""


def lift(scale: float, backend: str) -> np.ndarray:
    """A bright picture lifted by the generic network of this scale."""
    architecture = catalog.architecture(scale)
    network = BACKENDS.get(backend)(loads_chunks(catalog.generic_chunks(architecture)), *SIZE_PX, 1)
    width_px, height_px = architecture.shown_px(*SIZE_PX)
    bright = np.minimum(make_pictures(*SIZE_PX)[0].y, 195) + np.uint8(60)
    return network.run(bright, np.full((height_px, width_px), 128, np.uint8))


@pytest.mark.parametrize("scale", [4.0, 2.0])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_processor_without_vnni_shows_the_picture_that_others_show(processor: str, scale: float) -> None:
    exact = lift(scale, "openvino-fp32").astype(int)
    found = subprocess.run(
        [sys.executable, "-c", _SHOW, f"{scale:g}"],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": processor},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
    )
    shown = np.frombuffer(found.stdout, np.uint8).reshape(exact.shape).astype(int)
    here = lift(scale, "openvino-int8").astype(int)
    assert _difference(shown, exact) < 1.8 * _difference(here, exact)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))
