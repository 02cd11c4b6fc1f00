"""Halves the processor time of this process, as other programs or a container's limit do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from abr.errors import InputError

_BUSY = "while True: pass"
_PERIOD_US = 100_000
_V2, _V1 = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu")


@contextmanager
def pin_to_cores(cores: int) -> Iterator[frozenset[int]]:
    """Keep this process, and the threads and processes it starts from now on, on its first `cores` cores."""
    allowed = os.sched_getaffinity(0)
    chosen = frozenset(sorted(allowed)[:cores])
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def competitors() -> Iterator[Callable[[], None]]:
    """Yields what starts a busy process on each core of this one; they end with the context."""
    busy: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        for core in sorted(os.sched_getaffinity(0)):
            command = ["taskset", "--cpu-list", str(core), sys.executable, "-c", _BUSY]
            busy.append(subprocess.Popen(command))

    try:
        yield start
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextmanager
def quota() -> Iterator[Callable[[], None]]:
    """Yields what limits this process to half of its cores by a control group. Raises InputError where none can be."""
    home, limits = _group_limits(len(os.sched_getaffinity(0)) * _PERIOD_US // 2)
    group = home / f"toprung-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise InputError(
            f"Cannot make a control group in {home}: {error.strerror}. Run as root, or use --by competitor."
        ) from error

    def start() -> None:
        for name, value in limits.items():
            (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield start
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _group_limits(quota_us: int) -> tuple[Path, dict[str, str]]:
    """Where groups are made, and the files that limit one (cgroup v2, or v1's cpu controller)."""
    controllers = _V2 / "cgroup.subtree_control"
    if controllers.is_file() and "cpu" in controllers.read_text().split():
        return _V2, {"cpu.max": f"{quota_us} {_PERIOD_US}"}
    if (_V1 / "cpu.cfs_quota_us").is_file() or (_V1 / "cgroup.procs").is_file():
        return _V1, {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
    raise InputError("This system has no control group that limits the processor; use --by competitor.")


METHODS = {"competitor": competitors, "cgroup": quota}
