"""What one process uses of the machine."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import dataclass

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStats:
    """What one process uses at one moment."""

    resident_bytes: int | None
    """None where it cannot be read."""
    open_files: int
    open_files_max: int
    cpu_s: float


def read_process_stats() -> ProcessStats:
    """Of this process, from /proc where there is one. Blocks for some microseconds."""
    open_files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    times = os.times()
    return ProcessStats(
        resident_bytes=_resident_bytes(),
        open_files=_count_open_files(open_files_max),
        open_files_max=open_files_max,
        cpu_s=times.user + times.system,
    )


def _resident_bytes() -> int | None:
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return None


def _count_open_files(open_files_max: int) -> int:
    """All of them when not even the listing can be opened; 0 without /proc."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208  (one is the listing's own)
    except OSError as error:
        return open_files_max if error.errno in (errno.EMFILE, errno.ENFILE) else 0
