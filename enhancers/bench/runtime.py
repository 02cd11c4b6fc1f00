"""`toprung bench runtime`: networks from coded segment to shown frame, against torch eager and the machine's peak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from abr.media.planes import Plane
from enhancers.measurement.peak import peak_gops
from enhancers.measurement.speed import EnhancerSpeed, cores, decode_fps, encode_rung, measure_speed
from enhancers.networks.calibrate import calibrate
from enhancers.networks.checkpoint import Weights
from enhancers.networks.plain import PlainArchitecture, parse
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.networks.untrained import add_untrained_chroma
from enhancers.profiling.machine import processor_name
from enhancers.runtime.backends import BACKENDS
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import decode_file, decode_segment
from enhancers.runtime.loader import DEFAULT_BACKEND, open_weights
from enhancers.training.degrade import make_rung_pairs
from enhancers.training.patches import PatchSampler
from enhancers.training.trainer import TrainingSettings, fit


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeCase:
    """A network at the size of a rung, and its target in frames a second on two cores (0: none)."""

    architecture: str
    size_px: tuple[int, int]
    wanted_fps: float = 0.0


CASES = (
    RuntimeCase(architecture="plain-m4c16x4", size_px=(320, 180), wanted_fps=200),
    RuntimeCase(architecture="plain-m10c32x4", size_px=(320, 180), wanted_fps=45),
    RuntimeCase(architecture="plain-m4c16x4", size_px=(480, 270), wanted_fps=90),
    RuntimeCase(architecture="plain-m4c32x2d2", size_px=(640, 360), wanted_fps=75),
    RuntimeCase(architecture="plain-m4c16x2", size_px=(640, 360), wanted_fps=75),
    RuntimeCase(architecture="plain-m4c16x2d2", size_px=(960, 540), wanted_fps=60),
)
"""The targets of the project's plan."""
_FRAMES, _CRF, _SCORED = 120, 27, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeResult:
    """One case. Frames a second of the whole machine, dB of PSNR-Y over the scored frames."""

    case: RuntimeCase
    ours: EnhancerSpeed
    eager: EnhancerSpeed
    fps_decode: float
    psnr_plain_db: float
    psnr_fp32_db: float
    psnr_int8_db: float
    coloured: EnhancerSpeed
    """The same network with a chroma part beside it, measured right after `ours`."""

    @property
    def chroma_share(self) -> float:
        """How much longer a frame takes with its chroma lifted, as a share of the time without."""
        return self.ours.fps_end_to_end / self.coloured.fps_end_to_end - 1

    @property
    def times_eager(self) -> float:
        """How many times as fast as torch run eagerly."""
        return self.ours.fps_end_to_end / self.eager.fps_end_to_end


def tier_cases() -> tuple[RuntimeCase, ...]:
    """Every tier at the rungs that the device profile measures first."""
    from enhancers.networks import catalog

    sizes = {4: (320, 180), 3: (426, 240), 2: (640, 360)}
    return tuple(
        RuntimeCase(architecture=str(catalog.architecture(scale, tier)), size_px=size)
        for scale, size in sizes.items()
        for tier in catalog.TIER_DEPTHS
    )


def measure_cases(
    clip: Path, cases: Sequence[RuntimeCase], seconds: float, train_seconds: float
) -> Iterator[RuntimeResult]:
    """Each case in turn. Raises MediaError for a clip that cannot be decoded."""
    for case in cases:
        architecture = parse(case.architecture)
        segment = encode_rung(clip, case.size_px, _FRAMES, _CRF)
        weights = train_weights(clip, architecture, segment, train_seconds)
        width_px, height_px = case.size_px
        display_px = round(width_px * architecture.scale), round(height_px * architecture.scale)
        plain, fp32, int8 = measure_psnr_y(clip, segment, weights, case.size_px, display_px)
        yield RuntimeResult(
            case=case,
            ours=measure_fastest(weights, segment, case.size_px, display_px, seconds),
            coloured=measure_fastest(add_untrained_chroma(weights), segment, case.size_px, display_px, seconds),
            eager=measure_speed(
                weights, segment, size_px=case.size_px, display_px=display_px, backend="torch", seconds=seconds
            ),
            fps_decode=decode_fps(segment),
            psnr_plain_db=plain,
            psnr_fp32_db=fp32,
            psnr_int8_db=int8,
        )


def measure_fastest(
    weights: Weights, segment: bytes, size_px: tuple[int, int], display_px: tuple[int, int], seconds: float
) -> EnhancerSpeed:
    """The fastest int8 backend."""
    speeds = [
        measure_speed(weights, segment, size_px=size_px, display_px=display_px, backend=backend, seconds=seconds)
        for backend in BACKENDS
        if backend.endswith("int8")
    ]
    return max(speeds, key=lambda each: each.fps_end_to_end)


