"""The folder of a live title: segments as encoders complete them, manifests after each, and no more than the window.

Every file appears whole. A segment, and each chunk of one under way, is listed when all renditions and the sound have
it. Encoders call from threads of their own.
"""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import msgspec

from abr.core.live.tables import TABLES_FILE
from abr.core.live.timeline import LiveTimeline, Span
from abr.errors import StorageError
from abr.files import write_atomically
from abr.records import dumps, dumps_pretty
from server.ingest.mp4.cmaf import Write
from server.live.clock import FirstPictures, WallClock
from server.live.edge.low_latency_dash import ANNOUNCED
from server.live.edge.manifests import edge_playlists, live_manifests
from server.live.edge.presentation import LivePresentation
from server.live.edge.segment_files import SegmentFiles
from server.live.ladder.parts import LadderParts
from server.live.ladder.readiness import Readiness
from server.live.ladder.shedding import Ladder
from server.live.learning.learning import Learnt, Progress
from server.live.plan import SOUND_PART, LivePlan
from server.live.quality.prior import assumed_quality
from server.live.quality.tables import live_tables
from server.live.resuming import Resumed
from server.live.window import first_listed, first_stored
from server.live_edge.growing import split_part
from server.media.live_title import LIVE_FILE, LiveTitle


def write_state(folder: Path, live: LiveTitle) -> None:
    """Write `live.json`. Raises StorageError."""
    write_atomically(folder / LIVE_FILE, dumps_pretty(live), durable=False)


