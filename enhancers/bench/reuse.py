"""`toprung bench reuse`: reusing the network's gain on several frames, against the network on every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abr.errors import InputError
from abr.quality.vmaf import Luma, score_pairs
from enhancers.bench.runtime import psnr_db
from enhancers.measurement.speed import core_arrangements, cores, encode_rung, end_to_end_fps
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, decode_file, decode_segment
from enhancers.runtime.loader import open_weights

_FPS, _FRAMES, _CRF = 25, 250, 27.0
_EVERIES = (2, 3, 4, 6, 8)
_SCORED_EVERY = 5
"""Has no factor in common with any distance of anchors: all places between two are scored alike."""
_B_FRAMES = 3
"""What x264 would use if it might."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusePoint:
    """One anchor in `every` frames. Shares of the full enhancer's gain in VMAF, also by second, and in PSNR-Y."""

    every: int
    fps: float
    times_full: float
    vmaf_kept: float
    psnr_kept: float
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseResult:
    """VMAF and dB of PSNR-Y, means over ten seconds. fps: end to end, the whole machine.

    b_frames_db: by how much plain playback would be better at the same rate if the ladder had B-frames. Reuse needs a
    ladder without them: its motion vectors must point to the frame shown before.
    """

    architecture: str
    size_px: tuple[int, int]
    kbps: float
    plain_vmaf: float
    full_vmaf: float
    plain_db: float
    full_db: float
    full_fps: float
    b_frames_db: float
    kept: tuple[ReusePoint, ...]

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return asdict(self)

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        head = (
            f"{self.architecture} at {self.size_px[0]}x{self.size_px[1]}, {self.kbps:.0f} kbit/s: plain "
            f"VMAF {self.plain_vmaf:.2f} and {self.plain_db:.2f} dB, every frame lifted {self.full_vmaf:.2f} and "
            f"{self.full_db:.2f} dB at {self.full_fps:.0f} fps; "
            f"B-frames would be worth {self.b_frames_db:.2f} dB"
        )
        lines = (
            f"1 of {each.every}: {each.fps:4.0f} fps ({each.times_full:.1f}×), {each.vmaf_kept:.0%} of the VMAF gained "
            f"and {each.psnr_kept:.0%} of the dB; of VMAF by second "
            + " ".join(f"{share:.0%}" for share in each.seconds)
            for each in self.kept
        )
        return "\n".join((head, *lines))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FrameScores:
    """vmaf: of one frame in _SCORED_EVERY. psnr_db: of luma, every frame."""

    vmaf: npt.NDArray[np.float64]
    psnr_db: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CodedRung:
    """Ten seconds of a clip coded as one rung, and what they are compared with: source luma at display size."""

    size_px: tuple[int, int]
    display_px: tuple[int, int]
    segment: bytes
    truth: Sequence[Luma]

    def open_full(self, weights: Weights, threads: int = 1) -> Enhancer:
        """The network on every frame."""
        return open_weights(weights, "", size_px=self.size_px, display_px=self.display_px, threads=threads)

    def open_reusing(self, weights: Weights, every: int, threads: int = 1) -> Enhancer:
        """The network on one frame in `every`."""
        return self.open_full(replace(weights, architecture=replace(weights.architecture, reuse=every)), threads)

    def score(self, enhancer: Enhancer) -> _FrameScores:
        shown = [enhancer.enhance(frame).y for frame in decode_segment(self.segment, motion=True)]
        height_px, width_px = self.truth[0].shape
        pairs = zip(self.truth, shown, strict=True)
        scores = score_pairs(pairs, width_px=width_px, height_px=height_px, fps=_FPS, every_frames=_SCORED_EVERY)
        psnr = [psnr_db(a, b) for a, b in zip(shown, self.truth, strict=True)]
        return _FrameScores(vmaf=scores.vmaf, psnr_db=np.array(psnr))


