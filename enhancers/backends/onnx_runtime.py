"""ONNX Runtime on the CPU, float32: for machines where it beats OpenVINO."""

from __future__ import annotations

import numpy as np
import onnxruntime

from enhancers.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN
from enhancers.checkpoint import Weights
from enhancers.frames import Plane
from enhancers.onnx_export import dumps_residual


class OnnxRuntimeNetwork:
    """A session of the network's residual, in 0–1."""

    def __init__(self, weights: Weights, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        data = dumps_residual(weights)
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._squeeze = weights.architecture.squeeze

    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """See LumaNetwork."""
        height, width = plain.shape
        margins = [(0, -size % self._squeeze) for size in y.shape]
        x = np.pad(y, margins, mode="edge")[None, None].astype(np.float32) / 255
        residual = self._session.run(None, {"y": x})[0][0, 0, :height, :width] * 255
        whole = np.clip(np.rint(residual), RESIDUAL_MIN, RESIDUAL_MAX)
        lifted: Plane = np.clip(plain + whole, 0, 255).astype(np.uint8)
        if out is None:
            return lifted
        out[:] = lifted
        return out
