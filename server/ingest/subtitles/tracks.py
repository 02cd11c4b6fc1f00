"""The subtitles of a title: those of its source, then those of files beside it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from abr.core.title import INIT_FILE, Language, SubtitleRole, SubtitleTrack, segment_file
from abr.errors import InputError, MediaError, StorageError
from abr.files import file_sha256
from abr.media.languages import UNKNOWN, language_tag
from abr.media.probe import SourceInfo, open_source
from abr.records import Record
from server.ingest.mp4.one_sample import one_sample_segment
from server.ingest.subtitles.cues import Cue, place_cues, read_cues
from server.ingest.subtitles.imsc import cues_within, init_segment, write_document
from server.ingest.subtitles.ttml import is_ttml, loads_ttml
from server.ingest.subtitles.webvtt import dumps_webvtt

if TYPE_CHECKING:
    from av.container import InputContainer

    from server.ingest.mp4.cmaf import Write

FOLDER = "subtitles"
_FILE_FORMATS = "srt,webvtt,ass"
"""FFmpeg's names of files of subtitles: none of them names other files."""
_FILE_BYTES_MAX = 16 << 20


class SubtitleFile(Record, frozen=True):
    """A file of subtitles that the user gives. path: absolute. sha256: of what is in it."""

    path: str
    language: Language
    sha256: str


def subtitle_file(given: str) -> SubtitleFile:
    """`de=film.srt`, or `film.de.srt`, which says its language itself. Raises InputError."""
    said, _, rest = given.partition("=")
    path = Path(rest or said)
    written = said if rest else path.suffixes[-2].removeprefix(".") if len(path.suffixes) > 1 else ""
    language = language_tag(written)
    if rest and language == UNKNOWN:
        raise InputError(f"--subtitles {given!r}: {said!r} is no language; give one such as de=film.srt.")
    if not path.is_file():
        raise InputError(f"There is no file {path}; give --subtitles the path of an SRT, WebVTT, ASS or TTML file.")
    return SubtitleFile(path=str(path.absolute()), language=language, sha256=file_sha256(path))


def write_subtitles(
    source: Path,
    footage: SourceInfo,
    files: Sequence[SubtitleFile],
    ends_s: Sequence[Fraction],
    write: Write,
    *,
    imsc_ticks: int = 0,
) -> tuple[SubtitleTrack, ...]:
    """Write one file a track; a track without a cue in the title's time is left out.

    ends_s: of each segment of the title. imsc_ticks: write segments of IMSC text too, in a folder a track, with so many
    ticks a second; 0: do not.

    Raises MediaError for a file that is none of subtitles, StorageError from `write`.
    """
    tracks, lasts_s = list[SubtitleTrack](), float(ends_s[-1])
    for found in (*_of_source(source, footage, lasts_s), *_of_files(files, lasts_s)):
        if not found.cues:
            continue
        name = FOLDER if not tracks else f"{FOLDER}-{len(tracks) + 1}"
        body = dumps_webvtt(found.cues)
        write(f"{name}.vtt", body)
        sizes = _write_imsc(found, ends_s, imsc_ticks, partial(_write_below, write, name)) if imsc_ticks else ()
        tracks.append(
            SubtitleTrack(
                id=name,
                size_bytes=len(body),
                language=found.language,
                name=found.name,
                role=found.role,
                imsc_bytes=sizes,
            )
        )
    return tuple(tracks)


def _write_below(write: Write, folder: str, name: str, data: bytes) -> None:
    write(f"{folder}/{name}", data)


def _write_imsc(found: _Found, ends_s: Sequence[Fraction], ticks: int, write: Write) -> tuple[int, ...]:
    """Segments of the title's spans; gives the bytes of each."""
    write(INIT_FILE, init_segment(ticks))
    sizes = []
    for number, (start_s, end_s) in enumerate(pairwise([Fraction(0), *ends_s])):
        document = write_document(cues_within(found.cues, start_s, end_s), found.language)
        data = one_sample_segment(number + 1, int(start_s * ticks), int((end_s - start_s) * ticks), document)
        write(segment_file(number), data)
        sizes.append(len(data))
    return tuple(sizes)


class _Found(NamedTuple):
    cues: list[Cue]
    language: str
    name: str = ""
    role: SubtitleRole = "subtitle"


def _of_source(source: Path, footage: SourceInfo, lasts_s: float) -> Iterator[_Found]:
    """Where the file's clock restarts nobody can tell when its subtitles are to be read: none then."""
    for each in () if footage.picture_shifts else footage.subtitles:
        with open_source(source) as container:
            cues = place_cues(read_cues(container, each.stream), footage.start_s, lasts_s)
        yield _Found(cues, each.language, each.name, each.role)


def _of_files(files: Sequence[SubtitleFile], lasts_s: float) -> Iterator[_Found]:
    for each in files:
        path = Path(each.path)
        cues = place_cues(_cues_of_file(path), 0.0, lasts_s)
        if not cues:
            raise MediaError(f"{path.name} has no subtitles within the film's {lasts_s:.0f} s; is it of this film?")
        yield _Found(cues, each.language)


def _cues_of_file(path: Path) -> list[Cue]:
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            raise MediaError(f"{path.name} is larger than {_FILE_BYTES_MAX >> 20} MiB; subtitles are not.")
        written = path.read_bytes()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    if is_ttml(written):
        try:
            return loads_ttml(written)
        except MediaError as error:
            raise MediaError(f"{path.name} cannot be read as subtitles. {error}") from error
    with _open_file(path, written) as container:
        return list(read_cues(container, container.streams.subtitles[0].index))


@contextmanager
def _open_file(path: Path, written: bytes) -> Iterator[InputContainer]:
    import av

    what = f"{path.name} cannot be read as subtitles; give an SRT, WebVTT, ASS or TTML file in UTF-8."
    try:
        if not written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            written.decode("utf-8")
        with av.open(f"file:{path}", mode="r", options={"format_whitelist": _FILE_FORMATS}) as container:
            if not container.streams.subtitles:
                raise MediaError(what)
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise MediaError(what) from error
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
