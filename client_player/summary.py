"""A session in a few numbers, from its log alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from abr.enhancement import PLAIN
from abr.events import AnyEvent, Decided, Downloaded, Ended, Failed, Playing, Shown, Stalled, Started, Stepped
from abr.formats import Record
from abr.media import Quality, Title
from abr.qoe import experience


class Summary(Record, frozen=True):
    """What a viewer got. Qualities are means over shown frames, so that they can be held against each other.

    vmaf_promised: what the tables said of each decision. vmaf_seen, vmaf_neg_seen: measured on the very frames that
    were shown, None without a source to compare with. qoe: abr.qoe.experience over what was seen, or
    without a source over the tables' values, plain where frames were shown plain.
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
    steps: int
    failures: int
    partial: bool = False
    """The session ended before the title did."""
    sound_apart_ms: float = 0.0
    """The most by which sound and picture time lines were apart."""


def summarise(
    events: Sequence[AnyEvent], title: Title, seen: Quality | None = None, sound_apart_s: float = 0.0
) -> Summary:
    """Sum a session up. `seen` has one entry for each segment that was shown, in order."""
    started = next((event for event in events if isinstance(event, Started)), None)
    ended = next((event for event in reversed(events) if isinstance(event, Ended)), None)
    shown = [event for event in events if isinstance(event, Shown)]
    promised = {event.segment: event.promised_vmaf for event in events if isinstance(event, Decided)}
    stalls = [event.duration_s for event in events if isinstance(event, Stalled)]
    frames = sum(event.frames for event in shown)
    late = sum(event.late_frames for event in shown)
    weights = [event.frames for event in shown]
    promises = [promised.get(event.segment, 0.0) for event in shown]
    lived = list(seen.vmaf) if seen else [_as_shown(event, promised, title) for event in shown]
    sizes = {kind: _bytes(events, kind) for kind in ("video", "audio", "weights", "init", "document")}
    media_s = sum(title.segment_duration_s[event.segment] for event in shown)
    return Summary(
        session=started.session if started else "",
        title=title.id,
        controller=started.controller if started else "",
        network=started.network if started else "",
        ended=ended.reason if ended else "unknown",
        partial=ended is None or ended.reason != "finished",
        frames=frames,
        vmaf_promised=_mean(promises, weights),
        vmaf_seen=_mean(seen.vmaf, weights) if seen else None,
        vmaf_neg_seen=_mean(seen.vmaf_neg, weights) if seen else None,
        qoe=round(experience(lived, sum(stalls)).qoe, 3) if lived else 0.0,
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
        steps=sum(isinstance(event, Stepped) for event in events),
        failures=sum(isinstance(event, Failed) for event in events),
        sound_apart_ms=round(sound_apart_s * 1000, 1),
    )


def as_table(summary: Summary) -> list[tuple[str, str]]:
    """Rows for a terminal: what, how much."""
    seen = "not measured (give --source)" if summary.vmaf_seen is None else f"{summary.vmaf_seen:.1f}"
    neg = "" if summary.vmaf_neg_seen is None else f", NEG {summary.vmaf_neg_seen:.1f}"
    return [
        ("VMAF promised", f"{summary.vmaf_promised:.1f}"),
        ("VMAF seen", seen + neg),
        ("start-up", f"{summary.startup_s:.2f} s"),
        ("stalls", f"{summary.stalls}, {summary.stall_s:.2f} s in all"),
        (
            "downloaded",
            f"{summary.mbytes:.2f} MB (video {summary.mbytes_video:.2f}, audio {summary.mbytes_audio:.2f}, "
            f"weights {summary.mbytes_weights:.2f})",
        ),
        ("mean video bitrate", f"{summary.mean_kbps:.0f} kbit/s, {summary.switches} switches"),
        ("enhanced", f"{summary.enhanced_share:.1%} of {summary.frames} frames"),
        ("late", f"{summary.late_frames} frames ({summary.late_share:.2%})"),
        ("steps, failures", f"{summary.steps}, {summary.failures}"),
        ("QoE", f"{summary.qoe:.1f}" + (" up to where it ended" if summary.partial else "")),
        *([("ended early", summary.ended)] if summary.partial else []),
    ]


def as_dict(summary: Summary) -> dict[str, object]:
    """For JSON."""
    return msgspec.structs.asdict(summary)


def _as_shown(event: Shown, promised: Mapping[int, float], title: Title) -> float:
    """VMAF by the tables: as promised for enhanced frames, and plain for the others."""
    if event.enhancer == PLAIN or event.frames == 0:
        return promised.get(event.segment, 0.0)
    plain = title.plain_quality[event.rendition].vmaf[event.segment]
    return plain + (promised.get(event.segment, plain) - plain) * event.enhanced_frames / event.frames


def _bytes(events: Sequence[AnyEvent], kind: str) -> int:
    return sum(event.size_bytes for event in events if isinstance(event, Downloaded) and event.kind == kind)


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    total = sum(weights)
    return (
        round(sum(value * weight for value, weight in zip(values, weights, strict=True)) / total, 3) if total else 0.0
    )
