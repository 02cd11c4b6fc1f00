"""A before/after pair: one frame of the session, plainly upscaled and enhanced, where the enhancer gained most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abr.errors import StorageError
from abr.formats import Record, dumps_pretty
from client_player.decode import SegmentDecoder
from client_player.screen import Job
from client_player.sink import png
from enhancers.base import Enhancer, PlainScaler
from enhancers.frames import Frame, Plane

PAIR_FILE, BEFORE_FILE, AFTER_FILE = "pair.json", "before.png", "after.png"
_KEPT_MAX_BYTES = 16 << 20
_LOOK_EVERY = 6
_BLOCK_PX = 80


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


@dataclass(slots=True)
class Keepsake:
    """Remembers the enhanced segment with the greatest promised gain of all that it is shown."""

    job: Job | None = None
    plain_vmaf: float = 0.0
    promised_vmaf: float = 0.0

    def consider(self, job: Job, plain_vmaf: float, promised_vmaf: float) -> None:
        gain = promised_vmaf - plain_vmaf
        if gain > self.promised_vmaf - self.plain_vmaf and 0 < len(job.data) <= _KEPT_MAX_BYTES:
            self.job, self.plain_vmaf, self.promised_vmaf = job, plain_vmaf, promised_vmaf


def write_pair(keepsake: Keepsake, enhancer: Enhancer, scaler: PlainScaler, fps: float, folder: Path) -> None:
    """Write before.png, after.png and pair.json. Raises StorageError."""
    job = keepsake.job
    best = _most_changed(job, enhancer, scaler) if job else None
    if job is None or best is None:
        return
    number, before, after = best
    x, y = _hot_spot(before.y, after.y)
    note = PairNote(
        segment=job.segment,
        media_s=round(job.start_s + number / fps, 3),
        rendition=job.rendition,
        enhancer=job.enhancer,
        plain_vmaf=keepsake.plain_vmaf,
        promised_vmaf=keepsake.promised_vmaf,
        hot_x=x,
        hot_y=y,
    )
    try:
        (folder / BEFORE_FILE).write_bytes(png(before))
        (folder / AFTER_FILE).write_bytes(png(after))
        (folder / PAIR_FILE).write_bytes(dumps_pretty(note))
    except OSError as error:
        raise StorageError(f"Cannot write the before/after pair to {folder}: {error.strerror}.") from error


def _most_changed(job: Job, enhancer: Enhancer, scaler: PlainScaler) -> tuple[int, Frame, Frame] | None:
    """The sampled frame that the enhancer changed most: number, before, after."""
    decoder = SegmentDecoder(job.data)
    best: tuple[int, Frame, Frame] | None = None
    most = 0.0
    for number in range(job.frames):
        frame = decoder.next()
        if frame is None:
            break
        if number % _LOOK_EVERY == 0:
            before, after = scaler.enhance(frame), enhancer.enhance(frame)
            change = float(np.abs(_difference(before.y, after.y)).mean())
            if change > most:
                best, most = (number, before, after), change
    return best


def _hot_spot(before: Plane, after: Plane) -> tuple[float, float]:
    change = np.abs(_difference(before, after))
    rows, columns = max(1, change.shape[0] // _BLOCK_PX), max(1, change.shape[1] // _BLOCK_PX)
    inside = change[: rows * (change.shape[0] // rows), : columns * (change.shape[1] // columns)]
    blocks = inside.reshape(rows, change.shape[0] // rows, columns, change.shape[1] // columns).mean(axis=(1, 3))
    row, column = np.unravel_index(int(blocks.argmax()), blocks.shape)
    return round((float(column) + 0.5) / columns, 3), round((float(row) + 0.5) / rows, 3)


def _difference(before: Plane, after: Plane) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return after.astype(np.int16) - before.astype(np.int16)
