"""Waiting for what another process does, where nothing tells when it has happened."""

from __future__ import annotations

import time
from collections.abc import Callable

GUARD_S = 120.0
"""So that a test that hangs ends with a sentence. No machine is busy enough to come near it."""


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Ask again and again until `holds` is true. Raises AssertionError naming `what` after GUARD_S."""
    end_s = time.monotonic() + GUARD_S
    while not holds():
        assert time.monotonic() < end_s, f"waited {GUARD_S:.0f} s for {what}"
        time.sleep(0.02)
