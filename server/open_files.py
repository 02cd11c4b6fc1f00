"""File descriptors: how many this process may have open, and who may use them."""

from __future__ import annotations

import resource
from dataclasses import dataclass

WANTED_MAX = 65_536
"""More is not asked for, however high the system's own limit is."""
CACHED_FILES_MAX = 4096
RESERVE_MIN = 48
"""For listening, logs, the store, files that are being read, and files that left the cache while they are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorBudget:
    """How the descriptors of one process are shared out; what is left over is the reserve."""

    cached_files: int
    """Media files that are kept open."""
    connections: int


def raise_limit() -> int:
    """Raise this process's soft limit to its hard one, or to WANTED_MAX; returns the limit that holds now.

    The usual soft limit of 1,024 is for programs that call select(2), which this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_MAX if hard == resource.RLIM_INFINITY else min(hard, WANTED_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limit()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # some systems allow less than they say
        return limit()
    return wanted


def limit() -> int:
    """The most descriptors that this process may have open now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return WANTED_MAX if soft == resource.RLIM_INFINITY else soft


def budget(limit: int) -> DescriptorBudget:
    """A quarter at most for cached files, an eighth at least in reserve, the rest for connections."""
    reserve = max(RESERVE_MIN, limit // 8)
    cached_files = min(CACHED_FILES_MAX, max(1, limit // 4))
    return DescriptorBudget(cached_files=cached_files, connections=max(1, limit - reserve - cached_files))
