"""A session in a few numbers, from its log alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
from msgspec import UnsetType

from abr.controllers.guard import FAILED
from abr.core.device import EnergySource, Wish
from abr.core.enhancement import PLAIN
from abr.core.events import AnyEvent, Decided, Downloaded, Ended, Failed, Playing, Shown, Stalled, Started, Stepped
from abr.core.qoe import experience, switches_per_minute
from abr.core.quality_scale import QualityScale
from abr.core.title import PanelFigures, Quality, Title
from abr.records import Record


class Summary(Record, frozen=True):
    """What a viewer got. Qualities are means over shown frames, so that they can be held against each other.

    vmaf_promised: what the tables said of each decision. vmaf_seen, vmaf_neg_seen: measured on the very frames that
    were shown, None without a source to compare with. quality_promised, quality_seen: the same in what decisions
    count, trusted quality by default: VMAF less what the panel does not attest of a lift. panel_seen: means of the
    panel's members over the frames of those shown that it judges; panel_plain: of the same, had they been plain. qoe:
    abr.core.qoe.experience over the quality seen, or without a source over the tables' values, plain where frames
    were shown plain.
    """

    session: str
    title: str
    controller: str
    network: str
    ended: str
    frames: int
    vmaf_promised: float
    vmaf_seen: float | None
    vmaf_neg_seen: float | None
    qoe: float
    startup_s: float
    stall_s: float
    stalls: int
    mbytes: float
    mbytes_video: float
    mbytes_audio: float
    mbytes_weights: float
    mean_kbps: float
    """Video bits over media time."""
    enhanced_share: float
    late_frames: int
    late_share: float
    switches: int
    """Changes of rendition between neighbouring segments."""
    switches_per_minute: float
    """The same, a minute of media shown."""
    steps: int
    failures: int
    partial: bool = False
    """The session ended before the title did."""
    sound_apart_ms: float = 0.0
    """The most by which sound and picture time lines were apart."""
    controller_failures: int = 0
    """Decisions that the controller failed to take, so that the lowest rung played."""
    quality_promised: float = 0.0
    quality_seen: float | None = None
    panel_seen: dict[str, float] | None = None
    panel_plain: dict[str, float] | None = None
    latency_s: float | None = None
    """Of a live stream: how far behind the live edge pictures were shown, the median over segments; None for titles."""
    latency_p95_s: float | None = None
    wish: str = "quality"
    """How the viewer wanted the device's energy spent."""
    energy_mj_per_minute: float = 0.0
    """Millijoules that enhancing took, a minute of media shown, above the idle device."""
    energy_source: str = ""
    """What those rest on; model: an estimate."""


