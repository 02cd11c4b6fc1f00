"""What each enhancer buys: quality of every rendition × enhancer × segment, measured on what the runtime really shows.

Frames are scored inside blocks of whole segments, so that an interrupted measurement goes on and memory stays bounded.
Only every n-th frame is scored; the meter's one temporal feature, motion, looks at the reference one frame before
and after (Netflix vmaf, integer_motion: motion2 is the lesser of both), so the meter is fed just these three, and its
scores are exactly those of a run over all frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from abr.errors import MediaError
from abr.media import Quality, Rendition
from abr.quality import Luma, Scores, crop, is_black, score_pairs, segment_means
from enhancers import catalog
from enhancers.base import Enhancer, PlainScaler
from enhancers.frames import Frame
from enhancers.titles import PreparedTitle

_BLOCK_BYTES = 400 << 20
_PSNR_TOLERANCE_DB = 1.5
_NEAR = 3
"""Frames fed to the meter for each one that it scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Segments first … last of a title, and the frames (counted from the title's start) that are scored in them."""

    first: int
    last: int
    start: int
    scored: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing to be measured: an opened enhancer for a rendition, under a key of the caller's."""

    key: str
    rendition: Rendition
    enhancer: Enhancer
    reuses: bool = False
    """Whether its picture depends on the frames before it."""


def blocks(prepared: PreparedTitle, every_frames: int) -> list[Block]:
    """Cut the title into blocks that fit memory. Each segment has a scored frame."""
    title = prepared.title
    frame_bytes = title.display_width_px * title.display_height_px * _NEAR
    room = max(1, _BLOCK_BYTES // frame_bytes)
    result: list[Block] = []
    start = segment_start = 0
    held: list[int] = []
    first = 0
    for segment, count in enumerate(title.segment_frames):
        scored = _scored(segment_start, count, every_frames)
        if held and len(held) + len(scored) > room:
            result.append(Block(first=first, last=segment - 1, start=start, scored=tuple(held)))
            held, first, start = [], segment, segment_start
        held += scored
        segment_start += count
    result.append(Block(first=first, last=len(title.segment_frames) - 1, start=start, scored=tuple(held)))
    return result


def _scored(start: int, count: int, every_frames: int) -> list[int]:
    inside = [index for index in range(start, start + count) if index % every_frames == 0]
    return inside or [start + count // 2]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class References:
    """Source luma, cropped to the picture, by frame index: the scored frames of a block and their neighbours."""

    frames: Mapping[int, Luma]
    total: int

    def near(self, index: int) -> tuple[int, int]:
        """The frames before and after `index`, itself at the ends of the title."""
        return max(0, index - 1), min(self.total - 1, index + 1)


def references(prepared: PreparedTitle, parts: Sequence[Block]) -> Iterator[tuple[Block, References]]:
    """Each block with its source frames, in one pass over the source."""
    title = prepared.title
    total = sum(title.segment_frames)
    source = enumerate(prepared.source_frames())
    frames: dict[int, Luma] = {}
    for block in parts:
        needed = {near for index in block.scored for near in range(index - 1, index + 2) if 0 <= near < total}
        frames = {index: frame for index, frame in frames.items() if index in needed}
        while needed - frames.keys():
            index, frame = next(source)
            if index in needed:
                frames[index] = crop(frame.y, title.meter.crop)
        yield block, References(frames=frames, total=total)


def measure(
    prepared: PreparedTitle, block: Block, truth: References, subjects: Sequence[Subject], *, workers: int = 2
) -> dict[str, Scores]:
    """Score every subject over a block, `workers` at a time. Scores' `frame` counts from the title's start.

    Frames are enhanced as the meter asks for them: no picture is kept longer than that.
    """
    low = {subject.rendition.id: subject.rendition for subject in subjects}
    decoded = {id_: _scored_frames(prepared, rendition, block) for id_, rendition in low.items()}

    def scored(subject: Subject) -> Scores:
        frames = decoded[subject.rendition.id]

        def shown(index: int) -> Luma:
            *leading, frame = frames[index] if subject.reuses else frames[index][-1:]
            for before in leading:
                subject.enhancer.enhance(before)
            return crop(subject.enhancer.enhance(frame).y, prepared.title.meter.crop)

        return score(block, truth, shown, prepared.title.fps)

    with ThreadPoolExecutor(workers) as pool:
        return dict(zip([subject.key for subject in subjects], pool.map(scored, subjects), strict=True))


def check_source(prepared: PreparedTitle, block: Block, truth: References) -> None:
    """Make sure that source and title line up: plain playback must be as good as prepare found it.

    Raises MediaError. Sources that prepare had to deinterlace or recolour are told apart by this.
    """
    title = prepared.title
    rendition = title.renditions[0]
    scaler = PlainScaler(rendition.width_px, rendition.height_px, *prepared.display_px)
    psnr_db = [
        psnr(crop(scaler.enhance(frames[-1]).y, title.meter.crop), truth.frames[index])
        for index, frames in _scored_frames(prepared, rendition, block).items()
    ]
    expected_db = float(np.mean(title.plain_quality[rendition.id].psnr_y_db[block.first : block.last + 1]))
    if abs(float(np.mean(psnr_db)) - expected_db) > _PSNR_TOLERANCE_DB:
        raise MediaError(
            f"{prepared.source.name} does not line up with {title.id}: {rendition.id} is at {np.mean(psnr_db):.1f} dB "
            f"from it, prepare found {expected_db:.1f} dB. Make the source progressive BT.709, then prepare it again."
        )


def psnr(a: Luma, b: Luma) -> float:
    """PSNR of two uint8 pictures of one shape in decibels, at most 60."""
    error = float(np.mean((a.astype(np.float32) - b) ** 2))
    return min(60.0, 10 * float(np.log10(255**2 / max(error, 1e-9))))


def _scored_frames(prepared: PreparedTitle, rendition: Rendition, block: Block) -> dict[int, list[Frame]]:
    """Each scored frame, after those from its anchor on (`enhancers.reuse`; a segment begins with one)."""
    wanted = set(block.scored)
    kept: dict[int, list[Frame]] = {}
    start = block.start
    for segment in range(block.first, block.last + 1):
        frames = prepared.frames(rendition, segment, motion=True)
        for place in range(len(frames)):
            if start + place in wanted:
                kept[start + place] = frames[place - place % catalog.REUSED_FRAMES : place + 1]
        start += len(frames)
    return kept


def score(block: Block, truth: References, shown: Callable[[int], Luma], fps: float) -> Scores:
    """Score what `shown` gives for each scored frame, through the three-frame shortcut that the module describes."""
    height_px, width_px = truth.frames[block.scored[0]].shape
    scores = score_pairs(
        _fed(block, truth, shown), width_px=width_px, height_px=height_px, fps=fps, every_frames=_NEAR, threads=1
    )
    kept = slice(_lead(block), _lead(block) + len(block.scored))
    return Scores(
        frame=np.asarray(block.scored, dtype=np.int64),
        vmaf=scores.vmaf[kept],
        vmaf_neg=scores.vmaf_neg[kept],
        ssim=scores.ssim[kept],
        psnr_y_db=scores.psnr_y_db[kept],
    )


def _lead(block: Block) -> int:
    """Dummy scored frames at the front: the meter scores its first frame, which is rarely one that we want."""
    return 0 if block.scored[0] == 0 else 1


def _fed(block: Block, truth: References, shown: Callable[[int], Luma]) -> Iterator[tuple[Luma, Luma]]:
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


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of consecutive blocks as one."""
    names = ("frame", "vmaf", "vmaf_neg", "ssim", "psnr_y_db")
    return Scores(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def kept_frames(truth: References, block: Block) -> list[bool]:
    """Which scored frames of a block count: black ones do not."""
    return [not is_black(truth.frames[index]) for index in block.scored]


def quality(prepared: PreparedTitle, scores: Scores, kept: Sequence[bool]) -> Quality:
    """Means of each segment. `kept` is parallel to `scores`."""
    keep = np.zeros(sum(prepared.title.segment_frames), dtype=np.bool_)
    keep[scores.frame] = kept
    return segment_means(scores, prepared.title.segment_frames, keep)
