"""How fast an enhancer is from coded segment to shown frame, what the network alone takes, and its share of the peak.

Frames a second are those of the whole machine: decoding, network and chroma beside each other on all its cores, in the
fastest of the arrangements that `core_arrangements` lists.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from enhancers.measurement.peak import peak_gops
from enhancers.networks.imported import ImportedNetwork
from enhancers.networks.plain import PlainArchitecture
from enhancers.runtime.backends import BACKENDS, AnyNetwork, LumaNetwork
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, decode_file, decode_segment
from enhancers.runtime.loader import default_backend, open_weights
from enhancers.runtime.pipeline import enhance_frames

_WARM_FRAMES = 8
PRECISIONS = {"openvino-int8": "int8", "openvino-bf16": "fp32", "openvino-fp32": "fp32", "torch": "fp32"}
"""Precision of the peak that a backend is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """How frames are spread over the cores: `workers` frames at once, each by a network of `threads` threads."""

    workers: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancerSpeed:
    """One network at one size on this machine, in its fastest arrangement. Frames a second of the whole machine."""

    architecture: str
    backend: str
    width_px: int
    height_px: int
    display_width_px: int
    display_height_px: int
    way: BackendChoice
    fps_end_to_end: float
    """Decoding, network, chroma: from the bytes of a segment to frames at display size."""
    fps_network: float
    """The network alone: luma plane in, luma plane out."""
    gop_per_frame: float
    """10⁹ operations of the convolutions, a multiply-accumulate counted as two, nothing padded counted."""
    peak_share: float
    """Operations a second of the network alone ÷ those of this machine's fastest large convolution, same precision."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def core_arrangements() -> tuple[BackendChoice, ...]:
    """One network on all cores, or one single-threaded network a core."""
    return (
        BackendChoice(workers=1, threads=1),
        *([BackendChoice(workers=1, threads=n), BackendChoice(workers=n, threads=1)] if (n := cores()) > 1 else []),
    )


def gop_per_frame(weights: AnyNetwork, width_px: int, height_px: int) -> float:
    """10⁹ operations of one frame of this input size, where the network runs."""
    macs = weights.macs_per_output_px if isinstance(weights, ImportedNetwork) else _macs(weights.architecture)
    return 2e-9 * macs * width_px * height_px * weights.architecture.scale**2


def _macs(architecture: PlainArchitecture) -> float:
    return architecture.on_every_frame.macs_per_output_px


def measure_speed(
    weights: AnyNetwork,
    segment: bytes,
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str | None = None,
    seconds: float = 2.0,
    among: Sequence[BackendChoice] | None = None,
) -> EnhancerSpeed:
    """Measure the deepest exit of `weights` on a coded clip (init and media segment, or a whole small file).

    size_px: (width, height) of its frames. display_px: of those shown. seconds: of measuring, an arrangement.
    among: arrangements to search, all of `ways()` by default. Raises MediaError for a clip that cannot be decoded.
    """
    backend = backend or default_backend(weights)

    def open_enhancers(way: BackendChoice) -> list[Enhancer]:
        return [
            open_weights(weights, "", size_px=size_px, display_px=display_px, backend=backend, threads=way.threads)
            for _ in range(way.workers)
        ]

    reuses = weights.architecture.reuse > 1  # and then needs its frames one after the other
    among = [way for way in among or core_arrangements() if way.workers == 1 or not reuses]
    fps_of = {way: end_to_end_fps(segment, open_enhancers(way), seconds, motion=reuses) for way in among}
    way = max(fps_of, key=lambda each: fps_of[each])
    fps_network = max(network_fps(weights, size_px, backend, each, seconds / 2) for each in among)
    gop = gop_per_frame(weights, *size_px)
    return EnhancerSpeed(
        architecture=str(weights.architecture),
        backend=backend,
        width_px=size_px[0],
        height_px=size_px[1],
        display_width_px=display_px[0],
        display_height_px=display_px[1],
        way=way,
        fps_end_to_end=fps_of[way],
        fps_network=fps_network,
        gop_per_frame=gop,
        peak_share=gop * fps_network / peak_gops(PRECISIONS.get(backend, "fp32"), cores()),
    )


def end_to_end_fps(segment: bytes, enhancers: Sequence[Enhancer], seconds: float, *, motion: bool = False) -> float:
    """Frames a second from coded bytes to frames at display size; the clip is decoded again until time is up.

    motion: decode the codec's motion too, for enhancers that reuse.
    """

    def decoded() -> Iterator[Frame]:
        while True:
            yield from decode_segment(segment, motion=motion)

    lifted = enhance_frames(decoded(), enhancers)
    for _ in islice(lifted, _WARM_FRAMES):
        pass
    frames, began_s = 0, time.perf_counter()
    for _ in lifted:
        frames += 1
        if (spent_s := time.perf_counter() - began_s) >= seconds and frames >= _WARM_FRAMES:
            break
    lifted.close()
    return frames / spent_s


def network_fps(
    weights: AnyNetwork, size_px: tuple[int, int], backend: str, way: BackendChoice, seconds: float
) -> float:
    """Frames a second of the network alone in one arrangement."""
    scale = weights.architecture.scale
    random = np.random.default_rng(0)
    y = random.integers(16, 236, (size_px[1], size_px[0]), np.uint8)
    plain = random.integers(16, 236, (round(size_px[1] * scale), round(size_px[0] * scale)), np.uint8)
    shown = np.empty_like(plain)
    networks = [BACKENDS.get(backend)(weights, *size_px, way.threads) for _ in range(way.workers)]

    def run(network: LumaNetwork, until_s: float) -> int:
        frames = 0
        while time.perf_counter() < until_s:
            network.run(y, plain, shown)
            frames += 1
        return frames

    for network in networks:
        run(network, time.perf_counter() + 0.1)
    with ThreadPoolExecutor(way.workers) as pool:
        began_s = time.perf_counter()
        frames = sum(pool.map(lambda network: run(network, began_s + seconds), networks))
        return frames / (time.perf_counter() - began_s)


def decode_fps(segment: bytes) -> float:
    """Frames a second of decoding alone, in one thread."""
    began_s = time.perf_counter()
    frames = sum(1 for _ in decode_segment(segment))
    return frames / (time.perf_counter() - began_s)


def encode_rung(
    source: Path, size_px: tuple[int, int], frames: int = 120, crf: float = 27, *, skip: int = 0, b_frames: int = 0
) -> bytes:
    """Some frames of a clip as a low rung: H.264 with one key frame, coded as `prepare` does. Raises MediaError."""
    file = io.BytesIO()
    scaler: PlainScaler | None = None
    private = f"scenecut=0:keyint=infinite:bframes={b_frames}"
    options = {"crf": f"{crf:g}", "preset": "faster", "profile": "high", "x264-params": private}
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = *size_px, "yuv420p"
        for index, frame in enumerate(islice(decode_file(str(source)), skip, skip + frames)):
            scaler = scaler or PlainScaler(frame.width_px, frame.height_px, *size_px)
            picture = scaler.enhance(frame).picture
            picture.pts, picture.time_base, picture.pict_type = index, Fraction(1, 25), 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file.getvalue()
