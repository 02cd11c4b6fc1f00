"""Faults under a playing viewer: real processes, killed, restarted and starved. For each, what the viewer saw.

The viewer plays in virtual time over a steady 4 Mbit/s, from the first segment on, and the fault strikes as soon as a
segment has arrived, so that it always meets the same moment. The clip is 132 frames in three segments.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from ports import free_port
from redis_server import redis_in, running_redis
from serve_process import counted, served, serving, workers_of
from serving import FAST_PATH
from waiting import wait_until

from abr.core.events import AnyEvent, Downloaded, Failed
from abr.simulation.traces import constant
from abr.virtual_time import VirtualTimeLoop, run_virtual
from client_player.session import run
from client_player.session.request import PlayRequest
from client_player.session.run import SessionOutcome, play, watch
from server.app import create_app
from server.connection import listener
from server.sessions.memory_store import MemoryStore
from server.settings import Settings

FRAMES = 132


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """The player that these tests run in their own process may."""


@pytest.fixture(autouse=True)
def fast_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The viewer's time hardly notices what else runs here; it does notice servers that are away for seconds."""
    monkeypatch.setattr(run, "VirtualTimeLoop", partial(VirtualTimeLoop, WALL_RATE))


WALL_RATE = 0.1
Fault = Callable[[], object]


def view(url: str, faults: dict[int, Fault] | None = None) -> SessionOutcome:
    """Plays the clip; each fault strikes when its segment has arrived."""
    left = dict(faults or {})

    def listen(event: AnyEvent) -> None:
        if isinstance(event, Downloaded) and event.kind == "video" and event.segment in left:
            left.pop(event.segment)()

    outcome = play(PlayRequest(url=url, title="bbb", trace=constant(4e6, 0.02)), listener=listen)
    assert not left, "every fault struck"
    return outcome


def all_shown(outcome: SessionOutcome, stall_s: float) -> None:
    """The viewer saw every frame, in one session, with no more than `stall_s` of standing still."""
    summary = outcome.summary
    assert (summary.frames, summary.ended) == (FRAMES, "finished")
    assert summary.stall_s <= stall_s, summary


def test_redis_killed_and_back_the_viewer_sees_nothing_of_it(library, tmp_path):
    with redis_in(tmp_path) as (store, first), served("--library", str(library), "--redis-url", store) as url:

        def kill() -> None:
            first.kill()
            first.wait()

        all_shown(view(url, {0: kill}), stall_s=0.0)
        assert counted(url, "toprung_decisions_degraded_total") >= 1, "the metrics say so"
        with redis_in(tmp_path):

            def is_healed() -> bool:
                before = counted(url, "toprung_decisions_degraded_total")
                all_shown(view(url), stall_s=0.0)
                return counted(url, "toprung_decisions_degraded_total") == before

            wait_until(is_healed, "the server to use the store again")


def test_a_slow_redis_costs_less_than_what_is_buffered(library, tmp_path):
    options = ("--library", str(library), "--redis-url")
    with redis_in(tmp_path) as (store, process), served(*options, store, redis_timeout_s=0.25) as url:
        try:
            all_shown(view(url, {0: lambda: process.send_signal(signal.SIGSTOP)}), stall_s=0.0)
        finally:
            process.send_signal(signal.SIGCONT)
        assert counted(url, "toprung_store_failures_total") >= 1


def test_workers_killed_one_after_the_other_the_session_goes_on(library):
    options = ("--library", str(library), "--workers", "2", "--redis-url")
    with running_redis() as store, serving(*options, store) as (url, process):
        workers = workers_of(process)
        assert len(workers) == 2
        kills = [lambda pid=pid: os.kill(pid, signal.SIGKILL) for pid in workers]
        all_shown(view(url, {0: kills[0], 1: kills[1]}), stall_s=2.0)
        assert not workers & workers_of(process)


