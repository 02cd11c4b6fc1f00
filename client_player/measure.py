"""Quality truly seen: the shown luma, kept in a file while playing, against the source, with the title's own meter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abr.errors import InputError
from abr.media import Quality, Title
from abr.quality import Luma, crop, is_black, score_pairs, segment_means
from enhancers.base import PlainScaler
from enhancers.frames import decode_file


def measure(
    shown: Path,
    source: Path,
    title: Title,
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _frames: None,
) -> Quality | None:
    """Score the frames in `shown` (raw luma at display size, all frames of the title from its first on).

    One entry for each segment that was shown whole; None when there was none. The means have the weights of the
    title's own tables, so the two can be compared. Raises InputError when `source` has fewer frames than were shown.
    """
    size = title.display_width_px * title.display_height_px
    frames = shown.stat().st_size // size
    whole = np.flatnonzero(np.cumsum(title.segment_frames) <= frames)
    if not len(whole):
        return None
    segment_frames = title.segment_frames[: len(whole)]
    keep = np.ones(sum(segment_frames), dtype=np.bool_)
    _, _, width_px, height_px = title.meter.crop
    scores = score_pairs(
        _pairs(shown, source, title, keep, advance),
        width_px=width_px,
        height_px=height_px,
        fps=title.fps,
        every_frames=title.meter.every_frames,
        threads=threads,
    )
    return segment_means(scores, segment_frames, keep)


def digest(source: Path) -> str:
    """sha256 of a file, in hex: a title's `source.sha256` when the title was prepared from it. Raises InputError."""
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"Cannot read the source {source}: {error.strerror}.") from error


def source_luma(source: Path, title: Title) -> Iterator[Luma]:
    """The source's luma at display size (uint8, H × W) on the title's frame grid, as its viewer would see it.

    Cell n of the grid shows the last frame that began by n / rate, rounded to the nearest cell.
    """
    rate = Fraction(*title.frame_rate)
    origin_s: Fraction | None = None
    scaler: PlainScaler | None = None
    held: Luma | None = None
    index = begin = 0
    for frame in decode_file(str(source)):
        picture = frame.picture
        if scaler is None:
            scaler = PlainScaler(frame.width_px, frame.height_px, title.display_width_px, title.display_height_px)
        if picture.pts is None or picture.time_base is None:
            cell = begin + 1 if held is not None else 0
        else:
            time_s = picture.pts * picture.time_base
            origin_s = time_s if origin_s is None else origin_s
            cell = floor((time_s - origin_s) * rate + Fraction(1, 2))
        while held is not None and index < cell:
            yield held
            index += 1
        held, begin = scaler.enhance(frame).y, max(begin, cell)
    while held is not None and index < sum(title.segment_frames):
        yield held
        index += 1


def _pairs(
    shown: Path, source: Path, title: Title, keep: npt.NDArray[np.bool_], advance: Callable[[int], None]
) -> Iterator[tuple[Luma, Luma]]:
    height_px, width_px = title.display_height_px, title.display_width_px
    references = source_luma(source, title)
    with shown.open("rb") as file:
        for index in range(len(keep)):
            reference = next(references, None)
            if reference is None:
                raise InputError(
                    f"{source} has only {index} frames; the title has more. Give the file it was made from."
                )
            view = crop(reference, title.meter.crop)
            keep[index] = not is_black(view)
            picture = np.frombuffer(file.read(width_px * height_px), np.uint8).reshape(height_px, width_px)
            yield view, crop(picture, title.meter.crop)
            advance(1)
