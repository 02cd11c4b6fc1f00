"""Quality of every rendition × enhancer × segment, measured on the frames that the runtime shows.

Frames are scored inside blocks of whole segments, so that an interrupted measurement goes on and memory stays bounded.
Only every n-th frame is scored; the meter's one temporal feature, motion, looks at the reference one frame before
and after (Netflix vmaf, integer_motion: motion2 is the lesser of both), so the meter is fed just these three, and its
scores are exactly those of a run over all frames. Beside that the panel judges single frames, the same ones that it
judged when the title was prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from abr.core.title import PanelFigures, Quality, Rendition
from abr.errors import MediaError
from abr.quality.pictures import Planes, crop_planes
from abr.quality.sampled_panel import SampledPanel, fed_frames, judged_frames
from abr.quality.vmaf import Luma, Scores, crop, is_black, score_pairs, segment_means
from enhancers.networks import catalog
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame

_BLOCK_BYTES = 400 << 20
_PSNR_TOLERANCE_DB = 1.5
_NEAR = 3
"""Frames fed to the meter for each one that it scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentBlock:
    """Segments first … last of a title, and the frames (counted from the title's start) that are scored in them.

    judged: the frames that the panel looks at, by segment.
    """

    first: int
    last: int
    start: int
    scored: tuple[int, ...]
    judged: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An enhancer opened for a rendition, to be measured. key: the caller's name for it."""

    key: str
    rendition: Rendition
    enhancer: Enhancer
    reuses: bool = False
    """Whether its picture depends on the frames before it."""


def cut_into_blocks(prepared: PreparedTitle, every_frames: int) -> list[SegmentBlock]:
    """Cut the title into blocks that fit memory. Each segment has a scored frame."""
    title = prepared.title
    judged = judged_frames(title.segment_frames, title.meter.panel_every_segments)
    parts = _cut(prepared, every_frames)
    return [
        replace(
            part, judged={segment: frame for segment, frame in judged.items() if part.first <= segment <= part.last}
        )
        for part in parts
    ]


