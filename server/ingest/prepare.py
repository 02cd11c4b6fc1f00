"""Prepare a title: probe, plan the ladder, encode, price, publish. Interrupted anywhere, it continues where it was.

The title appears in the library by one rename, when all of it is on the disk.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from abr.errors import InputError, StorageError, ToprungError
from abr.formats import Record, dumps_pretty
from abr.media import TITLE_FILE, AudioTrack, Quality, Rendition, Source, Title
from abr.quality import Box, meter_of
from server.ingest.encode import EncodedRung, encode_ladder
from server.ingest.frames import display_frames, filters
from server.ingest.ladder import Rung, caps_from_samples, check_caps, plan_sizes, planned_sizes
from server.ingest.manifest import manifests, segment_ends_s
from server.ingest.pricing import PictureFinder, price_rendition, rendition_files
from server.ingest.probe import Footage, probe, sha256_of
from server.ingest.progress import Advance, Bars, silent
from server.ingest.recipe import Recipe, segment_length
from server.ingest.segments import write_file
from server.ingest.sound import TRACK, encode_sound
from server.ingest.work import Fingerprint, Work
from server.library import IDENTIFIER, Library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.video.frame import VideoFrame

    from server.ingest.encode import Write

_SAMPLED_SEGMENTS = 3
_METERS_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A title in the library. already: it was there before, made from the same source by the same recipe."""

    title: Title
    folder: Path
    already: bool
    took_s: float


class Video(Record, frozen=True):
    """The encoded rungs, and the picture inside letterbox borders at display size."""

    rungs: tuple[EncodedRung, ...]
    box: Box

    @property
    def segment_frames(self) -> tuple[int, ...]:
        return self.rungs[-1].segment_frames


def prepare_title(
    source: Path,
    library: Library,
    recipe: Recipe,
    *,
    title_id: str | None = None,
    force: bool = False,
    bars: Bars = silent,
) -> Prepared:
    """Bring `source` into the library as a title, called after the file unless `title_id` is given.

    Raises InputError (MediaError) for a source or title that cannot be used, StorageError when the disk refuses.
    """
    started_s = time.monotonic()
    name = title_id or identifier_of(source)
    if not IDENTIFIER.fullmatch(name):
        raise InputError(f"{name!r} cannot name a title; use up to 64 letters, digits, dots, dashes and underscores.")
    sha256 = sha256_of(source)
    title = None if force else _already_there(library, name, sha256, recipe)
    already = title is not None
    if title is None:
        with Work(library.building(name), Fingerprint(source_sha256=sha256, recipe=encoder_words(recipe))) as work:
            try:
                title = _build(source, sha256, name, recipe, work, bars)
            except InputError:  # the source or the recipe is at fault: no later run can continue from here
                work.discard()
                raise
            library.publish(name, work.title)
            work.discard()
    return Prepared(title=title, folder=library.root / name, already=already, took_s=time.monotonic() - started_s)


