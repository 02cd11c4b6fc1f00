"""How late the event loop of a worker runs, and what the worker takes of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from server.concurrency.background import in_background
from server.monitoring.process_stats import read_process_stats

if TYPE_CHECKING:
    from server.monitoring.metrics import Metrics

SAMPLE_EVERY_S = 0.5
SAMPLES_A_READING = 10


@asynccontextmanager
async def measuring_lag(metrics: Metrics) -> AsyncIterator[None]:
    """Measure the running loop until the block ends."""
    async with in_background(_measure(metrics)):
        yield


async def _measure(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        metrics.worker.read(await asyncio.to_thread(read_process_stats))
        metrics.refresh()
        for _ in range(SAMPLES_A_READING):
            due_s = loop.time() + SAMPLE_EVERY_S
            await asyncio.sleep(SAMPLE_EVERY_S)
            metrics.worker.lag_s.observe(max(0.0, loop.time() - due_s))
