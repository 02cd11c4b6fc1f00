"""The pool of jobs that a command's options ask for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from abr.jobs.local_pool import JobPool, LocalPool


def make_pool(
    ray: str | None,
    at_once: int | None,
    listener: Callable[[Any, str, float, float], None],
    *,
    limit_s: float = math.inf,
) -> JobPool:
    """The pool that the options --ray and --jobs ask for: processes here, one at a time unless told otherwise.

    limit_s: how long a job may take, not counting how long it waits for its turn.
    """
    if ray is None:
        return LocalPool(at_once or 1, listener, limit_s=limit_s)
    from abr.jobs.ray_pool import RayPool

    return RayPool(ray, at_once, limit_s=limit_s)
