"""Prepare a title: probe, plan the ladder, encode, measure quality, publish. An interrupted run is continued.

The title appears in the library by one rename, when all of it is on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from abr.core.title import AudioTrack, Rendition, SubtitleTrack, Title
from abr.errors import InputError, StorageError
from abr.files import file_sha256, write_file
from abr.media.display_filters import Filters, hdr_filters
from abr.media.probe import SourceInfo, probe
from abr.media.source_frames import display_frames
from abr.progress import ProgressBars, no_bars
from server.ingest.audio import encode_sounds, versions_of
from server.ingest.checkpoints import Checkpoints, Fingerprint
from server.ingest.encode import EncodedRung, encode_ladder, timescale
from server.ingest.encode_settings import EncodeSettings, segment_length
from server.ingest.encoders.options import describe_encoder
from server.ingest.identifiers import identifier_of
from server.ingest.kernels import KernelWish, SoftnessWatcher, add_kernels, pictures_of, write_kernels
from server.ingest.ladder import Rung, caps_from_samples, check_caps, in_each_codec, in_hdr, plan_sizes, planned_sizes
from server.ingest.manifests.sounds import segment_ends_s
from server.ingest.permission import forbids_enhancement, permit_enhancement
from server.ingest.plain_quality import PictureFinder, measure_quality
from server.ingest.subtitles.tracks import FOLDER as SUBTITLES_FOLDER
from server.ingest.subtitles.tracks import write_subtitles
from server.ingest.thumbnails.sheets import FOLDER as THUMBNAILS_FOLDER
from server.ingest.thumbnails.sheets import ThumbnailMaker
from server.ingest.title_writer import Made, Video, source_of, write_title
from server.ingest.trick_play import write_trick_play
from server.media.library import Library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.video.frame import VideoFrame

    from server.ingest.mp4.cmaf import Write

_SAMPLED_SEGMENTS = 3
NOT_HDR = "it is in standard dynamic range, so that no HDR is kept"
"""A note, for who asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A title in the library. already: it was there before, made from the same source by the same recipe.

    notes: what of the source a viewer of the title could miss, each a clause about the file; none when `already`.
    """

    title: Title
    folder: Path
    already: bool
    took_s: float
    notes: tuple[str, ...] = ()


def prepare_title(
    source: Path,
    library: Library,
    recipe: EncodeSettings,
    *,
    title_id: str | None = None,
    force: bool = False,
    accept_short: bool = False,
    no_enhancement: bool = False,
    bars: ProgressBars = no_bars,
) -> Prepared:
    """Bring `source` into the library as a title, called after the file unless `title_id` is given.

    accept_short: take a file that ends before its header says so as it is. no_enhancement: its pictures may not be
    enhanced; what was said of the title that it replaces, or that is there already, stays said.
    Raises InputError (MediaError) for a source or title that cannot be used, StorageError when the disk refuses.
    """
    started_s = time.monotonic()
    name = title_id or identifier_of(source)
    library.check_place(name)
    sha256 = file_sha256(source)
    title = None if force else _find_prepared(library, name, sha256, recipe)
    already = title is not None
    forbidden = no_enhancement or forbids_enhancement(library, name)
    notes: tuple[str, ...] = ()
    if title is None:
        with Checkpoints(
            library.building(name), Fingerprint(source_sha256=sha256, recipe=describe_encoder(recipe))
        ) as work:
            try:
                footage = work.run_once("probe", SourceInfo, lambda: probe(source, accept_short=accept_short))
                title = _build_title(source, footage, sha256, name, recipe, forbidden, work, bars)
            except InputError:  # the source or the recipe is at fault: no later run can continue from here
                work.discard()
                raise
            library.publish(name, work.title)
            work.discard()
            notes = (*footage.notes, *((NOT_HDR,) if recipe.hdr and not footage.hdr else ()))
    else:
        if recipe.kernels is KernelWish.ALWAYS:
            add_kernels(library.folder(name), source, accept_short, bars)
        if forbidden and not title.no_enhancement:
            title = permit_enhancement(library, name, False)
    took_s = time.monotonic() - started_s
    return Prepared(title=title, folder=library.root / name, already=already, took_s=took_s, notes=notes)


def _find_prepared(library: Library, name: str, sha256: str, recipe: EncodeSettings) -> Title | None:
    if name not in library.titles():
        return None
    title = library.title(name)
    if title.source.sha256 == sha256 and title.encoder == describe_encoder(recipe):
        return title
    what = "by another recipe" if title.source.sha256 == sha256 else f"from another file, {title.source.name}"
    raise InputError(
        f"The library already has {name!r}, prepared {what}; replace it with --force or choose a name with --id."
    )


def _build_title(
    source: Path,
    footage: SourceInfo,
    sha256: str,
    name: str,
    recipe: EncodeSettings,
    forbidden: bool,
    work: Checkpoints,
    bars: ProgressBars,
) -> Title:
    film, shown = pictures_of(source, footage, recipe.display_px, work, bars)
    short_px = min(footage.display_width_px, footage.display_height_px)
    rungs = work.run_once("ladder", tuple[Rung, ...], lambda: plan_ladder(film, shown, recipe, bars, short_px))
    video = work.run_once("video", Video, lambda: _encode(film, shown, rungs, recipe, work, bars))
    ends_s = segment_ends_s(video.segment_frames, footage.rate)
    tracks = work.run_once(
        "sound", tuple[AudioTrack, ...], lambda: _encode_sound(source, footage, ends_s, recipe, work, bars)
    )
    subtitles = work.run_once(
        "subtitles", tuple[SubtitleTrack, ...], lambda: _write_subtitles(source, footage, ends_s, recipe, work)
    )
    hdr_rungs, hdr_video = _keep_hdr(source, footage, recipe, work, bars)
    # an interrupted run may have had another wish; a lifted source has its track
    if film == source and (video.wants_kernels or recipe.kernels is KernelWish.ALWAYS):
        write_kernels(work.title, source, footage, bars)
    qualities = measure_quality(film, shown, video, recipe, work, bars)
    trick_play: Rendition | UnsetType = UNSET
    if recipe.trick_play:
        trick_play = write_trick_play(work.title / "video", rungs, video.rungs, footage.rate)
    made = Made(
        footage=shown,
        rungs=rungs,
        video=video,
        tracks=tracks,
        qualities=qualities,
        subtitles=subtitles,
        hdr_rungs=hdr_rungs,
        hdr_video=hdr_video,
        trick_play=trick_play,
    )
    came = source_of(source, footage, sha256, UNSET if film == source else file_sha256(film))
    return write_title(work.title, name, came, made, recipe, forbidden=forbidden)


def plan_ladder(
    source: Path,
    footage: SourceInfo,
    recipe: EncodeSettings,
    bars: ProgressBars = no_bars,
    source_px: int | None = None,
) -> tuple[Rung, ...]:
    """Sizes that fit the display, and caps from encoding a few of the title's own segments. source_px: the largest."""
    size = footage.display_width_px, footage.display_height_px
    heights = recipe.heights_px
    rungs = planned_sizes(*size, recipe.planned) if recipe.planned else plan_sizes(*size, heights, source_px)
    check_caps(rungs, recipe.caps_bps)
    return _cap(source, footage, in_each_codec(rungs, recipe.by_codec), recipe, None, bars)


