"""The report: one self-contained HTML page about one session. Data is gathered here, drawn by report.html.j2."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2

from abr.core.control import Download
from abr.core.enhancement import PLAIN, EnhancementTable, Family, Tier
from abr.core.events import AnyEvent, Decided, Downloaded, Ended, Failed, Playing, Shown, Stalled, Started, Stepped
from abr.core.throughput import throughput_bps
from abr.core.title import Quality, Title
from abr.errors import StorageError
from abr.protocols.session_api import PUBLIC_ID_CHARACTERS
from abr.quality.panel import PANEL
from abr.records import load
from abr.simulation.traces import Trace
from client_player.playback.before_after import AFTER_FILE, BEFORE_FILE, PAIR_FILE, PairNote
from client_player.session.summary import Summary, as_dict, is_estimate, quality_seen

REPORT_FILE = "report.html"
_TRACE_POINTS_MAX = 1500
_SESSION_PATH = re.compile(rf"(/sessions/[A-Za-z0-9_-]{{{PUBLIC_ID_CHARACTERS}}})[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """All that a report is made from. What is None is left out of the page."""

    events: Sequence[AnyEvent]
    title: Title
    summary: Summary
    table: EnhancementTable | None = None
    seen: Quality | None = None
    trace: Trace | None = None
    pair_folder: Path | None = None


def render(report: ReportData) -> str:
    """The page. It loads nothing from anywhere."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("client_player.session", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    data = gather(report)
    script = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
    return environment.get_template("report.html.j2").render(
        data=data, script=script, pair=_load_pair(report.pair_folder)
    )


def write_report(report: ReportData, path: Path) -> None:
    """Render into `path`. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(report), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write the report {path}: {error.strerror}.") from error


def _without_id(detail: str) -> str:
    """Reports are shared, and knowing a session's id is the right to use it: only its public part is left in URLs."""
    return _SESSION_PATH.sub(r"\1…", detail)


def gather(report: ReportData) -> dict[str, Any]:
    """Everything that the page shows, as plain JSON values. Times in seconds, rates in kbit/s."""
    events, title = report.events, report.title
    started = next((event for event in events if isinstance(event, Started)), None)
    end_s = max((event.t_s for event in events), default=0.0)
    segments = list(_segment_entries(report))
    frames = sum(segment["frames"] for segment in segments) or 1
    return {
        "title": title.id,
        "display": f"{title.display_width_px}×{title.display_height_px}",
        "controller": started.controller if started else "",
        "device": started.device if started else "",
        "network": started.network if started else "",
        "software": started.software if started else "",
        "summary": as_dict(report.summary),
        "energy_source": "an estimate" if is_estimate(report.summary.energy_source) else report.summary.energy_source,
        "plain_vmaf": round(sum(segment["plain"] * segment["frames"] for segment in segments) / frames, 2),
        "rungs": [rendition.id for rendition in title.renditions],
        "enhancers": sorted({segment["enhancer"] for segment in segments} - {PLAIN}, key=_family_and_tier),
        "end_s": round(end_s, 3),
        "segments": segments,
        "network_kbps": _network_steps(report, end_s),
        "buffer": _buffer_corners(events, title),
        "stalls": [
            [_rounded(e.t_s - e.duration_s), _rounded(e.t_s), e.segment] for e in events if isinstance(e, Stalled)
        ],
        "steps": [
            [_rounded(e.t_s), e.segment, e.from_enhancer, e.to_enhancer, e.reason]
            for e in events
            if isinstance(e, Stepped)
        ],
        "failures": [[_rounded(e.t_s), e.what, _without_id(e.detail)] for e in events if isinstance(e, Failed)],
        "weights": [
            [_rounded(e.started_s), _rounded(e.t_s), e.name, e.size_bytes]
            for e in events
            if isinstance(e, Downloaded) and e.kind == "weights"
        ],
        "panel": list(_compare_panel(report.summary)),
        "meter": {
            "tool": title.meter.tool,
            "model": title.meter.vmaf_model,
            "scaler": title.meter.scaler,
            "every": title.meter.every_frames,
        },
        "weights_notes": _credit_weights(report),
    }


def _compare_panel(summary: Summary) -> Iterator[dict[str, Any]]:
    """Each member of the panel: its mean over judged frames as shown, beside the same frames played plainly."""
    seen, plain = summary.panel_seen or {}, summary.panel_plain or {}
    for member in PANEL:
        if member.name in seen and member.name in plain:
            digits = 4 if member.name.endswith("ssim") else 2
            gain = member.gain(plain[member.name], seen[member.name])
            yield {
                "label": member.label,
                "unit": member.unit,
                "plain": f"{plain[member.name]:.{digits}f}",
                "seen": f"{seen[member.name]:.{digits}f}",
                "verdict": "better" if gain > 0 else "worse" if gain < 0 else "the same",
            }


def _credit_weights(report: ReportData) -> list[str]:
    """Whose weights lifted frames in this session; nothing is credited that was not used."""
    if report.table is None:
        return []
    used = {shown.enhancer for shown in report.events if isinstance(shown, Shown) and shown.enhanced_frames}
    families = {entry.family for entry in report.table.enhancers if entry.name in used}
    notes = []
    if Family.CONTENT in families and report.table.note:
        notes.append(f"Content-aware weights: {report.table.note}")
    if Family.GENERIC in families:
        notes.append("Generic weights: those that come with the program; they never saw this title.")
    return notes