def test_a_server_restarted_under_a_viewer_goes_on_with_the_session(library, tmp_path):
    config = tmp_path / "server.toml"
    config.write_text("secret = 'the same before and after'\n")
    port = free_port()
    options = ("--library", str(library), "--config", str(config), "--port", str(port))
    with serving(*options) as (url, first), ExitStack() as after:

        def restart() -> None:
            first.kill()
            first.wait()
            after.enter_context(served(*options))

        outcome = view(url, {0: restart})
    all_shown(outcome, stall_s=2.0)
    assert not [event for event in outcome.events if isinstance(event, Failed) and "does not know" in event.detail]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes more rights than this user has")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_neither_the_viewer_nor_the_server(library, small_disk):
    def fill() -> None:
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1024))

    with served("--library", str(library), "--state", str(small_disk)) as url:
        all_shown(view(url, {0: fill}), stall_s=0.0)
        all_shown(view(url), stall_s=0.0)


def test_a_log_that_cannot_be_written_stops_nobody(library):
    options = ("--library", str(library), "--log-level", "debug")
    with Path("/dev/full").open("w") as full, serving(*options, errors=full.fileno()) as (url, _):
        all_shown(view(url), stall_s=0.0)


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_clock_that_jumps_is_not_noticed(library, jump_s, tmp_path):
    now = [0.0]

    def clock() -> float:
        return time.time() + now[0]

    async def main() -> SessionOutcome:
        limits = {"sessions_max": 9, "log_events_max": 99, "log_bytes_max": 1 << 20}
        store = MemoryStore(clock, ttl_s=3600.0, ticks=time.monotonic, **limits)
        settings = Settings(library=str(library), shutdown_timeout_s=0.1, fast_path=FAST_PATH)
        async with listener.listening(create_app(settings, store=store, clock=clock), "127.0.0.1", 0) as port:

            def listen(event: AnyEvent) -> None:
                if isinstance(event, Downloaded) and event.segment == 0:
                    now[0] = jump_s

            wish = PlayRequest(url=f"http://127.0.0.1:{port}/", title="bbb", trace=constant(4e6, 0.02))
            return await watch(wish, tmp_path / "shown.y", listener=listen)

    played = run_virtual(main(), wall_rate=WALL_RATE)
    shown = sum(event.frames for event in played.events if hasattr(event, "enhanced_frames"))
    assert shown == FRAMES
    assert not [event for event in played.events if isinstance(event, Failed)]


def test_viewers_who_vanish_in_mid_segment_leave_nothing_behind(library):
    with serving("--library", str(library)) as (url, process):
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        request = b"GET /titles/bbb/video/720p/seg-00001.m4s HTTP/1.1\r\nHost: a\r\n\r\n"

        def vanish() -> None:
            for index in range(60):
                viewer = socket.create_connection(("127.0.0.1", port))
                viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                viewer.sendall(request)
                viewer.recv(1000)
                if index % 2:
                    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                viewer.close()

        view(url)
        with socket.create_connection(("127.0.0.1", port)) as viewer:
            viewer.sendall(request)
            viewer.recv(1000)
            before = _open_files(process)  # with the file itself, which the server keeps open
        vanish()
        all_shown(view(url, {0: vanish}), stall_s=0.0)
        wait_until(lambda: _open_files(process) <= before, "the server to close what the viewers had open")


def test_a_segment_that_is_corrupt_on_the_disk_is_frozen_over(library, tmp_path):
    shutil.copytree(library, tmp_path / "library")
    for file in (tmp_path / "library" / "bbb" / "video").glob("*/seg-00002.m4s"):
        body = bytearray(file.read_bytes())
        body[len(body) // 4 :] = os.urandom(len(body) - len(body) // 4)
        file.write_bytes(body)
    with served("--library", str(tmp_path / "library")) as url:
        summary = view(url).summary
        assert (summary.frames, summary.ended) == (FRAMES, "finished")
        assert 0 < summary.late_frames <= 50, "the second segment's frames, and no others"
        assert counted(url, 'toprung_http_requests_total{method="GET",route="getSessionSegment",status="500"') == 0


def _open_files(process: subprocess.Popen[str]) -> int:
    return sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())
