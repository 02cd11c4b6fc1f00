"""A prepared title as training material: its decoded rungs, and its source on the same frame grid."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from abr.errors import InputError, MediaError, StorageError, UnknownNameError
from abr.formats import load
from abr.media import TITLE_FILE, Rendition, Title, segment_file
from enhancers.base import PlainScaler
from enhancers.data import Pairs
from enhancers.frames import Frame, Plane, decode_file, decode_segment, frame_of

INIT_FILE = "init.mp4"
_PAIRS_BYTES_MAX = 1 << 30
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTitle:
    """A complete title folder and, once found, the file that it was made from."""

    folder: Path
    title: Title
    source: Path

    @property
    def display_px(self) -> tuple[int, int]:
        return self.title.display_width_px, self.title.display_height_px

    def frames(self, rendition: Rendition, segment: int, *, motion: bool = False) -> list[Frame]:
        """The decoded frames of one segment, with the codec's `motion` or without.

        Raises MediaError when there are more or fewer than the title says.
        """
        folder = self.folder / "video" / rendition.id
        try:
            data = (folder / INIT_FILE).read_bytes() + (folder / segment_file(segment)).read_bytes()
        except OSError as error:
            raise StorageError(f"Cannot read segment {segment} of {rendition.id}: {error.strerror}.") from error
        frames = list(decode_segment(data, motion=motion))
        if len(frames) != self.title.segment_frames[segment]:
            expected = self.title.segment_frames[segment]
            raise MediaError(f"Segment {segment} of {rendition.id} has {len(frames)} frames; {expected} were expected.")
        return frames

    def source_frames(self) -> Iterator[Frame]:
        """The source at display size, upright, one frame a cell of the title's grid, as many as the title has.

        Raises MediaError when the source ends early.
        """
        rate = Fraction(*self.title.frame_rate)
        wanted, index = sum(self.title.segment_frames), 0
        held: Frame | None = None
        origin_s: Fraction | None = None
        for frame in decode_file(str(self.source), filters=self.title.source.filters):
            time_s = _exact_time(frame)
            if origin_s is None:
                origin_s = time_s or Fraction(0)
            cell = index + 1 if time_s is None else math.floor((time_s - origin_s) * rate + Fraction(1, 2))
            while held is not None and index < min(cell, wanted):
                yield held
                index += 1
            if index >= wanted:
                return
            held = frame if self.title.source.filters else self._upright(frame)
        if held is None or index + 1 < wanted - rate:
            raise MediaError(f"{self.source} ends after {index} frames; the title has {wanted}.")
        for _ in range(wanted - index):
            yield held

    def _upright(self, frame: Frame) -> Frame:
        """The frame as a viewer sees it: turned as the file says, square pixels."""
        turns = round(frame.picture.rotation / 90) % 4
        planes = [np.rot90(plane, turns) for plane in frame.planes()]
        width, height = self.display_px
        if (planes[0].shape[1] & ~1, planes[0].shape[0] & ~1) == self.display_px:  # odd sizes are cropped
            chroma = (slice(height // 2), slice(width // 2))
            planes = [planes[0][:height, :width], planes[1][chroma], planes[2][chroma]]
        upright = frame_of(*planes) if turns or planes[0].shape != frame.y.shape else frame
        if (upright.width_px, upright.height_px) == self.display_px:
            return upright
        return Frame(picture=upright.picture.reformat(width, height, interpolation="BICUBIC"))


def open_title(library: Path, title_id: str, source: Path | None) -> PreparedTitle:
    """Find a title and make sure of its source. Raises UnknownNameError, InputError or FormatError."""
    folder = library / title_id
    if not (folder / TITLE_FILE).is_file():
        known = [path.parent.name for path in library.glob(f"[!.]*/{TITLE_FILE}")] if library.is_dir() else []
        raise UnknownNameError("title", title_id, known)
    title = load(folder / TITLE_FILE, Title)
    if source is None:
        raise InputError(f"Training compares with the source of {title_id}: give --source {title.source.name}.")
    if not source.is_file():
        raise InputError(f"There is no file {source}; {title_id} was prepared from {title.source.name}.")
    if (found := file_sha256(source)) != title.source.sha256:
        raise InputError(
            f"{source} is not what {title_id} was prepared from: its sha256 is {found[:12]}…, "
            f"that of {title.source.name} was {title.source.sha256[:12]}…."
        )
    return PreparedTitle(folder=folder, title=title, source=source)


def file_sha256(path: Path) -> str:
    """Raises StorageError when the file cannot be read."""
    hasher = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                hasher.update(block)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    return hasher.hexdigest()


def title_pairs(prepared: PreparedTitle, renditions: dict[str, float], *, frames_max: int) -> dict[str, Pairs]:
    """Training pairs of several renditions (id → network scale) in one pass over the source.

    At most `frames_max` frames are kept, fewer when memory would not do, spread evenly over the title.
    """
    title = prepared.title
    total = sum(title.segment_frames)
    frame_bytes = 2 * title.display_width_px * title.display_height_px * len(renditions)
    frames_max = max(1, min(frames_max, _PAIRS_BYTES_MAX // frame_bytes))
    kept = set(np.linspace(0, total - 1, min(frames_max, total)).astype(int).tolist())
    makers = {id_: _PairMaker(prepared, title.rendition(id_), scale) for id_, scale in renditions.items()}
    source = prepared.source_frames()
    first = 0
    for segment, count in enumerate(title.segment_frames):
        references = [next(source) for _ in range(count)]
        chosen = [index for index in range(count) if first + index in kept]
        for maker in makers.values() if chosen else ():
            decoded = prepared.frames(maker.rendition, segment)
            for index in chosen:
                maker.add(decoded[index], references[index])
        first += count
    return {id_: maker.pairs() for id_, maker in makers.items()}


class _PairMaker:
    """Collects the pairs of one rendition at its network's size."""

    def __init__(self, prepared: PreparedTitle, rendition: Rendition, scale: float) -> None:
        self.rendition = rendition
        width, height = int(rendition.width_px * scale), int(rendition.height_px * scale)
        self._grow = PlainScaler(rendition.width_px, rendition.height_px, width, height)
        self._fit = PlainScaler(*prepared.display_px, width, height)
        x, y, w, h = prepared.title.meter.crop
        across, down = width / prepared.display_px[0], height / prepared.display_px[1]
        self._box = (round(x * across), round(y * down), int(w * across), int(h * down))
        self._low: list[Plane] = []
        self._plain: list[Plane] = []
        self._target: list[Plane] = []

    def add(self, decoded: Frame, reference: Frame) -> None:
        self._low.append(decoded.y)
        self._plain.append(self._grow.enhance(decoded).y)
        self._target.append(self._fit.enhance(reference).y)

    def pairs(self) -> Pairs:
        low, plain, target = (np.stack(part) for part in (self._low, self._plain, self._target))
        return Pairs(low=low, plain=plain, target=target, box=self._box)


def _exact_time(frame: Frame) -> Fraction | None:
    picture = frame.picture
    return None if picture.pts is None or picture.time_base is None else picture.pts * picture.time_base
