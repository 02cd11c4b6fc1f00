"""Writing down a title: what was encoded and measured becomes title.json, manifests and plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from msgspec import UNSET, UnsetType

from abr.controllers.toprung.title_plans import write_plans
from abr.core.title import TITLE_FILE, AudioTrack, Hdr, Quality, Rendition, Source, SubtitleTrack, Thumbnails, Title
from abr.files import write_file
from abr.media.display_filters import display_filters
from abr.media.probe import SourceInfo
from abr.quality.vmaf import Box, meter_of
from abr.records import Record, dumps_pretty
from server.ingest.encode import EncodedRung
from server.ingest.encode_settings import EncodeSettings
from server.ingest.encoders.options import describe_encoder
from server.ingest.identifiers import readable_name
from server.ingest.ladder import Rung
from server.ingest.manifests.title import manifests
from server.media.versions import media_version


class Video(Record, frozen=True):
    """The encoded rungs, the picture inside letterbox borders at display size, and small pictures for the seek bar."""

    rungs: tuple[EncodedRung, ...]
    box: Box
    thumbnails: Thumbnails | None = None
    wants_kernels: bool = False
    """Whether the title is to tell the blur of its source."""

    @property
    def segment_frames(self) -> tuple[int, ...]:
        """Frames of each segment, the same in all rungs."""
        return self.rungs[-1].segment_frames


def source_of(source: Path, footage: SourceInfo, sha256: str, lifted: str | UnsetType = UNSET) -> Source:
    """What a title says of the file that it was prepared from. lifted: see Source."""
    return Source(
        name=readable_name(source),
        sha256=sha256,
        width_px=footage.coded_width_px,
        height_px=footage.coded_height_px,
        duration_s=footage.duration_s,
        filters=tuple(display_filters(footage)),
        lifted=lifted,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Everything of a title that was encoded and measured."""

    footage: SourceInfo
    rungs: tuple[Rung, ...]
    video: Video
    tracks: tuple[AudioTrack, ...]
    qualities: dict[str, Quality]
    subtitles: tuple[SubtitleTrack, ...] = ()
    hdr_rungs: tuple[Rung, ...] = ()
    hdr_video: tuple[EncodedRung, ...] = ()
    """What stays in high dynamic range."""
    trick_play: Rendition | UnsetType = UNSET
    how: str = ""
    """What is to be told of the encoding beside the recipe."""


def write_title(
    folder: Path, name: str, source: Source, made: Made, recipe: EncodeSettings, *, forbidden: bool = False
) -> Title:
    """Write what makes encoded and measured segments a title: title.json, manifests, plans. Raises StorageError."""
    footage, video = made.footage, made.video
    title = Title(
        id=name,
        display_width_px=footage.display_width_px,
        display_height_px=footage.display_height_px,
        frame_rate=footage.frame_rate,
        segment_duration_s=tuple(float(frames / footage.rate) for frames in video.segment_frames),
        segment_frames=video.segment_frames,
        renditions=_renditions(made.rungs, video.rungs, footage.rate),
        audio=made.tracks,
        source=source,
        plain_quality=made.qualities,
        meter=meter_of(every_frames=recipe.vmaf_every, crop=video.box, panel_every_segments=recipe.panel_every),
        encoder=", ".join(filter(None, (describe_encoder(recipe), made.how))),
        version=media_version(folder),
        no_enhancement=True if forbidden else UNSET,
        subtitles=made.subtitles,
        thumbnails=video.thumbnails,
        chapters=tuple(each for each in footage.chapters if each.start_s < sum(video.segment_frames) / footage.rate),
        hdr=_hdr(footage, made),
        trick_play=made.trick_play,
    )
    for file, data in {**manifests(title), TITLE_FILE: dumps_pretty(title)}.items():
        write_file(folder / file, data)
    write_plans(folder, title, None)
    return title


def _hdr(footage: SourceInfo, made: Made) -> Hdr | UnsetType:
    if not footage.hdr or not made.hdr_rungs:
        return UNSET
    return Hdr(colour=footage.hdr, renditions=_renditions(made.hdr_rungs, made.hdr_video, footage.rate))


def _renditions(rungs: Sequence[Rung], encoded: Sequence[EncodedRung], rate: Fraction) -> tuple[Rendition, ...]:
    return tuple(_rendition(rung, each, rate) for rung, each in zip(rungs, encoded, strict=True))


def _rendition(rung: Rung, encoded: EncodedRung, rate: Fraction) -> Rendition:
    longest_s = max(encoded.segment_frames) / rate
    total_s = sum(encoded.segment_frames) / rate
    return Rendition(
        id=rung.id,
        width_px=rung.width_px,
        height_px=rung.height_px,
        codecs=encoded.codecs,
        bandwidth_bps=int(max(encoded.segment_bytes) * 8 / longest_s) + 1,
        average_bps=int(sum(encoded.segment_bytes) * 8 / total_s) + 1,
        init_bytes=encoded.init_bytes,
        segment_bytes=encoded.segment_bytes,
    )
