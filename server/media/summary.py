"""A title in short and in detail, for people and programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from abr.core.enhancement import Currency, EnhancementTable
from abr.core.options import counted_quality
from abr.core.title import AudioTrack, Chapter, Protection, Quality, Rendition, SubtitleTrack, Title


class TitleSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a list. size_bytes: segments of all renditions and sound tracks, and weights."""

    title: str
    duration_s: float
    display_width_px: int
    display_height_px: int
    renditions: tuple[str, ...]
    enhancers: tuple[str, ...]
    size_bytes: int


class RenditionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A rendition. vmaf, vmaf_neg: means of plain playback, segments weighing as long as they last."""

    id: str
    width_px: int
    height_px: int
    codecs: str
    average_kbps: float
    bandwidth_kbps: float
    vmaf: float
    vmaf_neg: float


class OfferDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What an enhancer makes of a rendition. weights_bytes: to download; 0 when they ship with the player.

    quality: trusted quality, which decisions count; VMAF where the title tells nothing of a panel.
    """

    enhancer: str
    rendition: str
    architecture: str
    weights_bytes: int
    quality: float
    quality_gain: float
    vmaf: float
    vmaf_gain: float


class AudioDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A sound track."""

    id: str
    codecs: str
    bandwidth_kbps: float
    sample_rate_hz: int
    channels: int
    language: str
    name: str
    role: str


class TitleDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a reader of one title wants first."""

    title: str
    folder: str
    source: str
    source_sha256: str
    duration_s: float
    segments: int
    fps: float
    display_width_px: int
    display_height_px: int
    size_bytes: int
    encoder: str
    renditions: tuple[RenditionDetails, ...]
    audio: tuple[AudioDetails, ...]
    subtitles: tuple[SubtitleTrack, ...]
    chapters: tuple[Chapter, ...]
    offers: tuple[OfferDetails, ...]
    panel: bool
    """Whether the title tells what the panel of meters says of its pictures."""
    enhancement: bool
    """Whether its pictures may be enhanced."""
    hdr: tuple[Rendition, ...] = ()
    """In high dynamic range: their quality is not measured."""
    trick_play: Rendition | None = None
    protection: Protection | None = None

    def as_text(self) -> str:
        """Several lines."""
        lines = [
            f"{self.title}: {self.duration_s:.2f} s in {self.segments} segments, {self.size_bytes / 1e6:.1f} MB",
            f"from {self.source}, shown at {self.display_width_px}x{self.display_height_px}, {self.fps:g} fps",
            f"in {self.folder}, by {self.encoder}",
        ]
        keys = (self.trick_play,) if self.trick_play else ()
        ids = [each.id for tracks in (self.renditions, self.hdr, keys, self.audio, self.subtitles) for each in tracks]
        width = max(6, *map(len, ids))
        lines += [
            f"  {each.id:>{width}} {f'{each.width_px}x{each.height_px}':<10}{each.average_kbps:8.0f} kbit/s"
            f"  VMAF {each.vmaf:6.2f}  NEG {each.vmaf_neg:6.2f}  {each.codecs}"
            for each in self.renditions
        ]
        lines += [_unmeasured(each, "HDR", width) for each in self.hdr]
        lines += [_unmeasured(each, "key frames alone", width) for each in keys]
        lines += [
            f"  {each.id:>{width}} {each.channels} channels, {each.sample_rate_hz} Hz, {each.bandwidth_kbps:.0f} kbit/s"
            f"  {each.codecs}  {_describe(each)}"
            for each in self.audio
        ]
        lines += [
            f"  {each.id:>{width}} {each.size_bytes / 1000:.1f} kB of WebVTT"
            f"{', IMSC text too' if each.imsc_bytes else ''}  {_describe(each)}"
            for each in self.subtitles
        ]
        if self.chapters:
            lines.append(f"  {len(self.chapters)} chapters")
        lines += [
            f"  {each.rendition:>{width}} {each.enhancer:<15} quality {each.quality:6.2f} {each.quality_gain:+6.2f}"
            f"  VMAF {each.vmaf:6.2f} {each.vmaf_gain:+6.2f}"
            f"  {each.weights_bytes / 1000:6.0f} kB  {each.architecture}"
            for each in self.offers
        ]
        if self.protection:
            scheme, key_id = self.protection.scheme, self.protection.key_id
            lines.append(f"  protected ({scheme}) with key {key_id}: nobody can read its frames to enhance them")
        elif not self.enhancement:
            lines.append("  may not be enhanced: its makers do not want it")
        if self.offers and not self.panel:
            lines.append("  no figures of the panel: quality is VMAF alone until the title is prepared again")
        return "\n".join(lines)


