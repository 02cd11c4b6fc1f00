"""`toprung edge` as a process, with a device profile that is there already."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eager import __file__ as eager_file
from serve_process import clean_environment

EDGE = (sys.executable, "-m", "abr", "edge", "--port", "0", "--lifters", "1", "--controller", f"{eager_file}:Eager")


@contextmanager
def edge_process(
    origin: str, folder: Path, *options: str, log_level: str = "error"
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Its URL and its process. Its cache is `folder/kept`, its profile below `folder/cache`, its log `folder/log`."""
    command = (*EDGE, "--origin", origin, "--cache", str(folder / "kept"), "--log-level", log_level, *options)
    environment = clean_environment() | {"XDG_CACHE_HOME": str(folder / "cache")}
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=log, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), (folder / "log").read_text()
            yield url, process
        finally:
            process.send_signal(signal.SIGTERM)
