"""Several processes behind one port. The system spreads connections over them; any of them serves any session."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import click

from abr.errors import InputError, ToprungError
from server.federation.plan import FederationPlan
from server.settings import Settings

AGAIN_AFTER_S = 0.5
"""A worker that died is replaced after this long."""
COLLECTOR_THRESHOLDS = 10_000, 5, 20
"""New objects before the youngest are walked, such walks before the older ones are, and those before all (`gc`)."""
GRACE_S = 5.0

Announce = Callable[[int], None]


def serve(settings: Settings, announce: Announce, federation: FederationPlan | None = None) -> None:
    """Serves until told to stop by SIGTERM, SIGINT or SIGHUP; `announce` is given the port once all workers listen.

    federation: a network that players tune together, with one worker.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a worker has one core; read when numpy is first imported
    with ExitStack() as around:
        if settings.state:
            if settings.redis_url:
                raise InputError("Settings state and redis_url both say where sessions live; give one of them.")
            from server.embedded_redis import embedded_store

            store = embedded_store(Path(settings.state), bytes_max=settings.state_bytes_max)
            settings = replace(settings, redis_url=around.enter_context(store))
        if settings.worker_count == 1:
            asyncio.run(_serve(settings, announce, federation=federation))
            return
        if not settings.redis_url:
            raise InputError("Several workers must share their sessions; give --redis-url, or --state DIR.")
        from server.monitoring.prometheus_export import shared_metrics

        around.enter_context(shared_metrics())
        holder = around.enter_context(_held_port(settings.host, settings.port))
        _WorkerGroup(replace(settings, port=holder.getsockname()[1])).serve(announce)


async def _serve(
    settings: Settings, announce: Announce, *, shared_port: bool = False, federation: FederationPlan | None = None
) -> None:
    from server.app import create_app
    from server.connection.listener import listening
    from server.open_files import raise_limit
    from server.sessions.plan_process import planning

    raise_limit()
    with planning() as plans:
        app = create_app(settings, make_plan=plans.make, federation=federation)
        async with listening(app, settings.host, settings.port, shared_port=shared_port) as port:
            stop = asyncio.Event()
            for number in _stop_signals():
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            _settle_memory()
            announce(port)
            await stop.wait()


def _stop_signals() -> tuple[signal.Signals, ...]:
    """SIGHUP, which a terminal sends as it closes, is one of them, unless it was told to be ignored (nohup)."""
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if is_ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _settle_memory() -> None:
    """What is here now stays: the collector of cycles need not walk it again, which takes 50 ms.

    Sessions and connections are no cycles and many, and each walk over all of them stops every viewer: half a second
    with 8,000 of them. So it walks rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def _held_port(host: str, port: int) -> socket.socket:
    """Bound and never listening: it keeps the port while workers come and go."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        raise InputError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return holder


class _WorkerGroup:
    """The workers, and who looks after them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[BaseProcess, Connection]] = []
        self._stop = threading.Event()

    def serve(self, announce: Announce) -> None:
        waker, woken = self._context.Pipe(duplex=False)[::-1]
        for number in _stop_signals():
            signal.signal(number, lambda *_: self._wake(waker))
        try:
            self._workers = [self._start() for _ in range(self._settings.worker_count)]
            for process, ready in self._workers:
                wait([ready, process.sentinel, woken])
                if self._stop.is_set():
                    return
                try:
                    ready.recv_bytes()
                except EOFError:
                    process.join()
                    sys.exit(process.exitcode or 1)  # it has said why
            announce(self._settings.port)
            while not self._stop.is_set():
                wait([*(process.sentinel for process, _ in self._workers), woken])
                if not self._stop.is_set():
                    self._replace()
        finally:
            self._end()

    def _wake(self, waker: Connection) -> None:
        self._stop.set()
        waker.send_bytes(b".")

    def _start(self) -> tuple[BaseProcess, Connection]:
        ready, tell = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self._settings, tell), name="toprung-worker")
        process.start()
        tell.close()
        return process, ready

    def _replace(self) -> None:
        from server.monitoring.prometheus_export import worker_ended

        for index, (process, ready) in enumerate(self._workers):
            if process.is_alive() or process.pid is None:
                continue
            click.echo(f"toprung: worker {process.pid} ended ({process.exitcode}); starting another", err=True)
            worker_ended(process.pid)
            ready.close()
            time.sleep(AGAIN_AFTER_S)
            self._workers[index] = self._start()

    def _end(self) -> None:
        end_s = time.monotonic() + self._settings.shutdown_timeout_s + GRACE_S
        for process, _ in self._workers:
            process.terminate()
        for process, ready in self._workers:
            process.join(max(0.0, end_s - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            ready.close()


def _work(settings: Settings, tell: Connection) -> None:
    from server.logging_setup import configure

    configure(settings.log_level, as_json=settings.log_json)

    def ready(_port: int) -> None:
        tell.send_bytes(b".")
        threading.Thread(target=_follow_parent, daemon=True).start()

    try:
        asyncio.run(_serve(settings, ready, shared_port=True))
    except ToprungError as error:
        click.echo(f"toprung: {error}", err=True)
        sys.exit(error.exit_code)


def _follow_parent() -> None:
    """A worker does not outlive who looks after it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)