def summary_of(title: Title, table: EnhancementTable | None) -> TitleSummary:
    """The title in one line."""
    return TitleSummary(
        title=title.id,
        duration_s=title.duration_s,
        display_width_px=title.display_width_px,
        display_height_px=title.display_height_px,
        renditions=tuple(rendition.id for rendition in title.renditions),
        enhancers=tuple(entry.name for entry in table.enhancers) if table else (),
        size_bytes=size_bytes(title, table),
    )


def details_of(title: Title, table: EnhancementTable | None, folder: Path) -> TitleDetails:
    """The title in detail."""
    return TitleDetails(
        title=title.id,
        folder=str(folder),
        source=title.source.name,
        source_sha256=title.source.sha256,
        duration_s=title.duration_s,
        segments=len(title.segment_frames),
        fps=title.fps,
        display_width_px=title.display_width_px,
        display_height_px=title.display_height_px,
        size_bytes=size_bytes(title, table),
        encoder=title.encoder,
        renditions=tuple(_rendition(title, rendition) for rendition in title.renditions),
        audio=tuple(
            AudioDetails(
                id=track.id,
                codecs=track.codecs,
                bandwidth_kbps=track.bandwidth_bps / 1000,
                sample_rate_hz=track.sample_rate_hz,
                channels=track.channels,
                language=track.language,
                name=track.name,
                role=track.role,
            )
            for track in title.audio
        ),
        subtitles=title.subtitles,
        chapters=title.chapters,
        offers=tuple(_offers(title, table)) if table else (),
        panel=title.meter.panel_every_segments > 0,
        enhancement=title.may_be_enhanced,
        hdr=title.hdr.renditions if title.hdr else (),
        trick_play=title.trick_play or None,
        protection=title.protection or None,
    )


def _unmeasured(each: Rendition, what: str, width: int) -> str:
    size = f"{each.width_px}x{each.height_px}"
    return f"  {each.id:>{width}} {size:<10}{each.average_bps / 1000:8.0f} kbit/s  {what}  {each.codecs}"


def _describe(track: AudioDetails | SubtitleTrack) -> str:
    """Language, name and role of a track, as far as they are told."""
    return ", ".join(filter(None, ("" if track.language == "und" else track.language, track.name, track.role)))


def size_bytes(title: Title, table: EnhancementTable | None) -> int:
    """Bytes of all segments, weights and frame plans. Weights that several enhancers share count once."""
    tracks: tuple[Rendition | AudioTrack, ...] = (
        *title.files,
        *((title.trick_play,) if title.trick_play else ()),
        *title.audio,
    )
    chunks = {
        chunk.file: chunk.size_bytes for _, offer in (table.named_offers() if table else ()) for chunk in offer.chunks
    }
    return sum(track.init_bytes + sum(track.segment_bytes) for track in tracks) + sum(chunks.values())


def _rendition(title: Title, rendition: Rendition) -> RenditionDetails:
    quality = title.plain_quality.get(rendition.id)
    return RenditionDetails(
        id=rendition.id,
        width_px=rendition.width_px,
        height_px=rendition.height_px,
        codecs=rendition.codecs,
        average_kbps=rendition.average_bps / 1000,
        bandwidth_kbps=rendition.bandwidth_bps / 1000,
        vmaf=_mean(quality.vmaf, title) if quality else math.nan,
        vmaf_neg=_mean(quality.vmaf_neg, title) if quality else math.nan,
    )


def _offers(title: Title, table: EnhancementTable) -> list[OfferDetails]:
    plain = title.plain_quality

    def counted(quality: Quality) -> float:
        return _mean(counted_quality(quality, Currency.TRUSTED), title)

    return [
        OfferDetails(
            enhancer=name,
            rendition=offer.rendition,
            architecture=offer.architecture,
            weights_bytes=sum(chunk.size_bytes for chunk in offer.chunks),
            quality=counted(offer.quality),
            quality_gain=counted(offer.quality) - counted(plain[offer.rendition]),
            vmaf=_mean(offer.quality.vmaf, title),
            vmaf_gain=_mean(offer.quality.vmaf, title) - _mean(plain[offer.rendition].vmaf, title),
        )
        for name, offer in table.named_offers()
        if offer.rendition in plain
    ]


def _mean(values: Sequence[float], title: Title) -> float:
    """Over segments, each weighing as long as it lasts."""
    frames = title.segment_frames
    return sum(value * count for value, count in zip(values, frames, strict=False)) / sum(frames)
