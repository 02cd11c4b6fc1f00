"""Time as an argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Seconds since some fixed instant, the same for all who share a store."""


def iso_time(unix_s: float) -> str:
    """Seconds since 1970 as 2026-01-31T12:00:00.000Z: xs:dateTime, and RFC 3339."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
