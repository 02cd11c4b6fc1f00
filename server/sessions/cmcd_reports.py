"""Delivery reports: what a stock player says in CMCD version 2 (CTA-5004-A) of how its segments came.

Players post a line for each event. Of interest is `e=rr`, response received: `url` names the segment, `ttfb` and `ttlb`
are milliseconds from the request to the first and to the last byte. The viewer's clock (`ts`) is not trusted: what is
reported has just ended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from abr.core.control import Download
from abr.core.events import Downloaded
from abr.core.options import PriceList
from abr.core.title import Title
from abr.errors import FormatError
from abr.protocols.cmcd import Cmcd, loads
from server.sessions.state import SessionState

LINES_MAX = 256
LATEST_S = 600.0
"""A segment that took longer is not believed."""
_SEGMENT = re.compile(
    r"(?:/[^/]*)*?/sessions/([A-Za-z0-9_-]{1,256})/(?:video/([1-9][0-9]{0,7})\.m4s|title/video/([^/]{1,64})/seg-([0-9]{5,8})\.m4s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """Segment `segment` (0-based) has come whole. rendition: as the viewer chose it; empty when the server did."""

    segment: int
    rendition: str
    latency_s: float
    duration_s: float


def read_reports(body: str, session_id: str) -> tuple[list[DeliveryReport], int]:
    """The reports on this session's segments, and how many lines were malformed. Other events are passed over.

    Raises FormatError when there are more than LINES_MAX lines.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > LINES_MAX:
        raise FormatError(f"{len(lines)} CMCD events came at once; at most {LINES_MAX} are taken.")
    reports: list[DeliveryReport] = []
    faults = 0
    for line in lines:
        try:
            report = _report(loads(line), session_id)
        except FormatError:
            faults += 1
            continue
        if report is not None:
            reports.append(report)
    return reports, faults


def _report(event: Cmcd, session_id: str) -> DeliveryReport | None:
    url, total_ms, first_ms = event.get("url"), event.get("ttlb"), event.get("ttfb", 0)
    if event.get("e") != "rr" or event.get("rc", 200) != 200:
        return None
    if not isinstance(url, str) or not isinstance(total_ms, int) or not isinstance(first_ms, int):
        return None
    named = _SEGMENT.fullmatch(re.sub(r"^[a-z]+://[^/]*|[?#].*$", "", url))
    if named is None or named[1] != session_id or not 0 <= total_ms <= LATEST_S * 1000:
        return None
    return DeliveryReport(
        segment=int(named[2] or named[4]) - 1,
        rendition=named[3] or "",
        latency_s=min(first_ms, total_ms) / 1000,
        duration_s=max(total_ms, 1) / 1000,
    )


def note_reports(
    state: SessionState, reports: Sequence[DeliveryReport], title: Title, prices: PriceList, clock_s: float
) -> tuple[SessionState, list[Downloaded]]:
    """The session that knows of these deliveries, and what goes into its log.

    From the first one on, the viewer's word stands in the place of its `mtp` and of the server's own timing.
    """
    now_s = max(0.0, clock_s - state.created_s)
    events: list[Downloaded] = []
    for report in reports:
        option = state.option(report.segment)
        if option is None or option >= len(prices.choices) or report.segment >= len(title.segment_frames):
            continue
        chosen = report.rendition or title.renditions[prices.choices[option].rendition].id
        rendition = next((each for each in title.renditions if each.id == chosen), None)
        if rendition is None:
            continue
        download = Download(
            started_s=max(0.0, now_s - report.duration_s),
            duration_s=report.duration_s,
            latency_s=report.latency_s,
            size_bytes=rendition.segment_bytes[report.segment],
        )
        if not state.reports:
            state = msgspec.structs.replace(state, reports=True, downloads=())
        state = state.with_download(download)
        events.append(
            Downloaded(
                t_s=now_s,
                kind="video",
                started_s=download.started_s,
                latency_s=download.latency_s,
                duration_s=download.duration_s,
                size_bytes=download.size_bytes,
                segment=report.segment,
                name=rendition.id,
            )
        )
    return state, events
