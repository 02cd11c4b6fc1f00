"""A network of ours as one ONNX file: luma (and chroma) in, enhanced out, interpolation included.

The skip is swscale's Lanczos as a convolution: each pixel of an output cell is a fixed sum over the input around it. So
the file needs nothing of ours; it differs from what we show by rounding only, which `measure_difference` measures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from abr.errors import FormatError
from abr.files import write_file
from enhancers.networks.checkpoint import Weights
from enhancers.runtime.backends.onnx_graph import dumps_onnx
from enhancers.runtime.encode import compress
from enhancers.runtime.frames import decode_segment
from enhancers.runtime.loader import open_weights
from enhancers.runtime.sample_pictures import make_colourful_pictures

_CRF = 4
DIFFERENCE_MAX = 3
"""Code values: swscale rounds its own sums, and noise finds all of that."""


def export_onnx(weights: Weights, weights_sha256: str, output: Path) -> int:
    """Write the ONNX file. Returns `measure_difference` of it, in code values.

    Raises FormatError when that is more than DIFFERENCE_MAX, StorageError when the disk refuses.
    """
    data = dumps_onnx(weights, weights_sha256)
    worst = measure_difference(data, weights)
    if worst > DIFFERENCE_MAX:
        raise FormatError(
            f"ONNX Runtime's picture is {worst} of 255 away from ours; at most {DIFFERENCE_MAX} is right."
        )
    write_file(output, data)
    return worst


def measure_difference(data: bytes, weights: Weights, size_px: tuple[int, int] = (160, 88)) -> int:
    """The largest difference, in code values, between ONNX Runtime's picture and that of our float32 runtime.

    Over pictures of noise of this size, which is harder than film.
    """
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    shown_px = weights.architecture.shown_px(*size_px)
    ours = open_weights(weights, "", size_px=size_px, display_px=shown_px, backend="torch")
    planes = 3 if weights.chroma else 1
    worst = 0
    # Compressed once, as chroma is placed where a decoder says it is.
    for frame in decode_segment(compress(make_colourful_pictures(*size_px), _CRF)):
        given = {
            name: plane[None, None].astype(np.float32) / 255
            for name, plane in zip("yuv"[:planes], frame.planes()[:planes], strict=True)
        }
        shown = ours.enhance(frame).planes()[:planes]
        for theirs, plane in zip(session.run(None, given), shown, strict=True):
            worst = max(worst, int(np.abs(np.rint(theirs[0, 0] * 255) - plane).max()))
    return worst
