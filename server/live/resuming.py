"""A stream whose process was killed, and what the next one needs to go on with it, as after a break of its source."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.live.timeline import Span
from abr.core.title import INIT_FILE, segment_file
from abr.errors import StorageError, ToprungError
from abr.files import write_atomically
from abr.records import dumps, dumps_pretty, load
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ
from server.live.plan import SOUND_PART, LivePlan
from server.live_edge.growing import growing_file, read_part
from server.media.live_title import LIVE_FILE, LiveTitle, load_live


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """How far a stream had come. Segments, frames and AAC frames are counted from its beginning.

    begun_s: seconds since 1970 at its media time 0. spans: from that of the first stored segment on; the last one
    begins now. segment, frame, sound_frame: where it goes on. sizes: bytes of all segments of each part, 0 of those
    that are gone. inits: of each part.
    """

    begun_s: float
    spans: tuple[Span, ...]
    first_stored: int
    segment: int
    frame: int
    sound_frame: int
    sizes: Mapping[str, array[int]]
    inits: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A live title that nobody writes any more, although it has not ended. due_s: by time.time, to go on with it."""

    folder: Path
    live: LiveTitle
    tables: LiveTables
    due_s: float

    def wait(self, waits_s: float) -> None:
        """Tell viewers that the stream is waited for. Raises StorageError."""
        told = {"updated_s": time.time(), "waits_s": waits_s}
        tables = msgspec.structs.replace(self.tables, **told)
        write_atomically(self.folder / TABLES_FILE, dumps(tables), durable=False)
        live = msgspec.structs.replace(self.live, state="paused", **told)
        write_atomically(self.folder / LIVE_FILE, dumps_pretty(live), durable=False)

    def fits(self, plan: LivePlan, came_s: float) -> bool:
        """Whether a stream of that plan goes on with it, whose first picture came then (seconds since 1970)."""
        return plan.recipe == self.live.recipe and came_s <= self.due_s

    def take_up(self, plan: LivePlan) -> Resumed:
        """Complete the segment that was under way with the chunks that were offered of it. Raises StorageError."""
        tables, segment = self.tables, self.tables.end
        try:
            whole = self._under_way(plan)
            for grown in self.folder.glob(f"*/*/{growing_file(Path('*')).name}"):
                grown.unlink()
            for part, body in whole.items():
                if body:
                    write_atomically(self.folder / part / segment_file(segment), body, durable=False)
            inits = {part: (self.folder / part / INIT_FILE).read_bytes() for part in plan.parts}
        except OSError as error:
            raise StorageError(f"Cannot go on with {self.folder}: {error.strerror}.") from error
        frame = tables.timeline.begin(segment) + self._chunks * tables.chunk_frames * bool(whole)
        return Resumed(
            begun_s=self.live.begun_s,
            spans=self._spans(segment + bool(whole), frame),
            first_stored=tables.first_stored,
            segment=segment + bool(whole),
            frame=frame,
            sound_frame=int(frame / plan.footage.rate * RATE_HZ / FRAME_SAMPLES),
            sizes={part: self._sizes(part, whole) for part in plan.parts},
            inits=inits,
        )

    @property
    def _chunks(self) -> int:
        """Of the segment under way, as far as they were offered."""
        return self.live.chunks if self.live.end == self.tables.end else 0

    def _under_way(self, plan: LivePlan) -> dict[str, bytes]:
        """What was offered of the segment under way, by part; nothing at all where nothing was."""
        segment, found = self.tables.end, {}
        without = self.tables.timeline.span_of(segment).without
        for part in plan.parts if self._chunks else ():
            chunks: list[bytes | None] = []
            if part.rpartition("/")[2] not in without:
                path = self.folder / part / segment_file(segment)
                chunks = [read_part(path, chunk) for chunk in range(self._chunks)]
            if None in chunks:
                return {}
            found[part] = b"".join(filter(None, chunks))
        return found

    def _spans(self, segment: int, frame: int) -> tuple[Span, ...]:
        *before, last = self.tables.spans
        if last.first_segment < segment:
            before.append(last)
        is_break = last.first_segment == segment and last.follows_break
        again = last if is_break else last.after_break(segment, frame)
        return (*before, msgspec.structs.replace(again, without=()))

    def _sizes(self, part: str, whole: Mapping[str, bytes]) -> array[int]:
        tables, kind = self.tables, part.rpartition("/")[2]
        stored = tables.sound_sizes if part == SOUND_PART else tables.sizes[kind]
        finished = [len(whole[part])] if part in whole else []
        return array("Q", [*[0] * tables.first_stored, *stored, *finished])


def interrupted(folder: Path, limit_s: float) -> Interrupted | None:
    """The live title of a process that was killed no longer than `limit_s` ago; None when there is no such one.

    Only to be asked when no other process is at it.
    """
    try:
        live = load_live(folder)
        tables = load(folder / TABLES_FILE, LiveTables)
        tables.check(str(folder))
    except (ToprungError, OSError):
        return None
    is_one = live.is_open and live.recipe and live.version == tables.typical.version
    if not is_one or time.time() > live.updated_s + live.waits_s + limit_s:
        return None
    return Interrupted(folder=folder, live=live, tables=tables, due_s=time.time() + limit_s)
