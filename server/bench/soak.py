"""`toprung bench soak`: an hour of viewers coming and going through one server, compressed; what stays behind?

Viewers open sessions, take segments, report and end them; one in eight vanishes without a word, so that its session
must expire. Between the rounds others hang up in the middle of segments and talk nonsense.
"""

from __future__ import annotations

import json
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from abr.core.events import Downloaded, Ended, EventBatch, Playing, Shown
from abr.errors import ToprungError
from abr.records import dumps
from server.bench.crowd import openings
from server.bench.load import LoadClient, connect, run
from server.bench.peers import HOST, Peer, toprung, use_last_core
from server.bench.title import write_library

VIEWERS = 64
SEGMENTS_EACH = 3
VANISH_EVERY = 8
HANG_UPS = 25
ROUND_S = 3.0
WARM_SHARE = 0.3
"""Of the sessions, until caches and the store are as full as they will be."""
TTL_S = 15
CLOSE_MAX_S = 20.0


@click.command("soak")
@click.option("--sessions", type=click.IntRange(100), default=20_000, show_default=True)
@click.option("--profiles", type=click.IntRange(1), default=500, show_default=True, help="Kinds of device.")
@click.option("--titles", type=click.IntRange(1, 1000), default=20, show_default=True, help="Titles they watch.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_soak(sessions: int, profiles: int, titles: int, as_json: bool) -> None:
    """Send thousands of sessions through one server; measure what memory, files and errors they leave behind."""
    use_last_core()
    with tempfile.TemporaryDirectory(prefix="toprung-soak-") as name:
        found = soak(Path(name), sessions, profiles, titles)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{found['sessions']} sessions, {found['requests']} requests in {found['seconds']:.0f} s")
    click.echo(
        f"memory: {found['memory_bytes'][0] / 2**20:.1f} → {found['memory_bytes'][1] / 2**20:.1f} MiB, ", nl=False
    )
    click.echo(f"{found['memory_growth']:+.1%} after warming up")
    click.echo(f"file descriptors: {found['files_before']} before, {found['files_after']} after")
    click.echo(f"errors logged: {found['errors_logged']}, answers of 5xx: {found['server_errors']}")


def soak(folder: Path, sessions: int, profiles: int = 1, titles: int = 1) -> dict[str, Any]:
    """The figures. Raises ToprungError when the server says something wrong or nothing."""
    write_library(folder / "library", titles)
    (folder / "soak.toml").write_text(f'session_ttl_s = {TTL_S}\nlog_level = "warning"\nlog_json = true\n')
    log = folder / "server.log"
    with toprung(folder / "library", "--config", str(folder / "soak.toml"), log=log) as server:
        _scrape(server)
        files_before = _files(server)
        group, began_s = ViewerGroup(openings(profiles, titles)), time.monotonic()
        memory = _rounds(server, group, sessions)
        seconds = time.monotonic() - began_s
        files_after = _settled(server, files_before)
        counted = _scrape(server)
        if counted["toprung_sessions_started_total"] != group.opened:
            raise ToprungError(f"The server counted {counted} where {group.opened} sessions were opened.")
    early, late = statistics.median(memory[:5]), statistics.median(memory[-5:])
    return {
        "sessions": group.opened,
        "requests": group.requests,
        "seconds": round(seconds, 1),
        "memory_bytes": [early, late],
        "memory_growth": late / early - 1,
        "memory_samples": memory,
        "files_before": files_before,
        "files_after": files_after,
        "errors_logged": sum('"level":"error"' in line or "Traceback" in line for line in log.read_text().splitlines()),
        "server_errors": counted["5xx"],
    }


@dataclass(slots=True)
class ViewerGroup:
    """All viewers together."""

    next_opening: Callable[[], bytes]
    opened: int = 0
    requests: int = 0
    ended: int = field(default=0)


def _rounds(server: Peer, group: ViewerGroup, sessions: int) -> list[int]:
    """Rounds of ROUND_S until enough sessions were opened; the server's memory after each, once it is warm."""
    memory: list[int] = []
    viewers = [_viewer(server, group) for _ in range(VIEWERS)]
    while group.opened < sessions:
        group.requests += run(viewers, ROUND_S).requests
        for index in range(HANG_UPS):
            _hang_up(server, index)
        if group.opened >= WARM_SHARE * sessions:
            memory.append(server.resident_bytes())
    for viewer in viewers:
        viewer.connection.close()
    if len(memory) < 2:
        raise ToprungError(f"{sessions} sessions are over before anything can be seen; give more.")
    return memory


def _viewer(server: Peer, group: ViewerGroup) -> LoadClient:
    """Opens a session, takes some segments, reports, ends it, and comes again."""
    report = dumps(_report())
    path, step = "", 0

    def ask(head: bytes) -> bytes:
        nonlocal path, step
        if b"\r\nLocation: " in head:
            path = head.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0].decode()
        step += 1
        if step == 1:
            group.opened += 1
            return group.next_opening()
        if step <= 1 + SEGMENTS_EACH:
            bl = 1000 * step
            return f"GET {path}/video/{step - 1}.m4s HTTP/1.1\r\nHost: soak\r\nCMCD-Request: bl={bl}\r\n\r\n".encode()
        if step == 2 + SEGMENTS_EACH:
            return _post(f"{path}/events", report)
        step = 0
        group.ended += 1
        if group.ended % VANISH_EVERY == 0:
            return ask(b"")
        return f"DELETE {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()

    return connect(HOST, server.port, ask)


