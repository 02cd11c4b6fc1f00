"""A stream that has ended becomes an ordinary title: the same segments, measured as `toprung prepare` measures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from abr.core.live.learning import LearntNetwork
from abr.core.title import AudioTrack, Source, Title
from abr.errors import InputError, StorageError
from abr.files import file_sha256
from abr.media.probe import SourceInfo
from abr.media.source_frames import display_frames
from abr.progress import ProgressBars
from server.ingest.checkpoints import Checkpoints
from server.ingest.encode import EncodedRung
from server.ingest.encode_settings import EncodeSettings
from server.ingest.ladder import Rung
from server.ingest.plain_quality import PictureFinder, measure_quality
from server.ingest.title_writer import Made, Video, write_title
from server.live.ladder.refilling import fill_left_out
from server.live.learning.kept_weights import keep_weights, take_over
from server.media.library import Library

_LEARNT = "learnt"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedStream:
    """Everything of a stream that lies in `work.title`, and the recording of its frames. footage: of the recording."""

    name: str
    recording: Path
    footage: SourceInfo
    rungs: tuple[Rung, ...]
    encoded: tuple[EncodedRung, ...]
    tracks: tuple[AudioTrack, ...]
    recipe: EncodeSettings
    learnt: tuple[LearntNetwork, ...] = ()


def keep_title(
    stream: EndedStream, work: Checkpoints, library: Library, bars: ProgressBars, tell: Callable[[str], None]
) -> Title:
    """Measure the stream's quality and publish it in the place of the live title; then what it has learnt with it.

    Raises ToprungError when a meter fails, StorageError when the disk refuses.
    """
    recording, footage = stream.recording, stream.footage
    encoded = tuple(_whole(stream, place, work, bars) for place in range(len(stream.rungs)))
    finder = PictureFinder(footage.frames_expected)
    with bars("finding the picture", footage.frames_expected) as advance:
        for _ in finder.watch(display_frames(recording, footage)):
            advance(1)
    video = Video(rungs=encoded, box=finder.box())
    qualities = measure_quality(recording, footage, video, stream.recipe, work, bars)
    source = Source(
        name=f"{stream.name}{recording.suffix}",
        sha256=file_sha256(recording),
        width_px=footage.coded_width_px,
        height_px=footage.coded_height_px,
        duration_s=footage.duration_s,
    )
    made = Made(footage=footage, rungs=stream.rungs, video=video, tracks=stream.tracks, qualities=qualities, how="live")
    title = write_title(work.title, stream.name, source, made, stream.recipe)
    if stream.learnt:
        keep_weights(work.folder / _LEARNT, stream.name, stream.learnt, library.root / stream.name)
    library.publish(stream.name, work.title)
    if stream.learnt:
        tell(f"{stream.name} is a title; what it has learnt is measured on the whole of it.")
        problem = take_over(library.root, stream.name, recording, work.folder / _LEARNT)
        tell(
            f"what it has learnt is not offered: {problem}" if problem else f"{stream.name} offers what it has learnt."
        )
    return title


def _whole(stream: EndedStream, place: int, work: Checkpoints, bars: ProgressBars) -> EncodedRung:
    """A rung with what the ladder left out of it."""
    rung, encoded = stream.rungs[place], stream.encoded[place]
    if all(encoded.segment_bytes):
        return encoded
    with bars(f"encoding what was left out of {rung.id}", stream.footage.frames_expected) as advance:
        folder = work.title / "video" / rung.id
        return fill_left_out(folder, stream.recording, stream.footage, rung, encoded, stream.recipe, advance)


def check_recording(target: Path) -> None:
    """Before a stream begins: whether its recording can be put there. Raises InputError."""
    folder = next(each for each in target.absolute().parents if each.exists())
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"Cannot write into {folder} ({error.strerror}); choose another --recording.") from error


def move_recording(recording: Path, target: Path) -> None:
    """Keep the recording itself, to train enhancers from. Raises StorageError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(recording, target)
    except OSError as error:
        raise StorageError(f"Cannot keep the recording as {target}: {error.strerror}.") from error
