"""A live stream from its first picture to its end: one decode, the ladder in real time, segments listed at once."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from abr.core.live.learning import LearntNetwork
from abr.core.title import AudioTrack, Title
from abr.errors import InputError, MediaError, StorageError
from abr.progress import ProgressBars, no_bars
from server.ingest.audio import TRACK, sound_track
from server.ingest.checkpoints import Checkpoints, Fingerprint
from server.ingest.encode import EncodedRung, encode_ladder
from server.ingest.encode_settings import LiveEncoding
from server.ingest.encoders.h264 import LEAST_EFFORT
from server.live.beginning import Begun, begin_stream
from server.live.keeping import EndedStream, check_recording, keep_title, move_recording
from server.live.ladder.readiness import percentile
from server.live.ladder.shedding import WHOLE_LADDER, Shedder, steps_of
from server.live.options import LiveOptions
from server.live.pictures import Listeners, LivePictures
from server.live.publication import Publication
from server.live.recording import RECORDING_FILE, Recording
from server.live.samples.process import SampledProcess
from server.live.side_processes import side_processes
from server.live.sound import LiveSound, SoundPlace
from server.live.source.footage import footage_of_recording
from server.live.source.reader import LiveSource
from server.live.source.spans import SourceSpan, spans_of
from server.live.window import check_window
from server.media.library import IDENTIFIER, Library

Tell = Callable[[str], None]
"""Takes one sentence for people."""
_TELL_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A stream that has ended. why: a clause about its source. readiness: as `Readiness.summary`. title: when kept."""

    folder: Path
    segments: int
    frames: int
    duration_s: float
    why: str
    readiness: dict[str, float] = field(default_factory=dict)
    title: Title | None = None


def stream_live(
    source: LiveSource,
    library: Library,
    options: LiveOptions,
    *,
    tell: Tell,
    bars: ProgressBars = no_bars,
    ticks: Callable[[], float] = time.monotonic,
) -> Streamed:
    """Take the source until it ends, falls silent or is stopped; complete the title with what there is.

    ticks: as time.monotonic, by which segments are in time or late.

    Raises InputError for options or a name that cannot be, MediaError for a source without one picture, StorageError
    when the disk refuses.
    """
    name = options.name
    if not IDENTIFIER.fullmatch(name):
        raise InputError(f"{name!r} cannot name a stream; use up to 64 letters, digits, dots, dashes and underscores.")
    check_window(options.window_s, options.recipe.segment_s)
    if options.recording is not None:
        check_recording(options.recording)
    if library.has_title(name):
        raise InputError(f"The library already has a title {name!r}; choose another --name, or remove it first.")
    if not (library.has_live(name) or _is_free(library.root / name)):
        raise InputError(f"{library.root / name} is there already and is no title; choose another --name.")
    version = secrets.token_hex(8)
    busy = f"A live stream or a preparation named {name!r} is running; stop it, or choose another --name."
    with Checkpoints(library.building(name), Fingerprint(source_sha256=version, recipe="live"), busy) as work:
        try:
            begun = begin_stream(source, library.root / name, options, version)
            return _run(source, library, options, begun, work, tell, bars, ticks)
        finally:
            source.stop()
            work.discard()


def _is_free(folder: Path) -> bool:
    """Nothing of anybody's is there: no more than a killed start left."""
    return not folder.exists() or (folder.is_dir() and all(each.name.startswith(".") for each in folder.iterdir()))


def _run(
    source: LiveSource,
    library: Library,
    options: LiveOptions,
    begun: Begun,
    work: Checkpoints,
    tell: Tell,
    bars: ProgressBars,
    ticks: Callable[[], float],
) -> Streamed:
    plan, folder = begun.plan, library.root / options.name
    stream = _Stream(begun, options, folder, work, tell, ticks)
    tell(plan.describe())
    if begun.resumed is not None:
        stream.say(f"it goes on where it was killed, with segment {begun.resumed.segment + 1}.")
    encoded = stream.encode(source, spans_of(source, begun.beginning, plan.footage, stream.say))
    why = f"{source.address.shown} {source.ended_by or 'has ended'}"
    tell(f"{why}: {plan.name} is complete with {stream.publication.listed} segments.")
    if stream.jumps:
        tell(
            f"its timestamps jumped ({stream.jumps} times in pictures or sound); what followed was put after what was."
        )
    if source.damaged:
        tell(f"{source.damaged} of its packets could not be decoded; what came before stayed, or it was silent.")
    title = _keep(stream, encoded, options, library, work, tell, bars) if options.keep else None
    return Streamed(
        folder=folder,
        segments=stream.publication.listed,
        frames=stream.frames,
        duration_s=float(stream.frames / plan.footage.rate),
        why=why,
        readiness=stream.publication.readiness.summary(),
        title=title,
    )


