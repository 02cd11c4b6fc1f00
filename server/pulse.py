"""A worker's own pulse: how late its loop runs, and what it takes of the machine."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.telemetry import Telemetry

BEAT_S = 0.5
BEATS_A_READING = 10
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What one process uses at one moment."""

    resident_bytes: int
    open_files: int
    open_files_max: int
    cpu_s: float


def read_vitals() -> Vitals:
    """Of this process, from /proc where there is one; zeros elsewhere. Blocks for some microseconds."""
    resident_bytes = open_files = 0
    with suppress(OSError):
        with open("/proc/self/statm") as file:  # noqa: PTH123
            resident_bytes = int(file.read().split()[1]) * _PAGE_BYTES
        open_files = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208  (one is the listing's own)
    times = os.times()
    return Vitals(
        resident_bytes=resident_bytes,
        open_files=open_files,
        open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        cpu_s=times.user + times.system,
    )


@asynccontextmanager
async def beating(telemetry: Telemetry) -> AsyncIterator[None]:
    """Takes the pulse of the running loop until the block ends."""
    task = asyncio.create_task(_beat(telemetry))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _beat(telemetry: Telemetry) -> None:
    loop = asyncio.get_running_loop()
    while True:
        telemetry.worker.read(await asyncio.to_thread(read_vitals))
        telemetry.refresh()
        for _ in range(BEATS_A_READING):
            due_s = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            telemetry.worker.lag_s.observe(max(0.0, loop.time() - due_s))
