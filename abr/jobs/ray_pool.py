"""Jobs as tasks of a Ray cluster: the optional extra `toprung[ray]`."""

from __future__ import annotations

import importlib
import logging
import math
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any

from abr.errors import InputError
from abr.jobs.local_pool import ATTEMPTS, FinishedJob, J, JobFailure, LocalPool, R, Work, attempt


class RayPool:
    """Spreads jobs over a cluster's machines, which must see the same files under the same paths.

    address: `local` starts a cluster of `at_once` workers here; `auto` or `ray://host:port` joins one that runs.
    limit_s: a job that takes longer is ended where it runs, and not tried again. Raises InputError when Ray is not
    installed or the cluster does not answer. While it works, `sys.stdout` is stderr.
    """

    def __init__(self, address: str, at_once: int | None = None, *, limit_s: float = math.inf) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InputError("Ray is not installed; `pip install 'toprung[ray]'` brings it.") from error
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster that starts here reports to Ray's makers
        here = {"num_cpus": at_once or 1, "include_dashboard": False} if address == "local" else {}
        try:
            self._ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"There is no Ray cluster at {address!r}: {str(error).splitlines()[0]}") from error
        self._at_once = at_once or len(self._ray.nodes())
        self._limit_s = limit_s

    def work(self, function: Work[J, R], jobs: Sequence[J]) -> Iterator[FinishedJob[J, R]]:
        """See JobPool."""
        task = self._ray.remote(_task).options(max_retries=ATTEMPTS - 1, scheduling_strategy="SPREAD")
        waiting = deque(jobs)
        running: dict[Any, J] = {}
        try:
            with redirect_stdout(sys.stderr):  # Ray's threads tell of dead workers on stdout, which is for data
                while waiting or running:
                    while waiting and len(running) < self._at_once:
                        job = waiting.popleft()
                        running[task.remote(function, job, self._limit_s)] = job
                    (done,), _ = self._ray.wait(list(running))
                    yield self._finished(done, running.pop(done))
        finally:
            self._ray.shutdown()

    def _finished(self, done: Any, job: J) -> FinishedJob[J, R]:
        try:
            return FinishedJob(job=job, outcome=self._ray.get(done))
        except self._ray.exceptions.RayError as error:
            return FinishedJob(
                job=job, outcome=JobFailure(sentence=f"{job}: Ray gave up, {str(error).splitlines()[0]}")
            )


def _task(function: Work[J, R], job: J, limit_s: float) -> R | JobFailure:
    """Only a process of its own can be ended in the middle of foreign code."""
    if math.isinf(limit_s):
        return attempt(function, job, _silent)
    (finished,) = LocalPool(1, limit_s=limit_s).work(function, [job])
    return finished.outcome


def _silent(*_told: object) -> None:
    """Nobody listens across machines."""