class _Stream:
    """The encoders of one stream and what they write to."""

    def __init__(
        self,
        begun: Begun,
        options: LiveOptions,
        folder: Path,
        work: Checkpoints,
        tell: Tell,
        ticks: Callable[[], float],
    ) -> None:
        self.plan, self._resumed = begun.plan, begun.resumed
        plan, resumed = begun.plan, begun.resumed
        self.frames = self.jumps = 0
        self._folder = folder
        self.recording = work.folder / RECORDING_FILE
        kept = work.title if options.keep else None
        offset_s = time.time() - time.monotonic()

        def clock() -> float:
            return offset_s + ticks()

        self.publication = Publication(
            folder, plan, begun.wall, kept=kept, resumed=resumed, told=self._told, clock=clock, ticks=ticks
        )
        self.sound: LiveSound | None = None
        if plan.sound_bps:
            write, chunks = self.publication.writer(f"audio/{TRACK}"), plan.cuts.chunks
            first = SoundPlace()
            if resumed is not None:
                first = SoundPlace(frame=resumed.sound_frame, segment=resumed.segment, chunk=resumed.segment * chunks)
            self.sound = LiveSound(plan.sound_bps, write, in_parts=chunks > 1, first=first)
        self._recipe, self._keep, self._tell = options.recipe, options.keep, tell
        self._options, self._work = options, work.folder
        self._sampled: list[SampledProcess] = []
        self._told_s = 0.0
        steps = steps_of([rung.id for rung in plan.rungs], can_ease=options.recipe.preset != LEAST_EFFORT)
        self._shedder = Shedder(steps, plan.segment_s)

    def encode(self, source: LiveSource, spans: Iterator[SourceSpan]) -> tuple[EncodedRung, ...]:
        """Encode all that comes. Whatever happens, its manifests say that it has ended, or there is no folder."""
        import av

        plan, footage, options = self.plan, self.plan.footage, self._options.side_processes
        try:
            with ExitStack() as stack:
                recording: Recording | None = None
                if self._keep:
                    size_px = footage.display_width_px, footage.display_height_px
                    recording = stack.enter_context(Recording(self.recording, size_px, footage.rate))
                self._sampled = [
                    stack.enter_context(each)
                    for each in side_processes(options, plan, self._folder, self._work, self.publication, self.say)
                ]
                listeners = Listeners(
                    publication=self.publication, sound=self.sound, recording=recording, sampled=self._sampled
                )

                def waits_s() -> float:
                    return 0.0 if source.ended_by else source.address.return_s

                first_segment = self._resumed.segment if self._resumed is not None else 0
                pictures = LivePictures(
                    spans,
                    plan.cuts,
                    listeners,
                    waits_s,
                    lambda: self._shedder.ladder,
                    first_frame=self._resumed.frame if self._resumed is not None else 0,
                    first_segment=first_segment,
                )
                encoded = encode_ladder(
                    pictures.on_grid(),
                    plan.rungs,
                    self._recipe,
                    footage.rate,
                    lambda rung: self.publication.writer(f"video/{rung.id}"),
                    live=LiveEncoding(chunk_frames=plan.chunk_frames, first_segment=first_segment),
                )
                self.frames, self.jumps = pictures.frames, pictures.jumps
                self.publication.end()  # before what runs beside is ended, which takes its time on a busy machine
        except BaseException as error:
            if not self.publication.listed:
                shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(StorageError):
                self.publication.end()
            if isinstance(error, av.error.FFmpegError):
                raise MediaError(f"The pictures of {plan.name} cannot be converted ({error.strerror}).") from error
            raise
        return encoded

    def say(self, sentence: str) -> None:
        """A sentence about the stream."""
        self._tell(f"{self.plan.name}: {sentence}")

    @property
    def learnt(self) -> tuple[LearntNetwork, ...]:
        """Networks of its own, as they are offered now."""
        return self.publication.learnt.networks if self.publication.learnt is not None else ()

    def tracks(self) -> tuple[AudioTrack, ...]:
        """The sound as it was written."""
        if self.sound is None:
            return ()
        language = self.plan.footage.sound_language
        return (sound_track(self.sound.ends, self.sound.sizes, self.sound.init_bytes, language),)

    def _told(self, segment: int, sentence: str) -> None:
        if sentence:
            self._tell(f"{self.plan.name} {sentence}")
        if ready := self.publication.readiness.seconds[-1:]:
            self._note_readiness(segment, ready[0])
        media_s = (segment + 1) * self.plan.segment_s
        if media_s >= self._told_s + _TELL_EVERY_S:
            self._told_s = media_s
            ready_s = self.publication.readiness.seconds
            self._tell(
                f"{self.plan.name}: {media_s:.0f} s in {segment + 1} segments; ready after {ready_s[-1]:.2f} s "
                f"(median {percentile(ready_s, 50):.2f}, p99 {percentile(ready_s, 99):.2f})."
            )

    def _note_readiness(self, segment: int, ready_s: float) -> None:
        late_s = min(ready_s, self.publication.behind_s)
        if self._shedder.note(late_s):
            why = "there is room" if late_s < self.plan.segment_s / 2 else "it falls behind"
            self.say(f"{why}: {self._shedder.ladder.describe()}.")
        for process in self._sampled:
            process.listed(segment, ready_s, is_short=self._shedder.ladder != WHOLE_LADDER)


def _keep(
    stream: _Stream,
    encoded: tuple[EncodedRung, ...],
    options: LiveOptions,
    library: Library,
    work: Checkpoints,
    tell: Tell,
    bars: ProgressBars,
) -> Title:
    ended = EndedStream(
        name=options.name,
        recording=stream.recording,
        footage=footage_of_recording(stream.plan.footage, stream.frames),
        rungs=stream.plan.rungs,
        encoded=encoded,
        tracks=stream.tracks(),
        recipe=options.recipe,
        learnt=stream.learnt,
    )
    try:
        return keep_title(ended, work, library, bars, tell)
    finally:
        if options.recording is not None:
            move_recording(stream.recording, options.recording)
            tell(f"the recording of {options.name} is {options.recording}.")