def summarise(
    events: Sequence[AnyEvent],
    title: Title,
    seen: Quality | None = None,
    audio_offset_max_s: float = 0.0,
    scale: QualityScale | None = None,
) -> Summary:
    """Sum a session up. `seen` has one entry for each segment that was shown, in order.

    scale: what decisions counted quality by, if not by VMAF's points.
    """
    started = next((event for event in events if isinstance(event, Started)), None)
    ended = next((event for event in reversed(events) if isinstance(event, Ended)), None)
    shown = [event for event in events if isinstance(event, Shown)]
    decided = {event.segment: event for event in events if isinstance(event, Decided)}
    stalls = [event.duration_s for event in events if isinstance(event, Stalled)]
    frames = sum(event.frames for event in shown)
    late = sum(event.late_frames for event in shown)
    weights = [event.frames for event in shown]
    promises = [decided.get(event.segment) for event in shown]
    by_segment = [
        quality_seen(event, choice, title, seen.vmaf[place] if seen and place < len(seen.vmaf) else None, scale)
        for place, (event, choice) in enumerate(zip(shown, promises, strict=True))
    ]
    latencies = [event.latency_s for event in shown if not isinstance(event.latency_s, UnsetType)]
    sizes = {kind: _count_bytes(events, kind) for kind in ("video", "audio", "weights", "init", "document")}
    media_s = sum(title.segment_duration_s[event.segment] for event in shown)
    return Summary(
        session=started.session if started else "",
        title=title.id,
        controller=started.controller if started else "",
        network=started.network if started else "",
        ended=ended.reason if ended else "unknown",
        partial=ended is None or ended.reason != "finished",
        frames=frames,
        vmaf_promised=_mean([choice.promised_vmaf if choice else 0.0 for choice in promises], weights),
        vmaf_seen=_mean(seen.vmaf, weights) if seen else None,
        vmaf_neg_seen=_mean(seen.vmaf_neg, weights) if seen else None,
        quality_promised=_mean([choice.quality if choice else 0.0 for choice in promises], weights),
        quality_seen=_mean(by_segment, weights) if seen else None,
        panel_seen=_panel_means(seen.panel) if seen and seen.panel else None,
        panel_plain=_panel_of_plain(shown, seen.panel, title) if seen and seen.panel else None,
        qoe=round(experience(by_segment, sum(stalls)).qoe, 3) if by_segment else 0.0,
        startup_s=round(next((event.startup_s for event in events if isinstance(event, Playing)), 0.0), 3),
        stall_s=round(sum(stalls), 3),
        stalls=len(stalls),
        mbytes=round(sum(sizes.values()) / 1e6, 4),
        mbytes_video=round((sizes["video"] + sizes["init"]) / 1e6, 4),
        mbytes_audio=round(sizes["audio"] / 1e6, 4),
        mbytes_weights=round(sizes["weights"] / 1e6, 4),
        mean_kbps=round(sizes["video"] * 8 / 1000 / media_s, 1) if media_s else 0.0,
        enhanced_share=round(sum(event.enhanced_frames for event in shown) / frames, 4) if frames else 0.0,
        late_frames=late,
        late_share=round(late / frames, 5) if frames else 0.0,
        switches=sum(a.rendition != b.rendition for a, b in pairwise(shown)),
        switches_per_minute=round(switches_per_minute([e.rendition for e in shown], media_s), 3) if media_s else 0.0,
        steps=sum(isinstance(event, Stepped) for event in events),
        failures=sum(isinstance(event, Failed) for event in events),
        latency_s=_percentile(latencies, 50),
        latency_p95_s=_percentile(latencies, 95),
        wish=(started.wish or "quality") if started else "quality",
        energy_mj_per_minute=round(60_000 * sum(e.energy_j or 0.0 for e in shown) / media_s, 1) if media_s else 0.0,
        energy_source=(started.energy_source or "") if started else "",
        sound_apart_ms=round(audio_offset_max_s * 1000, 1),
        controller_failures=sum(isinstance(event, Decided) and event.reason.startswith(FAILED) for event in events),
    )


def as_table(summary: Summary) -> list[tuple[str, str]]:
    """Rows for a terminal: what, how much."""
    seen = "not measured (give --source)" if summary.vmaf_seen is None else f"{summary.vmaf_seen:.1f}"
    neg = "" if summary.vmaf_neg_seen is None else f", NEG {summary.vmaf_neg_seen:.1f}"
    counted = "" if summary.quality_seen is None else f", seen {summary.quality_seen:.1f}"
    return [
        ("quality that counts", f"promised {summary.quality_promised:.1f}{counted}"),
        ("VMAF promised", f"{summary.vmaf_promised:.1f}"),
        ("VMAF seen", seen + neg),
        ("start-up", f"{summary.startup_s:.2f} s"),
        ("stalls", f"{summary.stalls}, {summary.stall_s:.2f} s in all"),
        (
            "downloaded",
            f"{summary.mbytes:.2f} MB (video {summary.mbytes_video:.2f}, audio {summary.mbytes_audio:.2f}, "
            f"weights {summary.mbytes_weights:.2f})",
        ),
        ("mean video bitrate", f"{summary.mean_kbps:.0f} kbit/s"),
        *_live_rows(summary),
        ("switches of rendition", f"{summary.switches}, {summary.switches_per_minute:.2f} a minute"),
        ("enhanced", f"{summary.enhanced_share:.1%} of {summary.frames} frames"),
        *_energy_rows(summary),
        ("late", f"{summary.late_frames} frames ({summary.late_share:.2%})"),
        ("steps, failures", f"{summary.steps}, {summary.failures}"),
        ("QoE", f"{summary.qoe:.1f}" + (" up to where it ended" if summary.partial else "")),
        *([("ended early", summary.ended)] if summary.partial else []),
        *([("controller failed", f"{summary.controller_failures} times")] if summary.controller_failures else []),
    ]


