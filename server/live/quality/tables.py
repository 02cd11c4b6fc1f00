"""The tables of a running stream, as the server and its players read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from abr.core.live.learning import LiveLearning
from abr.core.live.quality import LiveQuality
from abr.core.live.tables import LiveTables
from abr.core.live.timeline import Span
from abr.core.title import Rendition, Source, Title
from server.live.edge.low_latency_dash import latency_target_s
from server.live.edge.manifests import DELAY_SEGMENTS
from server.live.edge.presentation import LivePresentation
from server.live.learning.learning import Learnt
from server.live.learning.offers import with_learnt

RECENT_SEGMENTS = 8
"""A typical segment is as large as these were on average."""


def live_tables(
    shown: LivePresentation,
    quality: LiveQuality,
    learnt: Learnt | None = None,
    *,
    first_stored: int,
    spans: tuple[Span, ...],
    sizes: Mapping[str, Sequence[int]],
    sound_sizes: Sequence[int],
) -> LiveTables:
    """spans: from that of first_stored on. sizes, sound_sizes: of the segments from that to the newest listed one."""
    end = shown.first + len(shown.frames)
    return LiveTables(
        typical=_typical(shown, quality, sizes, sound_sizes),
        state="ended" if shown.ended else "running",
        updated_s=shown.published_s,
        spans=spans,
        window_s=shown.window_s,
        latency_s=latency_target_s(shown) if shown.chunk_frames else DELAY_SEGMENTS * shown.segment_s,
        first_stored=first_stored,
        first_listed=shown.first,
        end=end,
        sizes={name: tuple(each) for name, each in sizes.items()},
        sound_sizes=tuple(sound_sizes),
        shed=shown.ladder.without,
        eased=shown.ladder.eased,
        waits_s=shown.waits_s,
        chunk_frames=shown.chunk_frames,
        enhancements=with_learnt(quality, learnt.networks, shown.name) if learnt else quality.enhancements,
        measured=quality.measured,
        learning=_at(learnt.learning, shown.ended) if learnt else None,
    )


def _at(learning: LiveLearning, ended: bool) -> LiveLearning:
    """Nothing learns a stream that has ended."""
    return msgspec.structs.replace(learning, state="stopped") if ended else learning


def _typical(
    shown: LivePresentation, quality: LiveQuality, sizes: Mapping[str, Sequence[int]], sound_sizes: Sequence[int]
) -> Title:
    width_px, height_px = shown.display_width_px, shown.display_height_px
    return Title(
        id=shown.name,
        display_width_px=width_px,
        display_height_px=height_px,
        frame_rate=shown.frame_rate,
        segment_duration_s=(shown.segment_s,),
        segment_frames=(shown.segment_frames,),
        renditions=tuple(_usual(rendition, sizes[rendition.id]) for rendition in shown.renditions),
        audio=tuple(msgspec.structs.replace(track, segment_bytes=_mean(sound_sizes)) for track in shown.audio),
        source=Source(
            name=shown.name, sha256="", width_px=width_px, height_px=height_px, duration_s=sum(shown.durations_s)
        ),
        plain_quality=quality.plain,
        meter=quality.meter,
        encoder="live",
        version=shown.version,
    )


def _usual(rendition: Rendition, sizes: Sequence[int]) -> Rendition:
    return msgspec.structs.replace(rendition, segment_bytes=_mean(sizes) if any(sizes) else rendition.segment_bytes)


def _mean(sizes: Sequence[int]) -> tuple[int]:
    recent = [size for size in sizes if size][-RECENT_SEGMENTS:]
    return (max(1, round(sum(recent) / len(recent))),)
