"""How hard to fuzz, in which order modules run, and what signals programs under test begin with.

Some of each are fuzzed in every run, with `--hypothesis-profile thorough` (make fuzz) ten thousand. No example has a
deadline: on a busy machine any of them may take a second.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Workers share the cores. Threads of one matrix product that wait for each other there burn them: fifty times the work.
for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

settings.register_profile("usual", max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("usual")

# Programs inherit what is ignored: under nohup SIGHUP is, and in a shell's background SIGINT.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
FIRST, REAL_TIME, LAST = "docs", "browser", ("server", "contracts", "abr")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that take long come early, so that no worker sits on one when the others are done.

    After each one that plays in real time comes one that computes.
    """
    modules: dict[str, dict[Path, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        modules[item.path.relative_to(HERE).parts[0]][item.path].append(item)
    first, playing = list(modules.pop(FIRST, {}).values()), modules.pop(REAL_TIME, {}).values()
    folders = sorted(modules, key=lambda folder: LAST.index(folder) if folder in LAST else -1)
    computing = [module for folder in folders for module in modules[folder].values()]
    both = chain.from_iterable(zip_longest(playing, computing, fillvalue=()))
    items[:] = chain.from_iterable([*first, *both])


def pytest_collection_finish() -> None:
    """What was collected lives to the end: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that a test runs in this process sets the log up for good; the next test has its own."""
    root, ours = logging.getLogger(), logging.getLogger("toprung")
    before = root.level, ours.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]
