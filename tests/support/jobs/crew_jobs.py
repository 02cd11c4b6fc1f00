"""What crews do in tests, where the processes that they start can import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from abr.errors import MediaError
from abr.jobs.local_pool import Tell

here: list[str] = []


def inherited(_job: str, _tell: Tell) -> list[str]:
    """What of the parent's memory is in this process."""
    return here


def do(job: tuple[str, Path], tell: Tell) -> str:
    """`how` says what happens; a file of that name in the folder remembers that it was tried."""
    how, folder = job
    tried = folder / how
    first = not tried.exists()
    tried.write_text(str(os.getpid()))
    tell(how, 2.0, 1.0)
    if how == "refuses":
        raise MediaError("This one cannot be used.")
    if how == "breaks":
        raise RuntimeError("a bug")
    if how == "dies" or (how == "dies once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "takes memory":
        len(bytearray(8 << 30))
    if how == "hangs":
        time.sleep(3600)
    return f"{how} well"