def identifier_of(source: Path) -> str:
    """A title id from a file name: what is not allowed in one becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._")[:64] or "title"


def _already_there(library: Library, name: str, sha256: str, recipe: Recipe) -> Title | None:
    if name not in library.titles():
        return None
    title = library.title(name)
    if title.source.sha256 == sha256 and title.encoder == encoder_words(recipe):
        return title
    what = "by another recipe" if title.source.sha256 == sha256 else f"from another file, {title.source.name}"
    raise InputError(
        f"The library already has {name!r}, prepared {what}; replace it with --force or choose a name with --id."
    )


def _build(source: Path, sha256: str, name: str, recipe: Recipe, work: Work, bars: Bars) -> Title:
    footage = work.once("probe", Footage, lambda: probe(source))
    rungs = work.once("plan", tuple[Rung, ...], lambda: plan_ladder(source, footage, recipe, bars))
    video = work.once("video", Video, lambda: _encode(source, footage, rungs, recipe, work, bars))
    ends_s = segment_ends_s(video.segment_frames, footage.rate)
    tracks = work.once(
        "sound", tuple[AudioTrack, ...], lambda: _encode_sound(source, footage, ends_s, recipe, work, bars)
    )
    qualities = _price(source, footage, video, recipe, work, bars)
    title = Title(
        id=name,
        display_width_px=footage.display_width_px,
        display_height_px=footage.display_height_px,
        frame_rate=footage.frame_rate,
        segment_duration_s=tuple(float(frames / footage.rate) for frames in video.segment_frames),
        segment_frames=video.segment_frames,
        renditions=tuple(_rendition(rung, found, footage.rate) for rung, found in zip(rungs, video.rungs, strict=True)),
        audio=tracks,
        source=Source(
            name=source.name,
            sha256=sha256,
            width_px=footage.coded_width_px,
            height_px=footage.coded_height_px,
            duration_s=footage.duration_s,
            filters=tuple(filters(footage)),
        ),
        plain_quality=qualities,
        meter=meter_of(every_frames=recipe.vmaf_every, crop=video.box),
        encoder=encoder_words(recipe),
    )
    for file, data in {**manifests(title), TITLE_FILE: dumps_pretty(title)}.items():
        write_file(work.title / file, data)
    return title


def plan_ladder(source: Path, footage: Footage, recipe: Recipe, bars: Bars = silent) -> tuple[Rung, ...]:
    """Sizes that fit the display, and caps from encoding a few of the title's own segments."""
    display_px = footage.display_width_px, footage.display_height_px
    rungs = planned_sizes(*display_px, recipe.planned) if recipe.planned else plan_sizes(*display_px, recipe.heights_px)
    length = segment_length(recipe, footage.rate)
    check_caps(rungs, recipe.caps_bps)
    spots = max(1, min(_SAMPLED_SEGMENTS, footage.frames_expected // length))
    with bars("sampling", spots * length) as advance:
        frames = _samples(source, footage, length, spots)
        samples = encode_ladder(frames, rungs, recipe, footage.rate, _discard, advance=advance)
    sizes = [found.segment_bytes for found in samples]
    sampled_s = float(max(samples[0].segment_frames) / footage.rate)  # a short title has no whole segment
    return caps_from_samples(rungs, sizes, sampled_s, dict(recipe.caps_bps))


def _samples(source: Path, footage: Footage, length: int, spots: int) -> Iterator[VideoFrame]:
    """A few whole segments from over the source, as one run of frames."""
    index = 0
    for spot in range(spots):
        from_s = footage.duration_s * (2 * spot + 1) / (2 * spots) - float(length / footage.rate) / 2
        for frame in islice(display_frames(source, footage, from_s=max(0.0, from_s)), length):
            frame.pts = index
            index += 1
            yield frame


def _discard(_rung: Rung) -> Write:
    return lambda _name, _data: None


def _encode(source: Path, footage: Footage, rungs: Sequence[Rung], recipe: Recipe, work: Work, bars: Bars) -> Video:
    folder = work.fresh("video")
    finder = PictureFinder(footage.frames_expected)
    with bars(f"encoding {len(rungs)} rungs", footage.frames_expected) as advance:
        frames = finder.watch(display_frames(source, footage))
        encoded = encode_ladder(
            frames, rungs, recipe, footage.rate, lambda rung: _into(folder / rung.id), advance=advance
        )
    return Video(rungs=encoded, box=finder.box())


def _encode_sound(
    source: Path, footage: Footage, ends_s: Sequence[Fraction], recipe: Recipe, work: Work, bars: Bars
) -> tuple[AudioTrack, ...]:
    if footage.audio_stream is None:
        return ()
    write = _into(work.fresh("audio") / TRACK)
    with bars("encoding sound", float(ends_s[-1])) as advance:
        return (encode_sound(source, footage, ends_s, recipe.audio_bps, write, advance=advance),)


def _into(folder: Path) -> Write:
    try:
        folder.mkdir()
    except OSError as error:
        raise StorageError(f"Cannot make {folder}: {error.strerror}.") from error
    return lambda name, data: write_file(folder / name, data)


def _price(source: Path, footage: Footage, video: Video, recipe: Recipe, work: Work, bars: Bars) -> dict[str, Quality]:
    """Quality of every rung, two at a time; each is recorded as soon as it is known."""
    stopped = threading.Event()

    def price(rung: EncodedRung, advance: Advance) -> Quality:
        def advance_or_stop(frames: float) -> None:
            if stopped.is_set():
                raise ToprungError("Measuring was stopped.")
            advance(frames)

        files = rendition_files(work.title / "video" / rung.id)
        return price_rendition(
            source, footage, files, video.segment_frames, video.box, recipe.vmaf_every, advance=advance_or_stop
        )

    with (
        bars("measuring quality", sum(video.segment_frames) * len(video.rungs)) as advance,
        ThreadPoolExecutor(_METERS_AT_ONCE) as pool,
    ):
        futures = {
            rung.id: pool.submit(work.once, f"price-{rung.id}", Quality, partial(price, rung, advance))
            for rung in video.rungs
        }
        try:
            return {rung_id: future.result() for rung_id, future in futures.items()}
        except BaseException:  # also Ctrl-C: let nobody measure on
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _rendition(rung: Rung, found: EncodedRung, rate: Fraction) -> Rendition:
    longest_s = max(found.segment_frames) / rate
    total_s = sum(found.segment_frames) / rate
    return Rendition(
        id=rung.id,
        width_px=rung.width_px,
        height_px=rung.height_px,
        codecs=found.codecs,
        bandwidth_bps=int(max(found.segment_bytes) * 8 / longest_s) + 1,
        average_bps=int(sum(found.segment_bytes) * 8 / total_s) + 1,
        init_bytes=found.init_bytes,
        segment_bytes=found.segment_bytes,
    )


def encoder_words(recipe: Recipe) -> str:
    """Encoder, versions and settings: equal words and an equal source make an equal title."""
    import av

    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"libx264 and aac by PyAV {av.__version__} (libavcodec {version}); {recipe.words()}"
