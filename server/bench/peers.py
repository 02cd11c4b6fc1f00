"""The programs under load, each alone on one core, and the processor time they took."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import urlopen

from abr.errors import InputError, ToprungError

HOST = "127.0.0.1"
START_MAX_S = 20.0
_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 75;
    open_file_cache max=4096 inactive=60s; open_file_cache_valid 60s;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; location /titles/ {{ alias {library}/; }} }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A running server, alone on its core."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor time of all its threads and of the processes it started, to the nanosecond (Linux: schedstat)."""
        threads = [thread for pid in self._pids() for thread in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def loop_cpu_s(self) -> float:
        """That of its first thread alone, which serves all viewers; others read files, another process plans."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def counted(self, name: str) -> float:
        """One of our servers' counters, summed over its labels."""
        with urlopen(f"http://{HOST}:{self.port}/metrics", timeout=20) as answer:
            lines = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
        return sum(map(float, lines))

    def resident_bytes(self) -> int:
        """Memory that it and the processes it started hold now; pages that several share are counted once in all."""
        return self._mapped_bytes("Pss")

    def anonymous_bytes(self) -> int:
        """Of that what no file backs. Other servers on the machine, who share pages of files, do not change it."""
        return self._mapped_bytes("Anonymous")

    def _mapped_bytes(self, kind: str) -> int:
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._pids()]
        return (
            sum(int(kilobytes) for text in rollups for kilobytes in re.findall(rf"^{kind}: +(\d+)", text, re.M)) << 10
        )

    def _pids(self) -> list[int]:
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return [self.pid, *(int(child) for task in tasks for child in (task / "children").read_text().split())]


def program(name: str, package: str) -> str:
    """The path of a program; InputError when it is not installed."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise InputError(f"There is no {name} to compare with; install it (Debian: apt-get install {package}).")
    return found


@contextmanager
def nginx(library: Path, folder: Path) -> Iterator[Peer]:
    """Nginx as one process serving `library` below /titles/, with sendfile and its open file cache."""
    port = _free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, library=library))
    command = [program("nginx", "nginx-light"), "-c", str(config), "-e", str(folder / "nginx.log")]
    with _running(command) as process:
        _wait_for(port, process)
        yield Peer(port=port, pid=process.pid)


@contextmanager
def toprung(library: Path, *options: str, log: Path | None = None) -> Iterator[Peer]:
    """`toprung serve` as one process; what it logs goes to `log`, or is seen."""
    command = [sys.executable, "-m", "abr", "serve", "--library", str(library), "--port", "0", *options]
    with log.open("wb") if log else nullcontext() as file, _running(command, subprocess.PIPE, file) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        if not line:
            raise ToprungError("toprung serve did not start.")
        yield Peer(port=urlsplit(line).port or 0, pid=process.pid)


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis on a unix socket that keeps nothing on disk; yields its URL. On the client's core."""
    path = folder / "redis.sock"
    quiet = ["--port", "0", "--save", "", "--appendonly", "no", "--dir", str(folder), "--logfile", "redis.log"]
    command = [program("redis-server", "redis-server"), "--unixsocket", str(path), *quiet]
    with _running(command, core=-1) as process:
        _until(path.exists, process)
        yield f"unix://{path}"


def use_last_core() -> None:
    """The client's place, where there is more than one core."""
    os.sched_setaffinity(0, {_cores()[-1]})


_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def _cores() -> list[int]:
    return _CORES


@contextmanager
def _running(
    command: list[str], stdout: int = subprocess.DEVNULL, stderr: IO[bytes] | None = None, *, core: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOPRUNG_")}
    process = subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr)
    try:
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {_cores()[core]})
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    _until(answers, process)


def _until(ready: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(ready)
    end_s = time.monotonic() + START_MAX_S
    while not ready():
        if process.poll() is not None or time.monotonic() > end_s:
            raise ToprungError(f"{process.args!r} did not start.")
        time.sleep(0.02)