class Publication:
    """Writes the live title `plan` into `folder`, and all of its media once more into `kept`, if that is given.

    resumed: of a stream that goes on; its last span begins now. told: hears of each listed segment: its number
    (0-based), and the sentence of `Readiness`. clock: as time.time, and `ticks` as time.monotonic. Methods raise
    StorageError.
    """

    def __init__(
        self,
        folder: Path,
        plan: LivePlan,
        wall: WallClock,
        *,
        kept: Path | None = None,
        resumed: Resumed | None = None,
        told: Callable[[int, str], None] = lambda _segment, _sentence: None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.readiness = Readiness(plan.segment_s)
        self.listed = 0
        """Segments that all parts have, so far."""
        self.behind_s = 0.0
        """How long ago the newest one ended, by the stream's clock; less than 0 when it came ahead of its time."""
        self._folder, self._plan, self._wall = folder, plan, wall
        self._first_pictures = FirstPictures(wall.begun_s)
        self._files = SegmentFiles(folder, plan.parts, kept)
        self._told, self._clock, self._ticks = told, clock, ticks
        self._lock = threading.Lock()
        self._parts = LadderParts(plan)
        self._listed_chunks = 0
        self._last_frames_s: dict[int, float] = {}
        self._spans = [Span(number=0, first_segment=0, first_frame=0, begun_s=wall.begun_s)]
        """The last one may be still to come, or never come. Those that nothing is stored of are gone."""
        self._waits_s = 0.0
        self._mends = True
        """Whether the last span's clock may still be mended."""
        self._ladder = Ladder()
        self.quality = assumed_quality(plan.rungs, (plan.footage.display_width_px, plan.footage.display_height_px))
        """Of a usual segment; whoever measures it puts another one here, for the next segment's tables."""
        self.learnt: Learnt | None = None
        """What was learnt of the stream; likewise."""
        if resumed is not None:
            self.listed, self._spans = resumed.segment, list(resumed.spans)
            self._files.removed = resumed.first_stored
            self._parts.take_up(resumed.sizes, resumed.inits)

    def writer(self, part: str) -> Write:
        """What an encoder writes the files of one part with, such as video/360p."""

        def write(name: str, data: bytes) -> None:
            chunk = split_part(name)
            if not data:
                pass  # a segment that is not made
            elif chunk is None:
                self._files.store(f"{part}/{name}", data)
            else:
                self._files.grow(f"{part}/{chunk[0]}", data)
            with self._lock:
                self._parts.note(part, name, data)
                self._list_complete()
                self._list_chunks()

        return write

    def progress(self) -> Progress:
        """How far the stream is."""
        with self._lock:
            sizes = self._parts.sizes[self._plan.parts[0]][: self.listed]
            return Progress(
                rung_bytes=sum(sizes), stream_s=self.listed * self._plan.segment_s, next_segment=self.listed
            )

    def note_picture(self, came_s: float, media_s: float) -> None:
        """A picture of that media time came at that moment of the monotonic clock.

        It may mend where media time 0 lies, until the first manifest of its span says so.
        """
        if not self._mends:
            return
        with self._lock:
            span = self._spans[-1]
            self._mends = self.listed <= span.first_segment and not self._listed_chunks
            if not self._mends:
                return
            self._first_pictures.note(came_s, media_s)
            before_s = self._spans[-2].begun_s if len(self._spans) > 1 else -math.inf
            begun_s = max(before_s, self._first_pictures.clock.begun_s)
            self._spans[-1] = msgspec.structs.replace(span, begun_s=begun_s)
            self._wall = self._wall if span.number else WallClock(begun_s)

    def note_last_frame(self, segment: int, arrived_s: float) -> None:
        """The last frame of a segment came at that moment of the monotonic clock."""
        self._last_frames_s[segment] = arrived_s

    def close_span(self, segments: int, frames: int, *, waits_s: float) -> None:
        """The stream has so many segments and frames up to here: the last segment may be shorter than the others.

        waits_s: how long its source is waited for; 0 when no more will come.
        """
        with self._lock:
            last = self._spans[-1]
            if last.first_segment >= segments:  # a ladder that was to hold from there or later
                self._spans.pop()
            self._spans.append(last.after_break(segments, frames))
            self._waits_s, self._mends = waits_s, False

    def change_ladder(self, segment: int, frame: int, ladder: Ladder) -> int:
        """The ladder is to be another one from that segment on, which begins with that frame.

        The segment from which it holds: what manifests have announced already is still made as it was. Which rungs are
        made with less effort is told nobody.
        """
        with self._lock:
            self._ladder, self._mends = ladder, False
            if ladder.without == self._spans[-1].without:
                return segment
            since = max(segment, self.listed + ANNOUNCED) if self._plan.chunk_frames and self.listed else segment
            frame += (since - segment) * self._plan.segment_frames
            self._spans.append(self._spans[-1].after_change(since, frame, ladder.without))
            return since

    def resume(self, came_s: float) -> None:
        """The source is there again: the first picture came at that moment of the monotonic clock."""
        with self._lock:
            media_s = float(self._spans[-1].first_frame / self._plan.footage.rate)
            self._first_pictures = FirstPictures(self._clock() - (self._ticks() - came_s) - media_s)
            self._waits_s, self._mends = 0.0, True

    def end(self) -> None:
        """The stream has ended: its manifests say so. Nothing happens when it never had a segment."""
        with self._lock:
            if self.listed:
                self._publish(ended=True)

    def _list_complete(self) -> None:
        while self.listed < self._parts.segments:
            self.listed += 1
            self._publish(ended=False)
            segment = self.listed - 1
            came_s = self._last_frames_s.pop(segment, None)
            sentence = "" if came_s is None else self.readiness.add(self._ticks() - came_s)
            end_s = float(self._timeline().begin(self.listed) / self._plan.footage.rate)
            self.behind_s = self._clock() - self._timeline().span_of(segment).begun_s - end_s
            self._told(segment, sentence)

    def _list_chunks(self) -> None:
        """List one more chunk of the segment under way, when all parts have it. The last one comes with the segment."""
        chunks = self._parts.chunks_of(self.listed)
        if self.listed and self._listed_chunks < chunks:
            if not self._listed_chunks and self.listed == self._spans[-1].first_segment:
                self._publish(ended=False)  # a new span is announced
                return
            self._listed_chunks = chunks
            shown = self._presentation(self._first_listed(), ended=False)
            for name, body in edge_playlists(shown).items():
                write_atomically(self._folder / name, body, durable=False)
            self._write_state(shown)

    def _publish(self, *, ended: bool) -> None:
        """New segments are listed first, then those that have left the window are removed.

        The tables come before the manifests: whoever reads these may ask for the new segment at once.
        """
        self._listed_chunks = 0 if ended else self._parts.chunks_of(self.listed)
        first, ends_s = self._first_listed(), self._ends_s(range(self._files.removed, self.listed))
        longest_s = self._plan.segment_frames / self._plan.footage.rate
        stays = self._files.removed + first_stored(ends_s, self._plan.window_s, longest_s)
        shown = self._presentation(first, ended)
        self._write_tables(shown, stays)
        for name, body in live_manifests(shown).items():
            write_atomically(self._folder / name, body, durable=False)
        self._write_state(shown)
        self._files.remove_until(stays)
        self._spans = list(self._timeline().since(stays).spans)

    def _first_listed(self) -> int:
        ends_s = self._ends_s(range(self._files.removed, self.listed))
        return self._files.removed + first_listed(ends_s, self._plan.window_s)

    def _write_tables(self, shown: LivePresentation, stays: int) -> None:
        stored = slice(stays, self.listed)
        tables = live_tables(
            shown,
            self.quality,
            self.learnt,
            first_stored=stays,
            spans=self._timeline().since(stays).spans,
            sizes={rung.id: self._parts.sizes[f"video/{rung.id}"][stored] for rung in self._plan.rungs},
            sound_sizes=self._parts.sizes[SOUND_PART][stored] if self._plan.sound_bps else (),
        )
        write_atomically(self._folder / TABLES_FILE, dumps(tables), durable=False)

    def _timeline(self) -> LiveTimeline:
        return LiveTimeline(self._plan.segment_frames, tuple(self._spans))

    def _ends_s(self, segments: Sequence[int]) -> list[Fraction]:
        timeline, rate = self._timeline(), self._plan.footage.rate
        return [timeline.begin(segment + 1) / rate for segment in segments]

    def _presentation(self, first: int, ended: bool) -> LivePresentation:
        plan, timeline = self._plan, self._timeline()
        return LivePresentation(
            name=plan.name,
            version=plan.version,
            display_width_px=plan.footage.display_width_px,
            display_height_px=plan.footage.display_height_px,
            frame_rate=plan.footage.frame_rate,
            segment_frames=plan.segment_frames,
            window_s=plan.window_s,
            clock=self._wall,
            renditions=tuple(self._parts.rendition(rung, self.listed) for rung in plan.rungs),
            audio=(self._parts.track(),) if plan.sound_bps else (),
            first=first,
            frames=tuple(map(timeline.frames, range(first, self.listed))),
            spans=timeline.since(first).spans,
            ladder=self._ladder,
            published_s=self._clock(),
            ended=ended,
            waits_s=0.0 if ended else self._waits(),
            chunk_frames=plan.chunk_frames,
            chunks=self._listed_chunks,
        )

    def _waits(self) -> float:
        """How long the source is waited for, once all that came of it is listed."""
        return self._waits_s if self.listed == self._spans[-1].first_segment else 0.0

    def _write_state(self, shown: LivePresentation) -> None:
        live = LiveTitle(
            id=shown.name,
            state="ended" if shown.ended else "paused" if shown.waits_s else "running",
            version=shown.version,
            segment_s=shown.segment_s,
            window_s=shown.window_s,
            updated_s=shown.published_s,
            waits_s=shown.waits_s,
            shed=shown.ladder.without,
            eased=shown.ladder.eased,
            first_segment=shown.first,
            segments=len(shown.frames),
            duration_s=sum(shown.durations_s),
            segment_chunks=self._plan.cuts.chunks,
            chunks=shown.chunks,
            recipe=self._plan.recipe,
            begun_s=self._wall.begun_s,
        )
        write_state(self._folder, live)


def begin_folder(folder: Path, live: LiveTitle) -> None:
    """Make the folder of a live title that waits for its source; what an earlier stream left there goes.

    Raises StorageError.
    """
    gone = folder.with_name(f".removed-{folder.name}")
    try:
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.rename(gone)
        write_state(folder, live)
        shutil.rmtree(gone, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"Cannot make {folder}: {error.strerror}.") from error
