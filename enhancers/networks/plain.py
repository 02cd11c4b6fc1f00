"""The `plain` family: 3×3 convolutions with ReLU at low resolution, then pixel shuffle over an interpolated skip.

    y ─ [space to depth d] ─ head ─ block 1 … block m ─ tail ─ pixel shuffle d·r ─ (+) ─ shown luma
    plainly scaled y ───────────────────────────────────────────────────────────────┘

One trunk has several exits: after block k a tail of its own makes a complete, cheaper network. The first k blocks and
their tail are exactly the network `plain-m<k>…`, so chunks of weights are usable as they arrive (NAS, OSDI 2018), and
all tiers of a title share their bytes. Scales are 1.5, 2, 3 and 4; at half resolution ×1.5 is a shuffle by 3.
Layers that were narrowed for a device differ in channels, and the name tells those of each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from abr.errors import FormatError

KERNEL_PX = 3
DEPTH_MAX, WIDTH_MAX = 64, 256
_PATTERN = re.compile(r"plain-m([0-9]{1,2})c([0-9]{1,3}(?:-[0-9]{1,3})*)x(1\.5|2|3|4)(d2)?(?:r([2-8]))?")
_SCALES = {"1.5": 1.5, "2": 2.0, "3": 3.0, "4": 4.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution: its name in a checkpoint and its channels."""

    name: str
    inputs: int
    outputs: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates per position of its own grid."""
        return KERNEL_PX * KERNEL_PX * self.inputs * self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainArchitecture:
    """`plain-m4c32x2d2`: 4 blocks of 32 channels, scale ×2, working at half resolution (`d2`: space to depth first).

    `plain-m10c32x4r4`: run on one frame in 4, its gain carried to the others (`enhancers.runtime.motion_reuse`).
    Weights know nothing of that: theirs is the name without it.

    `plain-m2c24-16-12x4`: 24 channels behind the head, 16 and 12 behind the blocks. `width` is the most of these, and
    `narrowed` has them all; it is empty where all are alike.
    """

    depth: int
    width: int
    scale: float
    squeeze: int = 1
    reuse: int = 1
    narrowed: tuple[int, ...] = ()

    def __str__(self) -> str:
        folded, reused = "d2" if self.squeeze == 2 else "", f"r{self.reuse}" if self.reuse > 1 else ""
        channels = "-".join(map(str, self.narrowed or (self.width,)))
        return f"plain-m{self.depth}c{channels}x{self.scale:g}{folded}{reused}"

    @property
    def channels(self) -> tuple[int, ...]:
        """Outputs of the head and of each block."""
        return self.narrowed or (self.width,) * (self.depth + 1)

    def with_channels(self, channels: Sequence[int]) -> PlainArchitecture:
        """The same with as many outputs of the head and of each block; one block fewer than there are numbers."""
        alike = len(set(channels)) == 1
        narrowed = () if alike else tuple(channels)
        return replace(self, depth=len(channels) - 1, width=max(channels), narrowed=narrowed)

    @property
    def on_every_frame(self) -> PlainArchitecture:
        """The same network without reuse: what weights are made for."""
        return replace(self, reuse=1)

    def at_exit(self, depth: int) -> PlainArchitecture:
        """The network that leaves the trunk after `depth` blocks."""
        return self.with_channels(self.narrowed[: depth + 1]) if self.narrowed else replace(self, depth=depth)

    @property
    def shuffle(self) -> int:
        """Pixels of the shown picture along one side of a position of the working grid."""
        return round(self.squeeze * self.scale)

    def shown_px(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Size of the picture that the network makes of one of this size."""
        return int(width_px * self.scale), int(height_px * self.scale)

    @property
    def head(self) -> Layer:
        """The first convolution, over pixels folded into channels."""
        return Layer(name="head", inputs=self.squeeze**2, outputs=self.channels[0])

    @property
    def blocks(self) -> tuple[Layer, ...]:
        """The convolutions between head and tail."""
        return tuple(
            Layer(name=f"block{index}", inputs=inputs, outputs=outputs)
            for index, (inputs, outputs) in enumerate(pairwise(self.channels), start=1)
        )

    @property
    def tail(self) -> Layer:
        """The last convolution, of the deepest exit: as many outputs as pixels are unfolded."""
        return Layer(name=f"tail{self.depth}", inputs=self.channels[-1], outputs=self.shuffle**2)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All convolutions in the order in which they run."""
        return (self.head, *self.blocks, self.tail)

    @property
    def macs_per_output_px(self) -> float:
        """Multiplications for each pixel shown, reuse counted in."""
        return sum(layer.macs for layer in self.layers) / self.shuffle**2 / self.reuse


def parse(text: str) -> PlainArchitecture:
    """The inverse of `str`. Raises FormatError for anything else."""
    match = _PATTERN.fullmatch(text)
    if match:
        depth, scale, squeeze = int(match[1]), _SCALES[match[3]], 2 if match[4] else 1
        channels = [int(number) for number in match[2].split("-")]
        sound = 1 <= depth <= DEPTH_MAX and all(1 <= each <= WIDTH_MAX for each in channels)
        reuse, is_whole = int(match[5] or 1), (squeeze * scale).is_integer()
        alike = PlainArchitecture(depth=depth, width=channels[0], scale=scale, squeeze=squeeze, reuse=reuse)
        wanted = alike if len(channels) == 1 else alike.with_channels(channels)
        if sound and is_whole and str(wanted) == text:
            return wanted
    raise FormatError(
        f"{text!r} is not an architecture this program runs; expected one like plain-m4c32x4 or plain-m2c24-16-8x4 "
        f"(up to {DEPTH_MAX} blocks of {WIDTH_MAX} channels, scale 1.5, 2, 3 or 4, optionally d2; 1.5 needs d2)."
    )
