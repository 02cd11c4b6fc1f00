"""The folder of a live title: segments as encoders complete them, manifests after each, and no more than the window.

Every file appears whole. A segment, and each chunk of one under way, is listed when all renditions and the sound have
it. Encoders call from threads of their own.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

from abr.core.live.tables import TABLES_FILE
from abr.core.title import AudioTrack, Rendition, Version
from abr.errors import StorageError
from abr.files import write_atomically
from abr.media.probe import SourceInfo
from abr.records import dumps, dumps_pretty
from server.ingest.audio import CHANNELS, CODECS, FRAME_SAMPLES, RATE_HZ, TRACK
from server.ingest.cmaf import INIT_FILE, Write
from server.ingest.encode import avc_codecs
from server.ingest.encode_settings import Cuts
from server.ingest.ladder import Rung
from server.live.clock import FirstPictures, WallClock
from server.live.edge.manifests import live_manifests, live_playlists
from server.live.edge.presentation import LivePresentation
from server.live.edge.segment_files import SegmentFiles
from server.live.learning.learning import Learnt, Progress
from server.live.quality.prior import assumed_quality
from server.live.quality.tables import live_tables
from server.live.readiness import Readiness
from server.live.window import first_listed, first_stored
from server.live_edge.growing import split_part
from server.media.live_title import LIVE_FILE, LiveTitle

_SOUND_PEAK = 1.25
"""A segment of sound takes at most this much of its nominal bitrate."""
_FRAME_BOX_BYTES, _CHUNK_BOX_BYTES = 16, 300
"""What a frame and a chunk take beside their coded pictures, at most: `trun` entries, `moof`, parameter sets."""
_AUDIO_PART = f"audio/{TRACK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """What a stream is encoded to. segment_frames: of all segments but the last. sound_bps: 0 without sound.

    chunk_frames: of the chunks that a segment is offered in while it is under way; 0: it is offered when it is whole.
    """

    name: str
    version: Version
    footage: SourceInfo
    rungs: tuple[Rung, ...]
    segment_frames: int
    sound_bps: int
    window_s: float
    chunk_frames: int = 0

    @property
    def cuts(self) -> Cuts:
        """Where segments and chunks begin."""
        return Cuts(self.footage.rate, self.segment_frames, self.chunk_frames or self.segment_frames)

    @property
    def segment_s(self) -> float:
        """Of a usual segment."""
        return float(self.segment_frames / self.footage.rate)

    @property
    def parts(self) -> list[str]:
        """Folders of the renditions and of the sound."""
        return [*(f"video/{rung.id}" for rung in self.rungs), *([_AUDIO_PART] if self.sound_bps else [])]


def write_state(folder: Path, live: LiveTitle) -> None:
    """Write `live.json`. Raises StorageError."""
    write_atomically(folder / LIVE_FILE, dumps_pretty(live), durable=False)


class Publication:
    """Writes the live title `plan` into `folder`, and all of its media once more into `kept`, if that is given.

    told: hears of each listed segment: its number (0-based), and the sentence of `Readiness`. clock: as time.time, and
    `ticks` as time.monotonic. Methods raise StorageError.
    """

    def __init__(
        self,
        folder: Path,
        plan: LivePlan,
        wall: WallClock,
        *,
        kept: Path | None = None,
        told: Callable[[int, str], None] = lambda _segment, _sentence: None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.readiness = Readiness(plan.segment_s)
        self.listed = 0
        """Segments that all parts have, so far."""
        self._folder, self._plan, self._wall = folder, plan, wall
        self._first_pictures = FirstPictures(wall.begun_s)
        self._files = SegmentFiles(folder, plan.parts, kept)
        self._told, self._clock, self._ticks = told, clock, ticks
        self._lock = threading.Lock()
        self._codecs: dict[str, str] = {}
        self._init_bytes: dict[str, int] = {}
        self._sizes: dict[str, list[int]] = {part: [] for part in plan.parts}
        self._chunks = dict.fromkeys(plan.parts, 0)
        """Of the segment that is under way in each part."""
        self._listed_chunks = 0
        self._last_frames_s: dict[int, float] = {}
        self._frames_in_all: int | None = None
        self.quality = assumed_quality(plan.rungs, (plan.footage.display_width_px, plan.footage.display_height_px))
        """Of a usual segment; whoever measures it puts another one here, for the next segment's tables."""
        self.learnt: Learnt | None = None
        """What was learnt of the stream; likewise."""

    def writer(self, part: str) -> Write:
        """What an encoder writes the files of one part with, such as video/360p."""

        def write(name: str, data: bytes) -> None:
            chunk = split_part(name)
            if chunk is None:
                self._files.store(f"{part}/{name}", data)
            else:
                self._files.grow(f"{part}/{chunk[0]}", data)
            with self._lock:
                self._note(part, name, data)
                self._list_complete()
                self._list_chunks()

        return write

    def progress(self) -> Progress:
        """How far the stream is."""
        with self._lock:
            sizes = self._sizes[self._plan.parts[0]][: self.listed]
            return Progress(
                rung_bytes=sum(sizes), stream_s=self.listed * self._plan.segment_s, next_segment=self.listed
            )

    def note_picture(self, came_s: float, media_s: float) -> None:
        """A picture of that media time came at that moment of the monotonic clock.

        It may mend where media time 0 lies, until the first manifest says so.
        """
        if not self.listed:
            self._first_pictures.note(came_s, media_s)
            self._wall = self._first_pictures.clock

    def note_last_frame(self, segment: int, arrived_s: float) -> None:
        """The last frame of a segment came at that moment of the monotonic clock."""
        self._last_frames_s[segment] = arrived_s

    def set_end(self, frames: int) -> None:
        """The stream has so many frames in all: the last segment may be shorter than the others."""
        self._frames_in_all = frames

    def end(self) -> None:
        """The stream has ended: its manifests say so. Nothing happens when it never had a segment."""
        with self._lock:
            if self.listed:
                self._publish(ended=True)

    def _note(self, part: str, name: str, data: bytes) -> None:
        if name == INIT_FILE:
            self._init_bytes[part] = len(data)
            self._codecs[part] = CODECS if part == _AUDIO_PART else avc_codecs(data)
        elif split_part(name):
            self._chunks[part] += 1
        elif name.startswith("seg-"):
            self._sizes[part].append(len(data))
            self._chunks[part] = 0

    def _list_complete(self) -> None:
        while self.listed < min(map(len, self._sizes.values())):
            self.listed += 1
            self._publish(ended=False)
            segment = self.listed - 1
            came_s = self._last_frames_s.pop(segment, None)
            sentence = "" if came_s is None else self.readiness.add(self._ticks() - came_s)
            self._told(segment, sentence)

    def _list_chunks(self) -> None:
        """List one more chunk of the segment under way, when all parts have it. The last one comes with the segment."""
        chunks = self._chunks_there()
        if self.listed and self._listed_chunks < chunks:
            self._listed_chunks = chunks
            shown = self._presentation(self._first_listed(), ended=False)
            for name, body in live_playlists(shown).items():
                write_atomically(self._folder / name, body, durable=False)
            self._write_state(shown)

    def _chunks_there(self) -> int:
        """Of the segment under way, in all parts: some may be at the next one already."""
        most = self._plan.cuts.chunks - 1
        under_way = [min(most, self._chunks[part]) for part in self._sizes if len(self._sizes[part]) == self.listed]
        return min(under_way, default=0)

    def _publish(self, *, ended: bool) -> None:
        """New segments are listed first, then those that have left the window are removed.

        The tables come before the manifests: whoever reads these may ask for the new segment at once.
        """
        self._listed_chunks = 0 if ended else self._chunks_there()
        first, ends_s = self._first_listed(), self._ends_s(range(self._files.removed, self.listed))
        longest_s = self._plan.segment_frames / self._plan.footage.rate
        stays = self._files.removed + first_stored(ends_s, self._plan.window_s, longest_s)
        shown = self._presentation(first, ended)
        self._write_tables(shown, stays)
        for name, body in live_manifests(shown).items():
            write_atomically(self._folder / name, body, durable=False)
        self._write_state(shown)
        self._files.remove_until(stays)

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
            sizes={rung.id: self._sizes[f"video/{rung.id}"][stored] for rung in self._plan.rungs},
            sound_sizes=self._sizes[_AUDIO_PART][stored] if self._plan.sound_bps else (),
        )
        write_atomically(self._folder / TABLES_FILE, dumps(tables), durable=False)

    def _ends_s(self, segments: Sequence[int]) -> list[Fraction]:
        usual, rate, in_all = self._plan.segment_frames, self._plan.footage.rate, self._frames_in_all
        ends = [(segment + 1) * usual for segment in segments]
        return [(end if in_all is None else min(end, in_all)) / rate for end in ends]

    def _presentation(self, first: int, ended: bool) -> LivePresentation:
        plan, rate = self._plan, self._plan.footage.rate
        ends_s = [first * plan.segment_frames / rate, *self._ends_s(range(first, self.listed))]
        frames = [int((end_s - begin_s) * rate) for begin_s, end_s in pairwise(ends_s)]
        return LivePresentation(
            name=plan.name,
            version=plan.version,
            display_width_px=plan.footage.display_width_px,
            display_height_px=plan.footage.display_height_px,
            frame_rate=plan.footage.frame_rate,
            segment_frames=plan.segment_frames,
            window_s=plan.window_s,
            clock=self._wall,
            renditions=tuple(self._rendition(rung) for rung in plan.rungs),
            audio=(self._track(),) if plan.sound_bps else (),
            first=first,
            frames=tuple(frames),
            sound_ends=_rising(map(self._sound_end, ends_s)),
            published_s=self._clock(),
            ended=ended,
            chunk_frames=plan.chunk_frames,
            chunks=self._listed_chunks,
        )

    def _sound_end(self, end_s: Fraction) -> int:
        """In AAC frames, as `LiveSound` cuts: to the nearest, and at the stream's end what fits in whole."""
        frames = end_s * RATE_HZ / FRAME_SAMPLES
        is_last = self._frames_in_all is not None and end_s * self._plan.footage.rate == self._frames_in_all
        return int(frames) if is_last else round(frames)

    def _rendition(self, rung: Rung) -> Rendition:
        """bandwidth_bps: with a minBufferTime of the VBV buffer's length, a link of the cap's rate is enough (5.3.5.2).

        The cap knows nothing of what the segments' boxes take.
        """
        part = f"video/{rung.id}"
        sizes = self._sizes[part][: self.listed]
        return Rendition(
            id=rung.id,
            width_px=rung.width_px,
            height_px=rung.height_px,
            codecs=self._codecs[part],
            bandwidth_bps=rung.cap_bps + self._boxes_bps(),
            average_bps=int(sum(sizes) * 8 / (len(sizes) * self._plan.segment_s)) + 1,
            init_bytes=self._init_bytes[part],
            segment_bytes=tuple(sizes[-1:]),
        )

    def _boxes_bps(self) -> int:
        chunks_per_s = self._plan.cuts.chunks / self._plan.segment_s
        return int(8 * (_FRAME_BOX_BYTES * self._plan.footage.rate + _CHUNK_BOX_BYTES * chunks_per_s))

    def _track(self) -> AudioTrack:
        return AudioTrack(
            id=TRACK,
            codecs=CODECS,
            bandwidth_bps=int(self._plan.sound_bps * _SOUND_PEAK),
            sample_rate_hz=RATE_HZ,
            channels=CHANNELS,
            init_bytes=self._init_bytes[_AUDIO_PART],
            segment_bytes=tuple(self._sizes[_AUDIO_PART][-1:]),
            language=self._plan.footage.sound_language,
        )

    def _write_state(self, shown: LivePresentation) -> None:
        live = LiveTitle(
            id=shown.name,
            state="ended" if shown.ended else "running",
            version=shown.version,
            segment_s=shown.segment_s,
            window_s=shown.window_s,
            updated_s=shown.published_s,
            first_segment=shown.first,
            segments=len(shown.frames),
            duration_s=sum(shown.durations_s),
            segment_chunks=self._plan.cuts.chunks,
            chunks=shown.chunks,
        )
        write_state(self._folder, live)


def _rising(ends: Iterable[int]) -> tuple[int, ...]:
    """As `LiveSound` cuts: a segment has one AAC frame at least."""
    return tuple(accumulate(ends, lambda before, end: max(before + 1, end)))


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