def measure_reuse(clip: Path, chunks: Sequence[bytes], height_px: int, skip: int, seconds: float) -> ReuseResult:
    """Measure on the rung of `height_px`. chunks: weights, none for the generic ones. Raises InputError, MediaError."""
    rung = _code_rung(clip, height_px, skip)
    weights = loads_chunks(chunks) if chunks else _generic_weights(height_px, rung.display_px[1])
    plain = rung.score(PlainScaler(*rung.size_px, *rung.display_px))
    full = rung.score(rung.open_full(weights))
    full_fps = max(
        end_to_end_fps(rung.segment, [rung.open_full(weights, way.threads) for _ in range(way.workers)], seconds)
        for way in core_arrangements()
    )
    plain_db = float(plain.psnr_db.mean())
    return ReuseResult(
        architecture=str(weights.architecture),
        size_px=rung.size_px,
        kbps=len(rung.segment) * 8 * _FPS / _FRAMES / 1000,
        plain_vmaf=float(plain.vmaf.mean()),
        full_vmaf=float(full.vmaf.mean()),
        plain_db=plain_db,
        full_db=float(full.psnr_db.mean()),
        full_fps=full_fps,
        b_frames_db=_b_frame_gain_db(clip, rung, skip, plain_db),
        kept=tuple(_measure_point(rung, weights, every, plain, full, full_fps, seconds) for every in _EVERIES),
    )


def _code_rung(clip: Path, height_px: int, skip: int) -> _CodedRung:
    source = next(decode_file(str(clip)))
    display_px = source.width_px, source.height_px
    size_px = display_px[0] * height_px // display_px[1] & ~1, height_px
    segment = encode_rung(clip, size_px, _FRAMES, _CRF, skip=skip)
    truth = [frame.y for frame in islice(decode_file(str(clip)), skip, skip + _FRAMES)]
    if len(truth) < _FRAMES:
        raise InputError(
            f"{clip} has no {_FRAMES} frames after the first {skip}: give a longer clip or a smaller --skip."
        )
    return _CodedRung(size_px=size_px, display_px=display_px, segment=segment, truth=truth)


def _measure_point(
    rung: _CodedRung,
    weights: Weights,
    every: int,
    plain: _FrameScores,
    full: _FrameScores,
    full_fps: float,
    seconds: float,
) -> ReusePoint:
    """One distance between anchors, against the network on every frame."""
    reused = rung.score(rung.open_reusing(weights, every))
    fps = max(
        end_to_end_fps(rung.segment, [rung.open_reusing(weights, every, threads)], seconds, motion=True)
        for threads in {1, cores()}
    )
    return ReusePoint(
        every=every,
        fps=fps,
        times_full=fps / full_fps,
        vmaf_kept=_share_of_gain(reused.vmaf, full.vmaf, plain.vmaf),
        psnr_kept=_share_of_gain(reused.psnr_db, full.psnr_db, plain.psnr_db),
        seconds=tuple(
            _share_of_gain(reused.vmaf[part], full.vmaf[part], plain.vmaf[part]) for part in _seconds(len(plain.vmaf))
        ),
    )


def _share_of_gain(
    reused: npt.NDArray[np.float64], full: npt.NDArray[np.float64], plain: npt.NDArray[np.float64]
) -> float:
    """Of what `full` gains over `plain`, the share that `reused` gains. Arrays of scores of the same frames."""
    return float((reused - plain).sum() / (full - plain).sum())


def _seconds(scored: int) -> Iterator[slice]:
    return (slice(start, start + _FPS // _SCORED_EVERY) for start in range(0, scored, _FPS // _SCORED_EVERY))


def _generic_weights(height_px: int, display_height_px: int) -> Weights:
    scale = catalog.scale_for(height_px, display_height_px)
    if scale is None:
        raise InputError(f"No network lifts {height_px} to {display_height_px} lines: give a lower --height.")
    return loads_chunks(catalog.generic_chunks(catalog.architecture(scale)))


def _b_frame_gain_db(clip: Path, rung: _CodedRung, skip: int, plain_db: float) -> float:
    """By how many dB B-frames would improve plain playback at as many bytes: between two encodings, on a log scale."""
    scaler = PlainScaler(*rung.size_px, *rung.display_px)

    def point(crf: float) -> tuple[float, float]:
        segment = encode_rung(clip, rung.size_px, _FRAMES, crf, skip=skip, b_frames=_B_FRAMES)
        shown: Iterator[Frame] = map(scaler.enhance, decode_segment(segment))
        quality_db = np.mean([psnr_db(a.y, b) for a, b in zip(shown, rung.truth, strict=True)])
        return float(np.log(len(segment))), float(quality_db)

    (less, lower_db), (more, upper_db) = point(_CRF + 1), point(_CRF - 3)
    slope = (upper_db - lower_db) / (more - less)
    return lower_db + slope * (float(np.log(len(rung.segment))) - less) - plain_db
