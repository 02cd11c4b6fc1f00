"""How hard to fuzz, and what signals programs under test begin with.

Some of each are fuzzed in every run, with `--hypothesis-profile thorough` (make fuzz) ten thousand. No example has a
deadline: on a busy machine any of them may take a second.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("usual", max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("usual")

# Programs inherit what is ignored: under nohup SIGHUP is, and in a shell's background SIGINT.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that a test runs in this process sets the log up for good; the next test has its own."""
    root, ours = logging.getLogger(), logging.getLogger("toprung")
    before = root.level, ours.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]
