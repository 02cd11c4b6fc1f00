"""Imported networks by OpenVINO: uint8 luma in and out, whether the network takes luma or RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
import openvino.opset13 as op

from abr.media.planes import Plane
from enhancers.networks.imported import ImportedNetwork
from enhancers.runtime.backends.openvino import compile_model, macs_of, read_onnx, set_input_size

_BLACK, _RANGE = 16, 219
"""Limited range luma, ITU-R BT.709: RGB networks are given the full range."""
_LUMA = (0.2126, 0.7152, 0.0722)


class OpenVinoImportedNetwork:
    """A compiled network. `precision`: bf16 or fp32. The plain picture is not used."""

    def __init__(
        self, network: ImportedNetwork, width_px: int, height_px: int, threads: int, *, precision: str
    ) -> None:
        model = wrap_network(network, width_px, height_px)
        self._request = compile_model(model, threads, precision).create_infer_request()

    def run(self, y: Plane, plain: Plane, out: Plane | None = None) -> Plane:
        """See LumaNetwork."""
        lifted: Plane = self._request.infer([y[None, None]], share_inputs=True, share_outputs=True)[0][0, 0]
        if out is None:
            return lifted.copy()
        out[:] = lifted
        return out


def wrap_network(network: ImportedNetwork, width_px: int, height_px: int) -> Any:
    """The network between uint8 luma (1, 1, H, W) and uint8 luma (1, 1, r·H, r·W). Raises FormatError."""
    model = set_input_size(read_onnx(network.data), network.channels, width_px, height_px)
    macs_of(model)  # refuses tensors that are too large at this size
    y = op.parameter([1, 1, height_px, width_px], np.uint8, name="y")
    black, span = (_BLACK, _RANGE) if network.channels == 3 else (0, 255)
    x = op.multiply(op.subtract(op.convert(y, "f32"), _number(black)), _number(network.white / span))
    x = op.concat([x] * network.channels, 1) if network.channels > 1 else x
    for target in model.inputs[0].get_target_inputs():
        target.replace_source_output(x.output(0))
    lifted: Any = model.get_results()[0].input(0).get_source_output()
    if network.channels == 3:
        lifted = op.convolution(lifted, _weights(_LUMA), [1, 1], [0, 0], [0, 0], [1, 1])
    lifted = op.add(op.multiply(lifted, _number(span / network.white)), _number(black))
    lifted = op.convert(op.clamp(op.round(lifted, "half_to_even"), 0, 255), "u8")
    return openvino.Model([lifted], [y], str(network.architecture))


def _number(value: float) -> Any:
    return op.constant(np.float32(value))


def _weights(values: tuple[float, ...]) -> Any:
    return op.constant(np.array(values, np.float32).reshape(1, -1, 1, 1))
