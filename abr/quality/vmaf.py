"""The quality meter: VMAF, VMAF-NEG, SSIM and PSNR of shown luma against the source, by libvmaf.

libvmaf runs inside the static ffmpeg of the PyPI package imageio-ffmpeg; frames go to it over two pipes. Motion, the
only temporal feature of VMAF, is computed on every frame; the costly features on one in `every_frames`, which leaves
the scores of those frames exactly as they would be without sampling.

Means are taken inside the picture: letterbox borders are cropped before metering and black frames left out, since both
inflate every score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abr.core.title import Meter, Quality
from abr.quality.ffmpeg_meters import FfmpegMeters, MeterReport, MeterSettings
from abr.quality.ffmpeg_meters import ffmpeg_program as ffmpeg_program
from abr.quality.ffmpeg_meters import ffmpeg_version as ffmpeg_version
from abr.quality.pictures import Box as Box

Luma = npt.NDArray[np.uint8]

VMAF_MODEL = "vmaf_v0.6.1"
VMAF_NEG_MODEL = "vmaf_v0.6.1neg"
PLAIN_SCALER = "swscale lanczos"
BLACK_LUMA_MAX = 24.0
"""Mean 8-bit code value under which a frame counts as black; video black is 16."""
_BORDER_LUMA_MAX = 24
_SMALLEST_PICTURE_PX = 64
"""A box narrower than this is no letterbox but a dark film: keep the whole frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Scores of the sampled frames. All arrays have shape (N,).

    frame: int index of the scored frame. vmaf, vmaf_neg: 0–100. ssim: 0–1. psnr_y_db: at most 60.
    """

    frame: npt.NDArray[np.int64]
    vmaf: npt.NDArray[np.float64]
    vmaf_neg: npt.NDArray[np.float64]
    ssim: npt.NDArray[np.float64]
    psnr_y_db: npt.NDArray[np.float64]


def meter_of(*, every_frames: int, crop: Box, panel_every_segments: int = 0) -> Meter:
    """Describe a measurement taken by this module, so that its figures name their maker."""
    return Meter(
        vmaf_model=VMAF_MODEL,
        vmaf_neg_model=VMAF_NEG_MODEL,
        tool=f"libvmaf in ffmpeg {ffmpeg_version()}",
        scaler=PLAIN_SCALER,
        every_frames=every_frames,
        crop=crop,
        black_luma_max=BLACK_LUMA_MAX,
        panel_every_segments=panel_every_segments,
    )


def crop(luma: Luma, box: Box) -> Luma:
    """The view of `luma` (H, W) inside `box` = x, y, width, height."""
    x, y, width, height = box
    return luma[y : y + height, x : x + width]


def is_black(luma: Luma) -> bool:
    """Whether a source frame is too dark to judge a scaler by."""
    return float(luma.mean()) < BLACK_LUMA_MAX


def picture_box(frames: Iterable[Luma]) -> Box:
    """The picture inside black borders, over sample frames of one size (H, W), as x, y, width, height (all even).

    A border row or column is dark in every frame. Returns the whole frame when all is dark.
    Raises ValueError on no frames.
    """
    brightest: Luma | None = None
    for frame in frames:
        brightest = frame.copy() if brightest is None else np.maximum(brightest, frame)
    if brightest is None:
        raise ValueError("picture_box needs at least one frame")
    height, width = brightest.shape
    rows = np.flatnonzero(np.percentile(brightest, 95, axis=1) > _BORDER_LUMA_MAX)
    columns = np.flatnonzero(np.percentile(brightest, 95, axis=0) > _BORDER_LUMA_MAX)
    if len(rows) < _SMALLEST_PICTURE_PX or len(columns) < _SMALLEST_PICTURE_PX:
        return (0, 0, width, height)
    x, y = _even_up(int(columns[0])), _even_up(int(rows[0]))
    return (x, y, (int(columns[-1]) + 1 - x) & ~1, (int(rows[-1]) + 1 - y) & ~1)


def _even_up(value: int) -> int:
    return value + (value & 1)


def score_pairs(
    pairs: Iterable[tuple[Luma, Luma]],
    *,
    width_px: int,
    height_px: int,
    fps: float,
    every_frames: int = 1,
    threads: int = 2,
) -> Scores:
    """Score (reference, shown) luma frames, uint8 (height_px, width_px), given for every frame in order.

    Frames 0, every_frames, 2·every_frames, … are scored.
    Raises ToprungError when the meter fails and ValueError on no frames.
    """
    settings = MeterSettings(
        width_px=width_px,
        height_px=height_px,
        fps=fps,
        models={"vmaf": VMAF_MODEL, "vmaf_neg": VMAF_NEG_MODEL},
        features=("psnr", "float_ssim"),
        every_frames=every_frames,
        threads=threads,
    )
    # Grey input would be taken for full range and stretched, so each frame gets a constant chroma.
    grey = np.full(((height_px + 1) // 2, (width_px + 1) // 2), 128, dtype=np.uint8)
    with FfmpegMeters(settings) as meter:
        count = 0
        for reference, shown in pairs:
            meter.feed((reference, grey, grey), (shown, grey, grey))
            count += 1
        if count == 0:
            raise ValueError("score_pairs needs at least one pair of frames")
        return _scores(meter.finish())


def segment_means(scores: Scores, segment_frames: Sequence[int], keep: npt.NDArray[np.bool_]) -> Quality:
    """Mean scores of each segment over its scored frames with `keep` (bool, one a frame of the title).

    A segment without such a frame takes all its scored frames, and without any the scored frame nearest to its middle.
    """
    ends = np.cumsum(segment_frames)
    rows: list[npt.NDArray[np.intp]] = []
    for start, end in zip(ends - np.asarray(segment_frames), ends, strict=True):
        inside = np.flatnonzero((scores.frame >= start) & (scores.frame < end))
        kept = inside[keep[scores.frame[inside]]]
        nearest = np.argmin(np.abs(scores.frame - (start + end) / 2)).reshape(1)
        rows.append(kept if len(kept) else inside if len(inside) else nearest)

    def means(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(round(float(values[row].mean()), 4) for row in rows)

    return Quality(
        vmaf=means(scores.vmaf),
        vmaf_neg=means(scores.vmaf_neg),
        ssim=means(scores.ssim),
        psnr_y_db=means(scores.psnr_y_db),
    )


def _scores(report: MeterReport) -> Scores:
    def column(name: str) -> npt.NDArray[np.float64]:
        return np.array([metrics[name] for metrics in report.metrics], dtype=np.float64)

    return Scores(
        frame=np.array(report.frames, dtype=np.int64),
        vmaf=column("vmaf"),
        vmaf_neg=column("vmaf_neg"),
        ssim=column("float_ssim"),
        psnr_y_db=column("psnr_y"),
    )