def _energy_rows(summary: Summary) -> list[tuple[str, str]]:
    if not summary.energy_mj_per_minute and summary.wish == Wish.QUALITY:
        return []
    source = f"estimated ({summary.energy_source})" if is_estimate(summary.energy_source) else summary.energy_source
    return [("energy of enhancing", f"{summary.energy_mj_per_minute:.0f} mJ a minute, {source}; wish: {summary.wish}")]


def is_estimate(source: str) -> bool:
    """Whether energy of this source was measured by nothing."""
    return source not in set(map(str, EnergySource)) or EnergySource(source).is_estimate


def _live_rows(summary: Summary) -> list[tuple[str, str]]:
    if summary.latency_s is None:
        return []
    return [("behind the live edge", f"{summary.latency_s:.2f} s (median), {summary.latency_p95_s:.2f} s (p95)")]


def as_dict(summary: Summary) -> dict[str, object]:
    """For JSON."""
    return msgspec.structs.asdict(summary)


def quality_seen(
    event: Shown, decided: Decided | None, title: Title, vmaf: float | None, scale: QualityScale | None = None
) -> float:
    """A shown segment in what decisions count. vmaf: as measured on its frames; None takes the tables' word.

    Of what was measured, that part of the lift is taken off which the tables say that the panel does not attest.
    scale: what decisions counted by; VMAF goes through it.
    """
    if decided is None or event.frames == 0:
        return decided.quality if decided and vmaf is None else _points(vmaf or 0.0, scale)
    share = 0.0 if event.enhancer == PLAIN else event.enhanced_frames / event.frames
    if vmaf is not None:
        return _points(vmaf, scale) - share * (_points(decided.promised_vmaf, scale) - decided.quality)
    if event.enhancer == PLAIN:
        return decided.quality
    plain = _points(title.plain_quality[event.rendition].vmaf[event.segment], scale)
    return plain + share * (decided.quality - plain)


def _points(vmaf: float, scale: QualityScale | None) -> float:
    return vmaf if scale is None else scale.of_each((vmaf,))[0]


def _panel_means(panel: PanelFigures) -> dict[str, float]:
    return {name: round(sum(values) / len(values), 4) for name, values in panel.figures.items()}


def _panel_of_plain(shown: Sequence[Shown], seen: PanelFigures, title: Title) -> dict[str, float] | None:
    """What the tables say of the same segments of the same renditions, played plainly; None where they say nothing."""
    rendition_of = {event.segment: event.rendition for event in shown}
    rows: list[dict[str, float]] = []
    for segment in seen.segment:
        plain = title.plain_quality[rendition_of[segment]].panel if segment in rendition_of else None
        if plain is None or segment not in plain.segment:
            return None
        place = plain.segment.index(segment)
        rows.append({name: values[place] for name, values in plain.figures.items()})
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]} if rows else None


def _count_bytes(events: Sequence[AnyEvent], kind: str) -> int:
    return sum(event.size_bytes for event in events if isinstance(event, Downloaded) and event.kind == kind)


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 3) if values else None


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    return (
        round(sum(value * weight for value, weight in zip(values, weights, strict=True)) / total, 3) if total else 0.0
    )
