"""What a ladder left out while it fell behind is made when the stream has ended, from its recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from abr.core.title import segment_file
from abr.files import write_atomically
from abr.media.probe import SourceInfo
from abr.media.source_frames import display_frames
from server.ingest.encode import Break, EncodedRung, encode_ladder
from server.ingest.encode_settings import EncodeSettings, LiveEncoding, segment_length
from server.ingest.ladder import Rung
from server.ingest.mp4.cmaf import Write

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def fill_left_out(
    folder: Path,
    recording: Path,
    footage: SourceInfo,
    rung: Rung,
    encoded: EncodedRung,
    recipe: EncodeSettings,
    advance: Callable[[float], None],
) -> EncodedRung:
    """The rung with all of its segments. folder: of its files. Raises StorageError, ToprungError."""
    missing = {segment_file(number) for number, size in enumerate(encoded.segment_bytes) if not size}
    made: dict[str, int] = {}

    def writer(_rung: Rung) -> Write:
        def write(name: str, data: bytes) -> None:
            if name in missing and data:
                write_atomically(folder / name, data, durable=False)
                made[name] = len(data)

        return write

    frames = _only_left_out(display_frames(recording, footage), encoded, segment_length(recipe, footage.rate))
    encode_ladder(frames, [rung], recipe, footage.rate, writer, advance=advance, live=LiveEncoding())
    sizes = [size or made[segment_file(number)] for number, size in enumerate(encoded.segment_bytes)]
    return msgspec.structs.replace(encoded, segment_bytes=tuple(sizes))


def _only_left_out(frames: Iterable[VideoFrame], encoded: EncodedRung, usual: int) -> Iterator[VideoFrame | Break]:
    """Breaks where the stream had them, and around what is to be made."""
    breaks: dict[int, Break] = {}
    begins = accumulate(encoded.segment_frames[:-1], initial=0)
    shorter, there = False, False
    for begin, frames_of, size in zip(begins, encoded.segment_frames, encoded.segment_bytes, strict=True):
        if shorter or bool(size) != there:
            there = bool(size)
            breaks[begin] = Break(without=frozenset({encoded.id} if there else ()))
        shorter = frames_of < usual
    for index, frame in enumerate(frames):
        if index in breaks:
            yield breaks[index]
        yield frame
