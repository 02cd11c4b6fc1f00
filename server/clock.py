"""Time as an argument."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since some fixed instant, the same for all who share a store."""
