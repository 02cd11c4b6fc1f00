"""What the contracts of several registries share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis_server import running_redis


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url
