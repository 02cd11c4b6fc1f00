"""Pictures as they came: files of a rung, or the segments of one, decoded and shrunk once more to learn from.

What came is a stranger's: it is decoded as MP4 and nothing else, within bounds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from abr.core.title import INIT_FILE, TITLE_FILE, Title
from abr.errors import InputError, MediaError
from abr.files import read_bounded
from abr.records import load
from enhancers.federation.local_training import FRAMES_MAX, KEEP, own_pairs
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.training.patches import TrainingPairs

CRF = 25.0
"""Of `toprung prepare`, where a title does not tell its own."""
_BYTES_MAX = 64 << 20
_FILMS_MAX = 16
_SEGMENTS = "seg-*.m4s"
_CRF_TOLD = re.compile(r"\bcrf ([0-9]{1,2}(?:\.[0-9]+)?)\b")


def read_came(paths: Sequence[Path], scale: float, crf: float | None) -> list[TrainingPairs]:
    """Pairs of each film. paths: MP4 files, or folders with `init.mp4` and segments, as titles have them.

    crf: of the ladder; None: as the title beside a folder tells. Raises InputError, MediaError, StorageError.
    """
    if len(paths) > _FILMS_MAX:
        raise InputError(f"{len(paths)} films are more than the {_FILMS_MAX} that are learnt from at once.")
    return [own_pairs(_decoded(path), scale, _told_crf(path) if crf is None else crf, KEEP) for path in paths]


def _decoded(path: Path) -> list[Frame]:
    data = _segments(path) if path.is_dir() else read_bounded(path, _BYTES_MAX, what="film as it came")
    frames = list(islice(decode_segment(data), FRAMES_MAX))
    if len({(frame.width_px, frame.height_px) for frame in frames}) != 1:
        raise MediaError(f"The pictures of {path} are not all of one size.")
    return frames


def _segments(folder: Path) -> bytes:
    """The init segment, and as many of the others as are there, from the first one on."""
    data = read_bounded(folder / INIT_FILE, _BYTES_MAX, what="init segment")
    segments = sorted(folder.glob(_SEGMENTS))[:FRAMES_MAX]
    if not segments:
        raise InputError(f"There is no segment in {folder}; give a rendition's folder: TITLE/video/RENDITION.")
    for segment in segments:
        if len(data) < _BYTES_MAX:
            data += read_bounded(segment, _BYTES_MAX, what="segment")
    return data


def _told_crf(path: Path) -> float:
    """By which the title of a rendition's folder says that it was encoded."""
    file = path.parent.parent / TITLE_FILE
    if not path.is_dir() or not file.is_file():
        return CRF
    told = _CRF_TOLD.search(load(file, Title).encoder)
    return min(51.0, float(told[1])) if told else CRF