def _post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _report() -> EventBatch:
    shown = (
        Shown(
            t_s=4.0 + 4 * segment,
            segment=segment,
            rendition="360p",
            enhancer="content-low",
            frames=100,
            enhanced_frames=95,
            plain_frames=5,
            late_frames=0,
            buffer_s=8.0,
        )
        for segment in range(SEGMENTS_EACH)
    )
    got = Downloaded(t_s=1, kind="video", started_s=0, latency_s=0.1, duration_s=1, size_bytes=200_000, name="360p")
    return EventBatch(events=(got, Playing(t_s=1, startup_s=1), *shown, Ended(t_s=21, reason="finished", played_s=20)))


_NONSENSE = (
    b"GET /titles/bench/video/1080p/seg-00001.m4s HTTP/1.1\r\nHost: soak\r\n\r\n",
    b"GET /sessions/nobody/video/1.m4s HTTP/1.1\r\nHost: soak\r\nCMCD-Request: bl=;;\r\n\r\n",
    b"POST /sessions HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    b"GET /titles/bench/../../etc/passwd HTTP/1.1\r\nHost: soak\r\n\r\n",
    b"\x16\x03\x01 not HTTP at all\r\n\r\n",
)


def _hang_up(server: Peer, index: int) -> None:
    """Asks for something, takes the first bytes of what comes, and is gone."""
    with socket.create_connection((HOST, server.port), timeout=10) as connection:
        connection.sendall(_NONSENSE[index % len(_NONSENSE)])
        if index % 2:
            connection.settimeout(0.05)
            try:
                connection.recv(1000)
            except TimeoutError:
                return


def _files(server: Peer) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def _settled(server: Peer, before: int) -> int:
    """Open descriptors when the server has noticed that all are gone, or does not notice."""
    end_s = time.monotonic() + CLOSE_MAX_S
    while _files(server) > before and time.monotonic() < end_s:
        time.sleep(0.1)
    return _files(server)


def _scrape(server: Peer) -> dict[str, float]:
    """Counters without labels or summed over them; `5xx` is the number of such answers."""
    connection = HTTPConnection(HOST, server.port, timeout=20)
    connection.request("GET", "/metrics", headers={"Connection": "close"})
    text = connection.getresponse().read().decode()
    connection.close()
    found = {"5xx": 0.0, "toprung_sessions_started_total": 0.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in found:
                found[sample.name] += sample.value
            if sample.labels.get("status", "").startswith("5") and family.type == "counter":
                found["5xx"] += sample.value
    return found
