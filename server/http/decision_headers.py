"""The headers that carry a decision."""

from __future__ import annotations

import re

from abr.protocols import cmsd, session_api
from server.media.media_file import PRIVATE
from server.sessions.decisions import SegmentDecision

REASON_SHOWN_MAX = 400
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def decision_headers(decided: SegmentDecision) -> dict[str, str]:
    """What goes with a decided segment."""
    return {
        "Cache-Control": PRIVATE,
        cmsd.DYNAMIC: cmsd.chosen(
            decided.rendition,
            decided.enhancer,
            throughput_bps=decided.throughput_bps,
            suggested_bps=decided.suggested_bps,
        ),
        session_api.RENDITION: decided.rendition,
        session_api.ENHANCER: decided.enhancer,
        session_api.PROMISED_VMAF: f"{decided.promised_vmaf:.2f}",
        session_api.PROMISED_QUALITY: f"{decided.promised_quality:.2f}",
        session_api.WAIT_S: f"{decided.wait_s:.3f}",
        session_api.REASON: _printable(decided.reason.replace("±", session_api.PLUS_MINUS)[:REASON_SHOWN_MAX]),
    }


def redirect_decision_headers(decided: SegmentDecision) -> dict[str, str]:
    """What goes with a redirect to it: all but the reason, which is a sentence, and is in the log."""
    headers = decision_headers(decided)
    del headers[session_api.REASON]
    return headers


def _printable(reason: str) -> str:
    return reason if reason.isascii() and reason.isprintable() else _UNPRINTABLE.sub("?", reason)
