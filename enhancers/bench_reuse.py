"""`toprung bench reuse`: anchors and carried gain against the network on every frame: speed, gain kept, drift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abr.errors import InputError
from abr.quality import Luma, score_pairs
from enhancers import catalog
from enhancers.base import Enhancer, PlainScaler
from enhancers.bench_runtime import psnr_db
from enhancers.checkpoint import Weights, loads_chunks
from enhancers.frames import Frame, decode_file, decode_segment
from enhancers.runtime import open_weights
from enhancers.speed import cores, end_to_end_fps, rung_of, ways

_FPS, _FRAMES, _CRF = 25, 250, 27.0
_EVERIES = (2, 3, 4, 6, 8)
_SCORED_EVERY = 5
"""Has no factor in common with any distance of anchors: all places between two are scored alike."""
_B_FRAMES = 3
"""What x264 would use if it might."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One anchor in `every` frames. Shares of the full enhancer's gain in VMAF, also by second, and in PSNR-Y."""

    every: int
    fps: float
    times_full: float
    vmaf_kept: float
    psnr_kept: float
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """VMAF and dB of PSNR-Y, means over ten seconds. fps: end to end, the whole machine.

    b_frames_db: what the same bits would give plain playback more if the ladder had B-frames, which it has not for
    other reasons too; with them vectors would no longer point to the frame shown before.
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
    kept: tuple[Kept, ...]

    def as_json(self) -> dict[str, object]:
        return asdict(self)

    def as_text(self) -> str:
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


def measured(clip: Path, chunks: Sequence[bytes], height_px: int, skip: int, seconds: float) -> Reuse:
    """Measure on the rung of `height_px`. chunks: weights, none for the generic ones. Raises InputError, MediaError."""
    source = next(decode_file(str(clip)))
    display_px = source.width_px, source.height_px
    size_px = display_px[0] * height_px // display_px[1] & ~1, height_px
    weights = loads_chunks(chunks) if chunks else _generic(height_px, display_px[1])
    segment = rung_of(clip, size_px, _FRAMES, _CRF, skip=skip)
    truth = [frame.y for frame in islice(decode_file(str(clip)), skip, skip + _FRAMES)]
    if len(truth) < _FRAMES:
        raise InputError(
            f"{clip} has no {_FRAMES} frames after the first {skip}: give a longer clip or a smaller --skip."
        )

    def seen(enhancer: Enhancer) -> _Seen:
        return _seen([enhancer.enhance(frame).y for frame in decode_segment(segment, motion=True)], truth)

    def reusing(every: int, threads: int) -> Enhancer:
        some = replace(weights, architecture=replace(weights.architecture, reuse=every))
        return open_weights(some, "", size_px=size_px, display_px=display_px, threads=threads)

    plain = seen(PlainScaler(*size_px, *display_px))
    full = seen(open_weights(weights, "", size_px=size_px, display_px=display_px))
    full_fps = max(
        end_to_end_fps(
            segment,
            [
                open_weights(weights, "", size_px=size_px, display_px=display_px, threads=way.threads)
                for _ in range(way.workers)
            ],
            seconds,
        )
        for way in ways()
    )
    kept = []
    for every in _EVERIES:
        shown = seen(reusing(every, 1))
        fps = max(end_to_end_fps(segment, [reusing(every, n)], seconds, motion=True) for n in {1, cores()})
        kept.append(
            Kept(
                every=every,
                fps=fps,
                times_full=fps / full_fps,
                vmaf_kept=_share(shown.vmaf, full.vmaf, plain.vmaf),
                psnr_kept=_share(shown.psnr_db, full.psnr_db, plain.psnr_db),
                seconds=tuple(
                    _share(shown.vmaf[part], full.vmaf[part], plain.vmaf[part]) for part in _seconds(len(plain.vmaf))
                ),
            )
        )
    return Reuse(
        architecture=str(weights.architecture),
        size_px=size_px,
        kbps=len(segment) * 8 * _FPS / _FRAMES / 1000,
        plain_vmaf=float(plain.vmaf.mean()),
        full_vmaf=float(full.vmaf.mean()),
        plain_db=float(plain.psnr_db.mean()),
        full_db=float(full.psnr_db.mean()),
        full_fps=full_fps,
        b_frames_db=_worth_of_b_frames(
            clip, size_px, display_px, skip, truth, (len(segment), float(plain.psnr_db.mean()))
        ),
        kept=tuple(kept),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """vmaf: of one frame in _SCORED_EVERY. psnr_db: of luma, every frame."""

    vmaf: npt.NDArray[np.float64]
    psnr_db: npt.NDArray[np.float64]


def _seen(shown: Sequence[Luma], truth: Sequence[Luma]) -> _Seen:
    height_px, width_px = truth[0].shape
    pairs = zip(truth, shown, strict=True)
    scores = score_pairs(pairs, width_px=width_px, height_px=height_px, fps=_FPS, every_frames=_SCORED_EVERY)
    return _Seen(vmaf=scores.vmaf, psnr_db=np.array([psnr_db(a, b) for a, b in zip(shown, truth, strict=True)]))


def _share(shown: npt.NDArray[np.float64], full: npt.NDArray[np.float64], plain: npt.NDArray[np.float64]) -> float:
    """Of what `full` gains over `plain`, how much `shown` does."""
    return float((shown - plain).sum() / (full - plain).sum())


def _seconds(scored: int) -> Iterator[slice]:
    return (slice(start, start + _FPS // _SCORED_EVERY) for start in range(0, scored, _FPS // _SCORED_EVERY))


def _generic(height_px: int, display_height_px: int) -> Weights:
    scale = catalog.scale_for(height_px, display_height_px)
    if scale is None:
        raise InputError(f"No network lifts {height_px} to {display_height_px} lines: give a lower --height.")
    return loads_chunks(catalog.generic_chunks(catalog.architecture(scale)))


def _worth_of_b_frames(
    clip: Path,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    skip: int,
    truth: Sequence[npt.NDArray[np.uint8]],
    ours: tuple[int, float],
) -> float:
    """dB of plain playback that B-frames would add at as many bytes: between two encodings, on a log scale."""
    scaler = PlainScaler(*size_px, *display_px)

    def point(crf: float) -> tuple[float, float]:
        segment = rung_of(clip, size_px, _FRAMES, crf, skip=skip, b_frames=_B_FRAMES)
        shown: Iterator[Frame] = map(scaler.enhance, decode_segment(segment))
        return float(np.log(len(segment))), float(np.mean([psnr_db(a.y, b) for a, b in zip(shown, truth, strict=True)]))

    (less, lower_db), (more, upper_db) = point(_CRF + 1), point(_CRF - 3)
    slope = (upper_db - lower_db) / (more - less)
    return lower_db + slope * (float(np.log(ours[0])) - less) - ours[1]
