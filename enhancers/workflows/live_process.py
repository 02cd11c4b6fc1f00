"""What the processes beside a running stream have in common: their share of a core, and that they end with it."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

_NICE = 19
_PR_SET_PDEATHSIG = 1


class Pace:
    """Rests as long as it takes that no more than `share` of a core is used, children counted."""

    def __init__(
        self, share: float, spent_s: Callable[[], float] | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._share, self._spent_s, self._sleep = share, spent_s or _spent_s, sleep
        self._before_s = self._spent_s()

    def rest(self) -> None:
        """To be called after each piece of work."""
        now_s = self._spent_s()
        worked_s, self._before_s = now_s - self._before_s, now_s
        if self._share < 1:
            self._sleep(worked_s * (1 / self._share - 1))


def _spent_s() -> float:
    return sum(os.times()[:4])


def begin_beside() -> None:
    """Take the lowest priority, and end with the parent.

    Also while it is stopped, when it could not see that its stdin has ended (Linux: prctl(2), PR_SET_PDEATHSIG).
    """
    os.nice(_NICE)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
