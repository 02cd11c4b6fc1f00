"""The chroma part of a `plain` network: a small one of its own over all three planes at the size of the chroma.

    y folded to chroma's size, u, v ─ [space to depth d] ─ head ─ blocks 1 … m ─ tail ─ pixel shuffle d·r ─ (+) ─ u, v
    plainly scaled u and v ──────────────────────────────────────────────────────────────────────────────────┘

Luma tells where the edges of colours are, chroma what their colours are; 4:2:0 has a quarter of the positions, so that
this costs a fifth of the lightest luma network. It takes code values less 128, in which no colour is 0 and the
convolutions' margin is colourless. All exits of a trunk share one such part, and weights may lack it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abr.errors import FormatError
from abr.media.planes import Plane
from enhancers.networks.plain import DEPTH_MAX, WIDTH_MAX, Layer, PlainArchitecture

Folded = npt.NDArray[np.int8]

_CENTRE = np.uint8(128)
"""The code value of no colour, and of luma in the middle."""
_PATTERN = re.compile(r"m([1-9][0-9]?)c([1-9][0-9]{0,2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChromaArchitecture:
    """`m1c32`: one block of 32 channels between head and tail. Scale and fold are those of the luma network."""

    depth: int
    width: int
    scale: float
    squeeze: int = 1

    def __str__(self) -> str:
        return f"m{self.depth}c{self.width}"

    @property
    def shuffle(self) -> int:
        """Samples of the shown chroma along one side of a position of the working grid."""
        return round(self.squeeze * self.scale)

    @property
    def luma_fold(self) -> int:
        """Luma pixels along one side of a position of the working grid."""
        return 2 * self.squeeze

    def grid(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Columns and rows of the working grid for a frame of this size."""
        return -(-width_px // self.luma_fold), -(-height_px // self.luma_fold)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All convolutions in the order in which they run."""
        inputs = self.luma_fold**2 + 2 * self.squeeze**2
        blocks = (
            Layer(name=f"chroma.block{index}", inputs=self.width, outputs=self.width)
            for index in range(1, self.depth + 1)
        )
        return (
            Layer(name="chroma.head", inputs=inputs, outputs=self.width),
            *blocks,
            Layer(name="chroma.tail", inputs=self.width, outputs=2 * self.shuffle**2),
        )

    @property
    def macs_per_output_px(self) -> float:
        """Multiplications for each pixel of luma shown."""
        return sum(layer.macs for layer in self.layers) / (2 * self.shuffle) ** 2


def parse_chroma(text: str, luma: PlainArchitecture) -> ChromaArchitecture:
    """The chroma part called `text` beside a luma network. Raises FormatError for anything else."""
    match = _PATTERN.fullmatch(text)
    if not match or int(match[1]) > DEPTH_MAX or int(match[2]) > WIDTH_MAX:
        raise FormatError(f"{text[:40]!r} is not a chroma part that this program runs; expected one like m1c32.")
    return ChromaArchitecture(depth=int(match[1]), width=int(match[2]), scale=luma.scale, squeeze=luma.squeeze)


def fold_planes(architecture: ChromaArchitecture, y: Plane, u: Plane, v: Plane) -> Folded:
    """What the network takes of one frame: int8 (inputs, rows, columns), code values less 128.

    The pixels of y in a cell, then those of u, then of v, as pixel unshuffle orders them. Last rows and columns are
    repeated where a frame does not fill the grid.
    """
    columns, rows = architecture.grid(y.shape[1], y.shape[0])
    folded = np.empty((architecture.layers[0].inputs, rows, columns), np.uint8)
    channel = 0
    for plane, fold in ((y, architecture.luma_fold), (u, architecture.squeeze), (v, architecture.squeeze)):
        missing = [(0, count * fold - size) for count, size in zip((rows, columns), plane.shape, strict=True)]
        whole = np.pad(plane, missing, mode="edge") if np.any(missing) else plane
        for row in range(fold):
            for column in range(fold):
                np.bitwise_xor(whole[row::fold, column::fold], _CENTRE, out=folded[channel])
                channel += 1
    return folded.view(np.int8)