def _segment_entries(report: ReportData) -> Iterator[dict[str, Any]]:
    """One entry for each segment that was shown: what was decided, downloaded, promised, seen."""
    events, title = report.events, report.title
    decided = {event.segment: event for event in events if isinstance(event, Decided)}
    downloads = {event.segment: event for event in events if isinstance(event, Downloaded) and event.kind == "video"}
    media_s = [0.0]
    for duration_s in title.segment_duration_s:
        media_s.append(media_s[-1] + duration_s)
    for order, shown in enumerate(event for event in events if isinstance(event, Shown)):
        n, duration_s = shown.segment, title.segment_duration_s[shown.segment]
        last_frame_s = duration_s / max(1, shown.frames)
        choice, download = decided.get(n), downloads.get(n)
        vmaf = report.seen.vmaf[order] if report.seen and order < len(report.seen.vmaf) else None
        seen = None if vmaf is None else quality_seen(shown, choice, title, vmaf)
        plain = title.plain_quality[shown.rendition].vmaf[n]
        yield {
            "n": n,
            "media": [_rounded(media_s[n]), _rounded(media_s[n + 1])],
            "shown": [_rounded(max(0.0, shown.t_s + last_frame_s - duration_s)), _rounded(shown.t_s + last_frame_s)],
            "down": [_rounded(download.started_s), _rounded(download.t_s)] if download else None,
            "kbps": round(download.size_bytes * 8 / 1000 / duration_s, 1) if download else 0.0,
            "bytes": download.size_bytes if download else 0,
            "rendition": shown.rendition,
            "enhancer": shown.enhancer,
            "reason": choice.reason if choice else "",
            "plain": round(plain, 2),
            "promised": round(choice.quality if choice else plain, 2),
            "seen": None if seen is None else round(seen, 2),
            "vmaf": round(choice.promised_vmaf if choice else plain, 2),
            "seen_vmaf": None if vmaf is None else round(vmaf, 2),
            "frames": shown.frames,
            "enhanced": shown.enhanced_frames,
            "late": shown.late_frames,
            "p50_ms": round(shown.enhance_p50_ms, 2),
            "p95_ms": round(shown.enhance_p95_ms, 2),
        }


def _network_steps(report: ReportData, end_s: float) -> list[list[float]]:
    """Steps [from_s, kbit/s] of what the network could carry; without a trace, of what downloads found."""
    trace = report.trace
    if trace is None:
        return [
            [_rounded(e.started_s), round(throughput_bps(_to_download(e)) / 1000, 1)]
            for e in report.events
            if isinstance(e, Downloaded) and e.kind == "video"
        ]
    edges = [0.0]
    while edges[-1] < end_s and len(edges) < _TRACE_POINTS_MAX:
        for duration_s in trace.duration_s:
            edges.append(edges[-1] + float(duration_s))
            if edges[-1] >= end_s or len(edges) >= _TRACE_POINTS_MAX:
                break
    return [[_rounded(a), round(trace.bytes_between(a, b) * 8 / 1000 / (b - a), 1)] for a, b in pairwise(edges)]


def _buffer_corners(events: Sequence[AnyEvent], title: Title) -> list[list[float]]:
    """Corners [at_s, seconds] of the buffer, rebuilt from when segments arrived and when playback stopped."""
    arrivals: dict[int, float] = {}
    for event in events:
        if isinstance(event, Decided):
            arrivals.setdefault(event.segment, event.t_s)
            latest = event.segment
        if isinstance(event, Downloaded) and event.kind in ("video", "audio", "weights") and arrivals:
            arrivals[latest] = max(arrivals[latest], event.t_s)
    moves = [(event.t_s, 1) for event in events if isinstance(event, Playing)]
    for event in events:
        if isinstance(event, Stalled):
            moves += [(event.t_s - event.duration_s, -1), (event.t_s, 1)]
    moves += [(event.t_s, -1) for event in events if isinstance(event, Ended)]
    changes = [(at_s, title.segment_duration_s[n], 0) for n, at_s in arrivals.items()]
    changes += [(at_s, 0.0, turn) for at_s, turn in moves]
    corners, now_s, level_s, moving = [[0.0, 0.0]], 0.0, 0.0, 0
    for at_s, more_s, turn in sorted(changes):
        level_s = max(0.0, level_s - (at_s - now_s) * min(1, max(0, moving)))
        corners.append([_rounded(at_s), _rounded(level_s)])
        now_s, level_s, moving = at_s, level_s + more_s, moving + turn
        if more_s:
            corners.append([_rounded(at_s), _rounded(level_s)])
    return corners


def _to_download(event: Downloaded) -> Download:
    return Download(
        started_s=event.started_s,
        duration_s=event.duration_s,
        latency_s=event.latency_s,
        size_bytes=event.size_bytes,
    )


def _load_pair(folder: Path | None) -> dict[str, Any] | None:
    """The before/after pair as data URIs, if there is one."""
    if folder is None or not (folder / PAIR_FILE).is_file():
        return None
    note = load(folder / PAIR_FILE, PairNote)
    return {"note": note, "before": _data_uri(folder / BEFORE_FILE), "after": _data_uri(folder / AFTER_FILE)}


def _data_uri(path: Path) -> str:
    try:
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error


def _family_and_tier(enhancer: str) -> tuple[str, int]:
    family, _, tier = enhancer.partition("-")
    tiers = list(Tier)
    return family, tiers.index(Tier(tier)) if tier in tiers else len(tiers)


def _rounded(value: float) -> float:
    return round(value, 3)
