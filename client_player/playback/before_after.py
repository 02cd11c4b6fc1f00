"""A before/after pair: one frame of the session, plainly upscaled and enhanced, where the enhancer gained most."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from abr.errors import StorageError
from abr.media.planes import Plane
from abr.records import Record, dumps_pretty
from client_player.decoder import SegmentDecoder
from client_player.playback.presenter import FrameJob
from client_player.playback.sink import png
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame

PAIR_FILE, BEFORE_FILE, AFTER_FILE = "pair.json", "before.png", "after.png"
_KEPT_MAX_BYTES = 16 << 20
_LOOK_EVERY = 6
_BLOCK_PX = 80
_CANDIDATES_MAX = 12
_LIT_LUMA, _DETAIL_LUMA = 45, 6
"""A block whose mean is above the first is lit (16 is black, 235 white); a deviation above the second is detail."""
_VISIBLE_ENOUGH = 0.5
_VISIBLE_LEAST = 0.01
"""What a frame without light and detail counts, so that a film of nothing else still has a pair."""
_Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class PairNote(Record, frozen=True):
    """What the pair shows. hot_x, hot_y: where the two differ most, as shares of width and height."""

    segment: int
    media_s: float
    rendition: str
    enhancer: str
    plain_vmaf: float
    promised_vmaf: float
    hot_x: float
    hot_y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An enhanced segment that a pair may be taken from, with its promised gain."""

    job: FrameJob
    plain_vmaf: float
    promised_vmaf: float

    @property
    def gain(self) -> float:
        """VMAF that the enhancer was promised to add."""
        return self.promised_vmaf - self.plain_vmaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A frame of a candidate, plainly upscaled and enhanced. visible: share (0…1) of it with light and detail."""

    candidate: Candidate
    frame: int
    before: Frame
    after: Frame
    visible: float

    @property
    def enough(self) -> bool:
        """Whether a viewer has something to look at."""
        return self.visible >= _VISIBLE_ENOUGH


@dataclass(slots=True)
class BeforeAfterRecorder:
    """Keeps the enhanced segments with the greatest promised gain of all that `consider` gets, greatest first."""

    candidates: list[Candidate] = field(default_factory=list)

    def consider(self, job: FrameJob, plain_vmaf: float, promised_vmaf: float) -> None:
        """Keep this segment if it gains more than one of those that are kept."""
        candidate = Candidate(job=job, plain_vmaf=plain_vmaf, promised_vmaf=promised_vmaf)
        if candidate.gain > 0 and 0 < len(job.data) <= _KEPT_MAX_BYTES:
            ordered = sorted([*self.candidates, candidate], key=lambda each: each.gain, reverse=True)
            self.candidates = ordered[:_CANDIDATES_MAX]


def find_pair(candidate: Candidate, enhancer: Enhancer, scaler: PlainScaler) -> Pair | None:
    """The sampled frame in which most is to be seen of what the enhancer changed; None if it changed nothing."""
    decoder = SegmentDecoder(candidate.job.data, key=candidate.job.key)
    best: Pair | None = None
    most = 0.0
    for number in range(candidate.job.frames):
        frame = decoder.next_frame()
        if frame is None:
            break
        if number % _LOOK_EVERY == 0:
            before, after = scaler.enhance(frame), enhancer.enhance(frame)
            visible = _visible_share(before.y)
            change = float(np.abs(_difference(before.y, after.y)).mean()) * (visible + _VISIBLE_LEAST)
            if change > most:
                best = Pair(candidate=candidate, frame=number, before=before, after=after, visible=visible)
                most = change
    return best


async def choose_pair(
    candidates: Sequence[Candidate], find: Callable[[Candidate], Awaitable[Pair | None]]
) -> Pair | None:
    """The pair of the first candidate that gives a viewer enough to look at, else the most visible of all."""
    best: Pair | None = None
    for candidate in candidates:
        pair = await find(candidate)
        if pair is not None and (best is None or pair.visible > best.visible):
            best = pair
        if best is not None and best.enough:
            break
    return best


def write_pair(pair: Pair, fps: float, folder: Path) -> None:
    """Write before.png, after.png and pair.json. Raises StorageError."""
    job, before, after = pair.candidate.job, pair.before, pair.after
    x, y = _find_hot_spot(before.y, after.y)
    note = PairNote(
        segment=job.segment,
        media_s=round(job.start_s + pair.frame / fps, 3),
        rendition=job.rendition,
        enhancer=job.enhancer,
        plain_vmaf=pair.candidate.plain_vmaf,
        promised_vmaf=pair.candidate.promised_vmaf,
        hot_x=x,
        hot_y=y,
    )
    try:
        (folder / BEFORE_FILE).write_bytes(png(before))
        (folder / AFTER_FILE).write_bytes(png(after))
        (folder / PAIR_FILE).write_bytes(dumps_pretty(note))
    except OSError as error:
        raise StorageError(f"Cannot write the before/after pair to {folder}: {error.strerror}.") from error


def _visible_share(luma: Plane) -> float:
    """Share of a frame's blocks that are lit and have detail: black frames and plain walls have none."""
    blocks = _in_blocks(luma.astype(np.float32))
    lit = blocks.mean(axis=(1, 3)) > _LIT_LUMA
    detailed = blocks.std(axis=(1, 3)) > _DETAIL_LUMA
    return float((lit & detailed).mean())


def _in_blocks(plane: _Floats) -> _Floats:
    """A plane as (rows, height, columns, width) of blocks of about _BLOCK_PX; what does not divide is cut off."""
    height, width = plane.shape
    rows, columns = max(1, height // _BLOCK_PX), max(1, width // _BLOCK_PX)
    inside = plane[: rows * (height // rows), : columns * (width // columns)]
    return inside.reshape(rows, height // rows, columns, width // columns)


def _find_hot_spot(before: Plane, after: Plane) -> tuple[float, float]:
    blocks = _in_blocks(np.abs(_difference(before, after)).astype(np.float32)).mean(axis=(1, 3))
    rows, columns = blocks.shape
    row, column = np.unravel_index(int(blocks.argmax()), blocks.shape)
    return round((float(column) + 0.5) / columns, 3), round((float(row) + 0.5) / rows, 3)


def _difference(before: Plane, after: Plane) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return after.astype(np.int16) - before.astype(np.int16)
