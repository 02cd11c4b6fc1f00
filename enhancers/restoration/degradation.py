"""What happened to a source before it came here, imitated: blurred, shrunk, noise, compressed. Each step by a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
import numpy.typing as npt
import torch
from av.video.codeccontext import VideoCodecContext
from torch.nn import functional

from abr.blur.kernel import Blur, Code, Floats, bicubic_kernel, code_of
from abr.media.planes import luma_of

Lumas = npt.NDArray[np.uint8]
"""(frames, H, W)."""
Codec = Literal["h264", "mpeg2"]

BICUBIC_SHARE, ROUND_SHARE = 0.12, 0.15
"""Of drawn degradations: shrunk by the bicubic filter, as ladders are, and blurred alike in all directions."""
MAJOR_PX, MINOR_SHARE, MINOR_MIN_PX = (0.2, 1.5), (0.3, 1.0), 0.15
_CRF, _QSCALE, _MPEG2_SHARE = (14.0, 32.0), (2, 9), 0.3
_NOISE_MAX, _NOISE_SHARE = 4.0, 0.4
_RATE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """quality: CRF of H.264, quantiser scale of MPEG-2."""

    codec: Codec
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Degradation:
    """One for a run of frames. kernels: one for all, or one a frame; sampled at `scale`.

    noise: standard deviation in code values. compression: None for none.
    """

    scale: int
    kernels: tuple[Floats, ...]
    noise: float = 0.0
    compression: Compression | None = None
    seed: int = 0
    codes: tuple[Code, ...] = field(init=False)
    """Of the kernels."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", tuple(code_of(kernel, self.scale) for kernel in self.kernels))


def draw_blur(random: np.random.Generator) -> Blur:
    """Any anisotropic Gaussian that sources have."""
    major = random.uniform(*MAJOR_PX)
    round_ = random.random() < ROUND_SHARE
    minor = major if round_ else max(MINOR_MIN_PX, major * random.uniform(*MINOR_SHARE))
    return Blur.of_axes(major, min(minor, major), random.uniform(0, np.pi))


def draw_degradation(seed: int, scale: int) -> Degradation:
    """One with a kernel that stands still."""
    random = np.random.default_rng((seed, scale))
    is_bicubic = random.random() < BICUBIC_SHARE
    kernel = bicubic_kernel(scale) if is_bicubic else draw_blur(random).kernel(scale)
    noise = float(random.uniform(0, _NOISE_MAX)) if random.random() < _NOISE_SHARE else 0.0
    return Degradation(scale=scale, kernels=(kernel,), noise=noise, compression=_draw_compression(random), seed=seed)


def drifting_blurs(seed: int, frames: int) -> list[Blur]:
    """One blur a frame, from one drawn blur to another and on, as zoom and focus move: along a slow cosine."""
    random = np.random.default_rng((seed, frames))
    ends = [draw_blur(random) for _ in range(2)]
    share = (1 - np.cos(np.pi * np.arange(frames) / max(1, frames - 1))) / 2
    return [
        Blur(
            **{
                name: float((1 - s) * getattr(ends[0], name) + s * getattr(ends[1], name))
                for name in ("xx", "xy", "yy")
            }
        )
        for s in share
    ]


def _draw_compression(random: np.random.Generator) -> Compression:
    if random.random() < _MPEG2_SHARE:
        return Compression(codec="mpeg2", quality=float(random.integers(*_QSCALE)))
    return Compression(codec="h264", quality=float(random.uniform(*_CRF)))


def degrade(film: Lumas, degradation: Degradation) -> Lumas:
    """`film` (frames, H, W) as it came here: (frames, H / scale, W / scale), of even sides."""
    random = np.random.default_rng(degradation.seed)
    low = np.stack(
        [
            shrink(luma, degradation.kernels[min(index, len(degradation.kernels) - 1)], degradation.scale)
            for index, luma in enumerate(film)
        ]
    )
    if degradation.noise:
        low = low + random.normal(0, degradation.noise, low.shape).astype(np.float32)
    pictures = np.clip(np.rint(low), 0, 255).astype(np.uint8)
    return compress(pictures, degradation.compression) if degradation.compression else pictures


def shrink(luma: npt.NDArray[np.uint8], kernel: Floats, scale: int) -> npt.NDArray[np.float32]:
    """One picture (H, W) blurred and taken at every `scale`-th pixel, the kernel's middle between those covered."""
    height, width = (side // scale // 2 * 2 * scale for side in luma.shape)
    margin = (len(kernel) - scale) // 2
    x = torch.from_numpy(luma[:height, :width].astype(np.float32))[None, None]
    weight = torch.from_numpy(kernel.astype(np.float32))[None, None]
    padded = functional.pad(x, (margin,) * 4, mode="replicate")
    return cast("npt.NDArray[np.float32]", functional.conv2d(padded, weight, stride=scale)[0, 0].numpy())


def compress(pictures: Lumas, compression: Compression) -> Lumas:
    """Encoded and decoded again; (frames, h, w) of even sides. Chroma is grey."""
    encoder = _ENCODERS[compression.codec](compression.quality)
    encoder.height, encoder.width = pictures.shape[1:]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, _RATE), Fraction(_RATE)
    decoder = cast(VideoCodecContext, av.CodecContext.create(_DECODERS[compression.codec], "r"))
    decoder.thread_count = 1
    packets = [packet for index, luma in enumerate(pictures) for packet in encoder.encode(_picture(luma, index))]
    packets += encoder.encode(None)
    decoded = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return np.stack([luma_of(frame).copy() for frame in decoded])


def _picture(luma: npt.NDArray[np.uint8], index: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(_with_grey(luma), format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, _RATE)
    return frame


def _with_grey(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.concatenate([luma, np.full((len(luma) // 2, luma.shape[1]), 128, np.uint8)])


def _h264(crf: float) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.options = {"crf": f"{crf:.2f}", "preset": "veryfast", "threads": "1"}
    return encoder


def _mpeg2(qscale: float) -> VideoCodecContext:
    encoder = av.CodecContext.create("mpeg2video", "w")
    scale = str(round(qscale))
    encoder.options = {"qmin": scale, "qmax": scale, "bf": "2", "threads": "1"}
    encoder.gop_size = 12
    return encoder


_ENCODERS: dict[Codec, Callable[[float], VideoCodecContext]] = {"h264": _h264, "mpeg2": _mpeg2}
_DECODERS: dict[Codec, str] = {"h264": "h264", "mpeg2": "mpeg2video"}
