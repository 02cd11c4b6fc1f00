"""A source lifted to a display above its own size, in a process of its own; for `toprung prepare --display`.

    python -m enhancers.workflows.lift_source SOURCE --display 1080 --out FILE --kernels kernels.json

Says `frames 25` on stdout for each second of pictures that is done, and at the end why there is no file, if there is
none: one sentence, with the exit code of its error. It ends when its stdin does.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abr.blur.track import KernelTrack
from abr.errors import ToprungError
from abr.extras import require
from abr.progress import Advance
from abr.records import load

_FRAMES_AT_ONCE = 25


def main() -> int:
    """Lift; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--display", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kernels", type=Path, required=True)
    options = parser.parse_args()
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        require("Lifting a source above its own size", "player")
        from enhancers.restoration.master import write_master

        track = load(options.kernels, KernelTrack)
        write_master(options.source, options.out, options.display, track, _told_bars, accept_short=True)
    except ToprungError as error:
        _say(str(error))
        return error.exit_code
    return 0


@contextmanager
def _told_bars(phase: str, total: float) -> Iterator[Advance]:
    """ProgressBars on stdout."""
    waiting = 0.0

    def advance(amount: float) -> None:
        nonlocal waiting
        waiting += amount
        if waiting >= _FRAMES_AT_ONCE:
            _say(f"frames {waiting:g}")
            waiting = 0.0

    yield advance


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
