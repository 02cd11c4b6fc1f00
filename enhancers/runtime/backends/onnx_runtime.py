"""ONNX Runtime on the CPU, float32: for machines where it beats OpenVINO."""

from __future__ import annotations

import numpy as np
import onnxruntime

from abr.media.planes import Plane
from enhancers.networks.checkpoint import Weights
from enhancers.networks.chroma import Folded
from enhancers.runtime.backends.onnx_graph import dumps_chroma_cells, dumps_residual
from enhancers.runtime.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN, Residuals


class OnnxRuntimeNetwork:
    """A session of the network's residual, in 0–1."""

    def __init__(self, weights: Weights, threads: int) -> None:
        self._session = _open_session(dumps_residual(weights), threads)
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


class OnnxRuntimeChroma:
    """A session of a chroma part's cells, in 0–1."""

    def __init__(self, weights: Weights, threads: int) -> None:
        self._session = _open_session(dumps_chroma_cells(weights), threads)

    def run(self, folded: Folded) -> Residuals:
        """See ChromaNetwork."""
        cells = self._session.run(None, {"folded": folded[None].astype(np.float32) / 255})[0][0] * 255
        whole = np.clip(np.rint(cells), RESIDUAL_MIN, RESIDUAL_MAX).astype(np.int8)
        return np.ascontiguousarray(whole.transpose(1, 2, 0))


def _open_session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