def _cut(prepared: PreparedTitle, every_frames: int) -> list[SegmentBlock]:
    title = prepared.title
    frame_bytes = title.display_width_px * title.display_height_px * _NEAR
    frames_max = max(1, _BLOCK_BYTES // frame_bytes)
    result: list[SegmentBlock] = []
    start = segment_start = 0
    frames_in_block: list[int] = []
    first = 0
    for segment, count in enumerate(title.segment_frames):
        scored = _scored_in_segment(segment_start, count, every_frames)
        if frames_in_block and len(frames_in_block) + len(scored) > frames_max:
            result.append(SegmentBlock(first=first, last=segment - 1, start=start, scored=tuple(frames_in_block)))
            frames_in_block, first, start = [], segment, segment_start
        frames_in_block += scored
        segment_start += count
    result.append(
        SegmentBlock(first=first, last=len(title.segment_frames) - 1, start=start, scored=tuple(frames_in_block))
    )
    return result


def _scored_in_segment(start: int, count: int, every_frames: int) -> list[int]:
    inside = [index for index in range(start, start + count) if index % every_frames == 0]
    return inside or [start + count // 2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceFrames:
    """Source luma, cropped to the picture, by frame index: the scored frames of a block and their neighbours.

    judged: by segment, the source's frame that the panel judges after the two before it; black ones are left out.
    """

    frames: Mapping[int, Luma]
    total: int
    judged: Mapping[int, Sequence[Planes]] = field(default_factory=dict)

    def near(self, index: int) -> tuple[int, int]:
        """The frames before and after `index`, itself at the ends of the title."""
        return max(0, index - 1), min(self.total - 1, index + 1)


def read_references(
    prepared: PreparedTitle, parts: Sequence[SegmentBlock]
) -> Iterator[tuple[SegmentBlock, ReferenceFrames]]:
    """Each block with its source frames, in one pass over the source."""
    title = prepared.title
    total = sum(title.segment_frames)
    source = enumerate(prepared.source_frames())
    frames: dict[int, Luma] = {}
    pictures: dict[int, Planes] = {}
    for block in parts:
        fed = {segment: fed_frames(frame) for segment, frame in block.judged.items()}
        needed = {near for index in block.scored for near in range(index - 1, index + 2) if 0 <= near < total}
        looked_at = {index for indices in fed.values() for index in indices}
        frames = {index: frame for index, frame in frames.items() if index in needed}
        pictures = {index: planes for index, planes in pictures.items() if index in looked_at}
        while (needed - frames.keys()) or (looked_at - pictures.keys()):
            index, frame = next(source)
            if index in needed:
                frames[index] = crop(frame.y, title.meter.crop)
            if index in looked_at:
                pictures[index] = crop_planes(frame.planes(), title.meter.crop)
        judged = {
            segment: [pictures[index] for index in indices]
            for segment, indices in fed.items()
            if not is_black(pictures[indices[-1]][0])
        }
        yield block, ReferenceFrames(frames=frames, total=total, judged=judged)


def measure_block(
    prepared: PreparedTitle,
    block: SegmentBlock,
    truth: ReferenceFrames,
    subjects: Sequence[Subject],
    *,
    workers: int = 2,
) -> dict[str, Measured]:
    """Score subjects of one rendition over a block, `workers` at a time. Scores' `frame` counts from the title's start.

    Frames are enhanced as the meter asks for them: no picture is kept longer than that.
    """
    frames = scored_frames(prepared, subjects[0].rendition, block)

    def scored(subject: Subject) -> Measured:
        def enhanced(index: int) -> Frame:
            *leading, frame = frames[index] if subject.reuses else frames[index][-1:]
            for before in leading:
                subject.enhancer.enhance(before)
            return subject.enhancer.enhance(frame)

        return measure_shown(prepared, block, truth, enhanced)

    with ThreadPoolExecutor(workers) as pool:
        return dict(zip([subject.key for subject in subjects], pool.map(scored, subjects), strict=True))


def measure_shown(
    prepared: PreparedTitle, block: SegmentBlock, truth: ReferenceFrames, shown: Callable[[int], Frame]
) -> Measured:
    """Score pictures of display size: `shown` returns that for the index of a scored or judged frame, or before one."""
    box, fps = prepared.title.meter.crop, prepared.title.fps
    scores = score_block(block, truth, lambda index: crop(shown(index).y, box), fps)
    with SampledPanel(box[2], box[3], fps) as panel:
        for segment, sources in truth.judged.items():
            pictures = [crop_planes(shown(index).planes(), box) for index in fed_frames(block.judged[segment])[1:]]
            panel.judge(segment, list(zip(sources, [sources[0], *pictures], strict=True)))
        return Measured(scores=scores, panel=panel.finish())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What the meters say of one subject over some segments. panel: None where it judged nothing."""

    scores: Scores
    panel: PanelFigures | None


def check_source(prepared: PreparedTitle, block: SegmentBlock, truth: ReferenceFrames) -> None:
    """Make sure that source and title line up: plain playback must be as good as prepare found it.

    Raises MediaError when the lowest rendition is more than _PSNR_TOLERANCE_DB away from what prepare measured, and
    farther than two standard errors beyond it: prepare may have looked at other frames. Black ones count in neither.
    """
    title = prepared.title
    rendition = title.renditions[0]
    scaler = PlainScaler(rendition.width_px, rendition.height_px, *prepared.display_px)
    frames = scored_frames(prepared, rendition, block)
    kept = [index for index, counts in zip(block.scored, kept_frames(truth, block), strict=True) if counts]
    if not kept:
        return
    psnr_db = np.array(
        [psnr(crop(scaler.enhance(frames[index][-1]).y, title.meter.crop), truth.frames[index]) for index in kept]
    )
    segments = np.searchsorted(np.cumsum(title.segment_frames), kept, side="right")
    expected_db = np.array(title.plain_quality[rendition.id].psnr_y_db)[segments]
    off_db = psnr_db - expected_db
    if abs(off_db.mean()) > _PSNR_TOLERANCE_DB + 2 * off_db.std() / np.sqrt(len(kept)):
        raise MediaError(
            f"{prepared.source.name} does not line up with {title.id}: {rendition.id} is at {psnr_db.mean():.1f} dB "
            f"from it, prepare found {expected_db.mean():.1f} dB. Make the source progressive BT.709, then prepare it "
            "again."
        )


def psnr(a: Luma, b: Luma) -> float:
    """PSNR of two uint8 pictures of one shape in decibels, at most 60."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return min(60.0, 10 * float(np.log10(255**2 / max(error, 1e-9))))


def scored_frames(prepared: PreparedTitle, rendition: Rendition, block: SegmentBlock) -> dict[int, list[Frame]]:
    """By index of each scored or judged frame: those from its anchor (`enhancers.runtime.motion_reuse`) to itself."""
    wanted = {*block.scored, *(index for frame in block.judged.values() for index in fed_frames(frame)[1:])}
    kept: dict[int, list[Frame]] = {}
    start = block.start
    for segment in range(block.first, block.last + 1):
        frames = prepared.frames(rendition, segment, motion=True)
        for place in range(len(frames)):
            if start + place in wanted:
                kept[start + place] = frames[place - place % catalog.REUSED_FRAMES : place + 1]
        start += len(frames)
    return kept


def score_block(block: SegmentBlock, truth: ReferenceFrames, shown: Callable[[int], Luma], fps: float) -> Scores:
    """Score the luma that `shown` returns for the index of each scored frame, fed by threes as the module says."""
    height_px, width_px = truth.frames[block.scored[0]].shape
    scores = score_pairs(
        _meter_pairs(block, truth, shown),
        width_px=width_px,
        height_px=height_px,
        fps=fps,
        every_frames=_NEAR,
        threads=1,
    )
    kept = slice(_lead(block), _lead(block) + len(block.scored))
    return Scores(
        frame=np.asarray(block.scored, dtype=np.int64),
        vmaf=scores.vmaf[kept],
        vmaf_neg=scores.vmaf_neg[kept],
        ssim=scores.ssim[kept],
        psnr_y_db=scores.psnr_y_db[kept],
    )


def _lead(block: SegmentBlock) -> int:
    """Dummy scored frames at the front: the meter scores its first frame, which is rarely one that we want."""
    return 0 if block.scored[0] == 0 else 1


def _meter_pairs(
    block: SegmentBlock, truth: ReferenceFrames, shown: Callable[[int], Luma]
) -> Iterator[tuple[Luma, Luma]]:
    """Pairs in the order [lead lead] before₀ scored₀ after₀ before₁ scored₁ …; only the scored ones are compared."""
    for number, index in enumerate(block.scored):
        before, after = truth.near(index)
        if number or _lead(block):
            repeats = 1 if number else _NEAR
            for _ in range(repeats):
                yield truth.frames[before], truth.frames[before]
        yield truth.frames[index], shown(index)
        if after != index:
            yield truth.frames[after], truth.frames[after]


def join_scores(parts: Sequence[Scores]) -> Scores:
    """The scores of consecutive blocks as one."""
    names = ("frame", "vmaf", "vmaf_neg", "ssim", "psnr_y_db")
    return Scores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def kept_frames(truth: ReferenceFrames, block: SegmentBlock) -> list[bool]:
    """Which scored frames of a block count: black ones do not."""
    return [not is_black(truth.frames[index]) for index in block.scored]


def mean_by_segment(
    prepared: PreparedTitle, scores: Scores, kept: Sequence[bool], panel: PanelFigures | None
) -> Quality:
    """Means of each segment over its kept frames. kept: one value for each frame in `scores`."""
    keep = np.zeros(sum(prepared.title.segment_frames), dtype=np.bool_)
    keep[scores.frame] = kept
    return msgspec.structs.replace(segment_means(scores, prepared.title.segment_frames, keep), panel=panel)