def train_weights(clip: Path, architecture: PlainArchitecture, segment: bytes, seconds: float) -> Weights:
    """Weights from a short training on the clip, calibrated on the frames of the rung."""
    trunk = PlainTrunk(architecture, (architecture.depth,), seed=1)
    film = list(islice(decode_file(str(clip)), _FRAMES))
    pairs = make_rung_pairs(film, architecture.scale, float(_CRF), height_max_px=720, keep=_SCORED)
    sampler = PatchSampler([pairs], patch_px=32 * architecture.squeeze, seed=1, flips=True)
    trained = fit(trunk, sampler, TrainingSettings(seconds=seconds, exit_weights=(1.0,)))
    weights = Weights(
        architecture=architecture,
        exits=(architecture.depth,),
        tensors={name: tensor.numpy() for name, tensor in trained.tensors.items()},
    )
    low = np.stack([frame.y for frame in islice(decode_segment(segment), 0, _FRAMES, _FRAMES // 4)])
    return calibrate(weights, low)


def measure_psnr_y(
    clip: Path, segment: bytes, weights: Weights, size_px: tuple[int, int], display_px: tuple[int, int]
) -> tuple[float, float, float]:
    """Mean PSNR-Y against the clip at display size: plainly scaled, by float32, and by int8."""
    enhancers = (
        PlainScaler(*size_px, *display_px),
        open_weights(weights, "", size_px=size_px, display_px=display_px, backend="torch"),
        open_weights(weights, "", size_px=size_px, display_px=display_px, backend=DEFAULT_BACKEND),
    )
    step = _FRAMES // _SCORED
    sources = islice(decode_file(str(clip)), 0, _FRAMES, step)
    scores: list[tuple[float, ...]] = []
    fit_: PlainScaler | None = None
    for source, low in zip(sources, islice(decode_segment(segment), 0, None, step), strict=False):
        fit_ = fit_ or PlainScaler(source.width_px, source.height_px, *display_px)
        truth = fit_.enhance(source).y
        scores.append(tuple(psnr_db(enhancer.enhance(low).y, truth) for enhancer in enhancers))
    plain, fp32, int8 = np.mean(scores, axis=0)
    return float(plain), float(fp32), float(int8)


def psnr_db(shown: Plane, truth: Plane) -> float:
    """PSNR of two uint8 planes."""
    return float(10 * np.log10(255**2 / max(1e-6, float(np.mean((shown.astype(np.float32) - truth) ** 2)))))


def as_record(clip: Path, results: Sequence[RuntimeResult]) -> dict[str, object]:
    """What `--json` prints."""
    return {
        "clip": clip.name,
        "processor": processor_name(),
        "cores": cores(),
        "peak": {precision: {"gops": round(peak_gops(precision, cores()))} for precision in ("int8", "fp32")},
        "cases": [
            asdict(each.ours)
            | {
                "wanted_fps": each.case.wanted_fps,
                "fps_decode": each.fps_decode,
                "fps_torch_eager": each.eager.fps_end_to_end,
                "fps_network_torch_eager": each.eager.fps_network,
                "times_torch_eager": each.times_eager,
                "fps_with_chroma": each.coloured.fps_end_to_end,
                "chroma_share": each.chroma_share,
                "psnr_y_db": {
                    "plain": each.psnr_plain_db,
                    "fp32": each.psnr_fp32_db,
                    "int8": each.psnr_int8_db,
                },
            }
            for each in results
        ],
    }


def as_text(results: Sequence[RuntimeResult]) -> str:
    """A table."""
    lines = [
        f"{cores()} cores; peak int8 {peak_gops('int8', cores()):.0f}, fp32 {peak_gops('fp32', cores()):.0f} GOP/s",
        f"{'network':<18}{'rung':<10}{'fps':>6}{'wanted':>8}{'net':>7}{'peak':>6}{'×torch':>8}{'int8 dB':>9}"
        f"{'chroma':>8}  by",
    ]
    for each in results:
        ours = each.ours
        lines.append(
            f"{ours.architecture:<18}{f'{ours.width_px}x{ours.height_px}':<10}{ours.fps_end_to_end:6.0f}"
            f"{each.case.wanted_fps:8.0f}{ours.fps_network:7.0f}{ours.peak_share:6.0%}{each.times_eager:8.1f}"
            f"{each.psnr_int8_db - each.psnr_fp32_db:+9.3f}{each.chroma_share:+8.0%}  "
            f"{ours.backend}, {ours.way.workers} × {ours.way.threads} threads"
        )
    return "\n".join(lines)
