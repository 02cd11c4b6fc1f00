"""Your own super-resolution network, brought as ONNX.

This makes the smallest network that is worth showing: one convolution that turns each pixel into 2 × 2, fitted by least
squares to what the film's own rung has lost. Any ONNX file from a picture to one 1.5, 2, 3 or 4 times its size is
brought the same way. Fit it on a rung half the display's size, then let Toprung measure it, and offer it where it pays:

    toprung prepare film.mp4 --library titles --heights 180,360,720
    python examples/onnx_network.py film.mp4 titles/film/video/360p film-x2.onnx
    toprung import-model film-x2.onnx film --library titles --source film.mp4
    toprung profile --model film-x2.onnx

Needs onnx: pip install 'toprung[onnx]'.
"""

from __future__ import annotations

import argparse
import io
from itertools import islice
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SCALE = 2
REACH = 3
"""Pixels that the kernel looks at on each side: 7 × 7."""
FRAMES = 24

Pictures = npt.NDArray[np.float64]


def decode(file: str | io.BytesIO) -> Pictures:
    """The luma of the first frames: (N, H, W), 0 to 1."""
    with av.open(file, "r") as container:
        frames = islice(container.decode(video=0), FRAMES)
        return np.stack([frame.to_ndarray(format="gray8").astype(np.float64) for frame in frames]) / 255


def fit_kernels(small: Pictures, large: Pictures) -> npt.NDArray[np.float32]:
    """The four kernels, one for each pixel of a cell of 2 × 2, with the least squared error: (4, 1, 7, 7).

    Every value is told as its difference from the pixel in the middle. So the kernels add up to one, and a flat picture
    stays as bright as it was.
    """
    side = 2 * REACH + 1
    padded = np.pad(small, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2)).reshape(-1, side * side)
    middle = side * side // 2
    inputs = around - around[:, middle : middle + 1]
    count, height, width = small.shape
    cells = large.reshape(count, height, SCALE, width, SCALE).transpose(0, 1, 3, 2, 4).reshape(-1, SCALE**2)
    kernels = np.linalg.lstsq(inputs.T @ inputs, inputs.T @ (cells - small.reshape(-1, 1)), rcond=None)[0].T
    kernels[:, middle] = 0
    kernels[:, middle] = 1 - kernels.sum(axis=1)
    return kernels.reshape(SCALE**2, 1, side, side).astype(np.float32)


def as_onnx(kernels: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """The network: pad by repeating the edge, convolve, and unfold four channels into 2 × 2 pixels.

    Takes luma, float32 (N, 1, H, W), 0 to 1; any height and width. Gives (N, 1, 2·H, 2·W).
    """
    pads = np.array([0, 0, REACH, REACH, 0, 0, REACH, REACH])
    graph = helper.make_graph(
        [
            helper.make_node("Pad", ["picture", "pads"], ["padded"], mode="edge"),
            helper.make_node("Conv", ["padded", "kernels"], ["cells"]),
            helper.make_node("DepthToSpace", ["cells"], ["larger"], blocksize=SCALE, mode="CRD"),
        ],
        "film-x2",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 1, "height", "width"])],
        [helper.make_tensor_value_info("larger", TensorProto.FLOAT, ["n", 1, "height2", "width2"])],
        [numpy_helper.from_array(pads, "pads"), numpy_helper.from_array(kernels, "kernels")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("source", type=Path, help="the film")
    options.add_argument("rung", type=Path, help="folder of the rendition, half the size of the film")
    options.add_argument("output", type=Path, help="the ONNX file to write")
    told = options.parse_args()
    first_segment = (told.rung / "init.mp4").read_bytes() + (told.rung / "seg-00001.m4s").read_bytes()
    small, large = decode(io.BytesIO(first_segment)), decode(str(told.source))
    kernels = fit_kernels(small, large)
    onnx.save(as_onnx(kernels), told.output)
    print(f"{told.output}: {told.output.stat().st_size} bytes, fitted to {len(small)} frames")