def _cap(
    source: Path,
    footage: SourceInfo,
    rungs: Sequence[Rung],
    recipe: EncodeSettings,
    filters: Filters | None,
    bars: ProgressBars,
) -> tuple[Rung, ...]:
    """filters: as of `display_frames`."""
    length = segment_length(recipe, footage.rate)
    spots = max(1, min(_SAMPLED_SEGMENTS, footage.frames_expected // length))
    with bars("sampling", spots * length) as advance:
        frames = _sample_segments(source, footage, length, spots, filters)
        samples = encode_ladder(frames, rungs, recipe, footage.rate, _discard, advance=advance)
    sizes = [sample.segment_bytes for sample in samples]
    sampled_s = float(max(samples[0].segment_frames) / footage.rate)  # a short title has no whole segment
    return caps_from_samples(rungs, sizes, sampled_s, dict(recipe.caps_bps))


def _sample_segments(
    source: Path, footage: SourceInfo, length: int, spots: int, filters: Filters | None
) -> Iterator[VideoFrame]:
    """A few whole segments, spread over the source, as consecutive frames."""
    index = 0
    for spot in range(spots):
        from_s = footage.duration_s * (2 * spot + 1) / (2 * spots) - float(length / footage.rate) / 2
        for frame in islice(display_frames(source, footage, from_s=max(0.0, from_s), filters=filters), length):
            frame.pts = index
            index += 1
            yield frame


def _discard(_rung: Rung) -> Write:
    return lambda _name, _data: None


def _encode(
    source: Path,
    footage: SourceInfo,
    rungs: Sequence[Rung],
    recipe: EncodeSettings,
    work: Checkpoints,
    bars: ProgressBars,
) -> Video:
    folder, small_folder = work.empty_folder("video"), work.empty_folder(THUMBNAILS_FOLDER)
    finder = PictureFinder(footage.frames_expected)
    softness = SoftnessWatcher(recipe.kernels, footage.frames_expected)
    display_px = footage.display_width_px, footage.display_height_px
    thumbnails = ThumbnailMaker(display_px, footage.rate, lambda name, data: write_file(small_folder / name, data))
    with bars(f"encoding {len(rungs)} rungs", footage.frames_expected) as advance:
        frames = thumbnails.watch(softness.watch(finder.watch(display_frames(source, footage))))
        encoded = encode_ladder(
            frames, rungs, recipe, footage.rate, lambda rung: _make_writer(folder / rung.id), advance=advance
        )
    return Video(rungs=encoded, box=finder.box(), thumbnails=thumbnails.finish(), wants_kernels=softness.wants_track)


def _keep_hdr(
    source: Path, footage: SourceInfo, recipe: EncodeSettings, work: Checkpoints, bars: ProgressBars
) -> tuple[tuple[Rung, ...], tuple[EncodedRung, ...]]:
    """Encode the source once more, in high dynamic range, where it has that and the recipe wants it.

    The rungs are those of the other ladders by size, or by the plan's sizes, and so are the segments.
    """
    if not footage.hdr or not recipe.hdr:
        return (), ()
    own, colour, filters = recipe.for_hdr, footage.hdr, hdr_filters(footage)
    display_px = footage.display_width_px, footage.display_height_px
    heights = sorted({height for height, _ in recipe.planned}) if recipe.planned else recipe.heights_px
    sizes = in_hdr(plan_sizes(*display_px, heights), own.by_codec, colour)
    rungs = work.run_once("hdr-ladder", tuple[Rung, ...], lambda: _cap(source, footage, sizes, own, filters, bars))

    def encode() -> tuple[EncodedRung, ...]:
        folders = {rung.id: work.empty_folder(f"video/{rung.id}") for rung in rungs}
        with bars(f"encoding {len(rungs)} rungs in HDR", footage.frames_expected) as advance:
            return encode_ladder(
                display_frames(source, footage, filters=filters),
                rungs,
                own,
                footage.rate,
                lambda rung: partial(_write_in, folders[rung.id]),
                advance=advance,
            )

    return rungs, work.run_once("hdr-video", tuple[EncodedRung, ...], encode)


def _encode_sound(
    source: Path,
    footage: SourceInfo,
    ends_s: Sequence[Fraction],
    recipe: EncodeSettings,
    work: Checkpoints,
    bars: ProgressBars,
) -> tuple[AudioTrack, ...]:
    if not footage.sounds:
        return ()
    folder = work.empty_folder("audio")
    tracks = len(versions_of(footage.sounds)) * (2 if recipe.opus else 1)
    with bars("encoding sound", tracks * float(ends_s[-1])) as advance:
        return encode_sounds(
            source,
            footage,
            ends_s,
            recipe.audio_bps,
            lambda track: _make_writer(folder / track),
            opus=recipe.opus,
            advance=advance,
        )


def _write_subtitles(
    source: Path, footage: SourceInfo, ends_s: Sequence[Fraction], recipe: EncodeSettings, work: Checkpoints
) -> tuple[SubtitleTrack, ...]:
    if not footage.subtitles and not recipe.subtitles:
        return ()
    folder = work.empty_folder(SUBTITLES_FOLDER)

    def write(name: str, data: bytes) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        write_file(folder / name, data)

    ticks = timescale(footage.rate) if recipe.imsc else 0
    return write_subtitles(source, footage, recipe.subtitles, ends_s, write, imsc_ticks=ticks)


def _make_writer(folder: Path) -> Write:
    try:
        folder.mkdir()
    except OSError as error:
        raise StorageError(f"Cannot make {folder}: {error.strerror}.") from error
    return partial(_write_in, folder)


def _write_in(folder: Path, name: str, data: bytes) -> None:
    write_file(folder / name, data)
