"""Samples of a stream's newest segments as files, for a process beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abr.core.live.quality import PICTURES_FILE
from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import INIT_FILE, TITLE_FILE, segment_file
from abr.files import write_file
from abr.media.planes import planes_of
from abr.records import dumps, load

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

BEFORE, AFTER = 2, 1
"""Pictures before and after the middle one, which is judged: flicker and motion need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledStream:
    """folder: of the live title. work: where samples are put meanwhile. rungs: their ids."""

    folder: Path
    work: Path
    rungs: Sequence[str]
    segment_frames: int
    segment_s: float


def sampled_places(segment_frames: int, spread: Sequence[float]) -> frozenset[int]:
    """Which pictures of a segment a sample has: those around the middle one, and further ones at shares of it."""
    middle = segment_frames // 2
    return frozenset((*range(middle - BEFORE, middle + AFTER + 1), *(int(share * segment_frames) for share in spread)))


def write_sample(stream: SampledStream, segment: int, pictures: Mapping[int, VideoFrame]) -> Path:
    """The title of that one segment, and those pictures of it. Raises OSError, FormatError, StorageError."""
    sample = stream.work / "samples" / str(segment)
    for rung in stream.rungs:
        home = sample / "video" / rung
        home.mkdir(parents=True)
        for name, as_name in ((INIT_FILE, INIT_FILE), (segment_file(segment), segment_file(0))):
            _link(stream.folder / "video" / rung / name, home / as_name)
    write_file(sample / TITLE_FILE, dumps(load(stream.folder / TABLES_FILE, LiveTables).typical))
    numbers = sorted(pictures)
    planes = zip(*(planes_of(pictures[number]) for number in numbers), strict=True)
    y, u, v = (np.stack([np.array(plane) for plane in each]) for each in planes)
    with (sample / PICTURES_FILE).open("wb") as file:
        np.savez(file, y=y, u=u, v=v, numbers=np.array(numbers), judged=np.array(stream.segment_frames // 2))
    return sample


def _link(path: Path, twin: Path) -> None:
    try:
        os.link(path, twin)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(path, twin)
