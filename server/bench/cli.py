"""The command: everything in one run, on one machine, with the server alone on one core and the load on another."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from abr.cmcd import ViewerState, from_viewer, to_headers
from abr.control import Download
from abr.formats import dumps
from abr.structured import Token
from server.bench.load import Measured, Viewer, connect, run
from server.bench.peers import HOST, Peer, nginx, redis, toprung, use_last_core
from server.bench.title import (
    PLAIN_COPIES,
    PLAIN_FILES,
    SEGMENT_S,
    SEGMENTS,
    TITLE_ID,
    plain_folder,
    profile,
    write_library,
)
from server.desk import SessionRequest

VIEWERS = 32
OPEN_RATE_PER_S = 500
CROWD = 5000
"""Sessions on one core, as the target has it; their requests are offered at the rate at which they would come."""
SESSIONS = 2000
SESSION_SEGMENTS = 20
SERVER_OPTIONS = ("--log-level", "warning")

Say = Callable[[str], None]


@click.command("serve")
@click.option("--seconds", type=click.FloatRange(0.2), default=4.0, show_default=True, help="Length of each.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Times that each is taken.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_serve(seconds: float, rounds: int, as_json: bool) -> None:
    """Measure what plain and decided segments cost the server, beside nginx sending the same files on the same core.

    Processor time is the server process's own, as the kernel counts it; medians over rounds in which the programs
    take turns. Needs nginx and redis-server on the path.
    """
    use_last_core()
    with tempfile.TemporaryDirectory(prefix="toprung-bench-") as name:
        found = measure(Path(name), seconds, rounds, lambda line: click.echo(line, err=True))
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for kind, row in found["plain"].items():
        print(f"plain {kind}: {row['us']:.0f} µs, nginx {row['nginx_us']:.0f} µs: {row['ratio']:.2f} × nginx a core")
    for store, row in found["decided"].items():
        print(
            f"decided 200 kB, {store}: {row['us']:.0f} µs, {row['together']:.1f} at once; at {OPEN_RATE_PER_S}/s "
            f"{row['us_at_rate']:.0f} µs, p99 to first byte {row['first_byte_p99_ms']:.2f} ms; as {CROWD} sessions ask "
            f"{row['us_of_crowd']:.0f} µs, {row['first_byte_p99_ms_of_crowd']:.2f} ms"
        )
    print(f"sessions a core at {SEGMENT_S:.0f} s segments: {found['sessions_per_core']:.0f}")
    print(f"memory a session: {found['session_bytes']:.0f} bytes")


def measure(folder: Path, seconds: float, rounds: int, say: Say) -> dict[str, Any]:
    """All figures; processor time in microseconds a request."""
    library = folder / "library"
    write_library(library)
    with (
        nginx(library, folder) as peer,
        redis(folder) as url,
        toprung(library, *SERVER_OPTIONS) as memory,
        toprung(library, *SERVER_OPTIONS, "--redis-url", url) as shared,
    ):
        plain = {kind: _plain(kind, peer, memory, seconds, rounds, say) for kind in PLAIN_FILES}
        decided = {"memory": _decided(memory, seconds, rounds, say), "redis": _decided(shared, seconds, rounds, say)}
        session_bytes = _session_bytes(library, folder, say)
    return {
        "plain": plain,
        "decided": decided,
        "sessions_per_core": SEGMENT_S * 1e6 / decided["memory"]["us_of_crowd"],
        "sessions_per_core_redis": SEGMENT_S * 1e6 / decided["redis"]["us_of_crowd"],
        "session_bytes": session_bytes,
        "seconds": seconds,
        "rounds": rounds,
    }


def _plain(kind: str, peer: Peer, ours: Peer, seconds: float, rounds: int, say: Say) -> dict[str, float]:
    found: dict[int, list[float]] = {peer.pid: [], ours.pid: []}
    for _ in range(rounds):
        for server in (peer, ours):
            cost_us, _ = _cost(server, [_plain_viewer(server, kind, index) for index in range(8)], seconds)
            found[server.pid].append(cost_us)
    theirs_us, ours_us = (statistics.median(found[server.pid]) for server in (peer, ours))
    say(f"plain {kind}: {ours_us:.0f} µs of processor a request, nginx {theirs_us:.0f}")
    return {
        "us": ours_us,
        "nginx_us": theirs_us,
        "ratio": theirs_us / ours_us,
        "us_spread": max(found[ours.pid]) - min(found[ours.pid]),
        "requests_per_s": 1e6 / ours_us,
    }


def _decided(server: Peer, seconds: float, rounds: int, say: Say) -> dict[str, float]:
    first_s = _first_viewer_cpu_s(server)
    viewers = [_session_viewer(server) for _ in range(VIEWERS)]
    _cost(server, viewers, 1.0)
    costs, together, rates = [], [], (OPEN_RATE_PER_S, CROWD / SEGMENT_S)
    offered: dict[float, list[tuple[float, float]]] = {rate: [] for rate in rates}
    for _ in range(rounds):
        before = [server.counted(name) for name in _DECIDED]
        costs.append(_cost(server, viewers, seconds)[0])
        decisions, times = (server.counted(name) - count for name, count in zip(_DECIDED, before, strict=True))
        together.append(decisions / times)
        for rate in rates:
            cost_us, load = _cost(server, viewers, seconds, rate)
            offered[rate].append((cost_us, load.percentile_s(99) * 1000))
    for viewer in viewers:
        viewer.connection.close()
    us = statistics.median(costs)
    (us_at_rate, us_of_crowd), (p99_ms, p99_ms_of_crowd) = zip(
        *(map(statistics.median, zip(*offered[rate], strict=True)) for rate in rates), strict=True
    )
    say(f"first viewer of the title: {first_s:.1f} s of processor for {SEGMENTS} segments, plans included")
    say(f"decided: {us:.0f} µs, {statistics.median(together):.1f} at once; {us_at_rate:.0f} at {OPEN_RATE_PER_S}/s")
    say(f"p99 {p99_ms:.2f} ms; of {CROWD} sessions {us_of_crowd:.0f} µs, p99 {p99_ms_of_crowd:.2f} ms")
    return {
        "us": us,
        "us_spread": max(costs) - min(costs),
        "together": statistics.median(together),
        "us_at_rate": us_at_rate,
        "us_of_crowd": us_of_crowd,
        "first_viewer_cpu_s": first_s,
        "first_byte_p99_ms": p99_ms,
        "first_byte_p99_ms_worst": max(wait_ms for _, wait_ms in offered[OPEN_RATE_PER_S]),
        "first_byte_p99_ms_of_crowd": p99_ms_of_crowd,
    }


_DECIDED = "toprung_decisions_total", "toprung_decision_rounds_total"


def _first_viewer_cpu_s(server: Peer) -> float:
    """Plays the title once. Plans are made on the way, once for each title and kind of device, for all to share."""
    before_s = server.cpu_s()
    turns = iter((True, False))
    viewer = _session_viewer(server, more=lambda: next(turns))
    run([viewer], 600.0)
    viewer.connection.close()
    return server.cpu_s() - before_s


def _cost(server: Peer, viewers: list[Viewer], seconds: float, per_s: float | None = None) -> tuple[float, Measured]:
    before_s = server.cpu_s()
    load = run(viewers, seconds, per_s)
    return (server.cpu_s() - before_s) / load.requests * 1e6, load


def _plain_viewer(server: Peer, kind: str, start: int) -> Viewer:
    folder = f"/titles/{TITLE_ID}/video/{plain_folder(kind)}"
    requests = [
        f"GET {folder}/seg-{index + 1:05d}.m4s HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        for index in range(PLAIN_COPIES)
    ]
    turn = iter(range(start, 1 << 60))
    return connect(HOST, server.port, lambda _: requests[next(turn) % PLAIN_COPIES])


def _session_viewer(server: Peer, segments: int = SEGMENTS, more: Callable[[], bool] = lambda: True) -> Viewer:
    """Opens a session, then plays it from the first segment on, and opens another while there are to be more."""
    body = dumps(SessionRequest(title=TITLE_ID, profile=profile()))
    opening = b"POST /sessions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    opening += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    path, number, now_s = "", 0, 0.0

    def ask(head: bytes) -> bytes | None:
        nonlocal path, number, now_s
        if b"\r\nLocation: " in head:
            path, number, now_s = head.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0].decode(), 0, 0.0
        if not path or number == segments:
            path = ""
            return opening if more() else None
        number, now_s = number + 1, now_s + SEGMENT_S
        return _segment_request(path, number, now_s)

    return connect(HOST, server.port, ask)


def _segment_request(path: str, number: int, now_s: float) -> bytes:
    """As our player asks: its buffer, backlog, time, last download and weights in CMCD."""
    state = ViewerState(
        buffer_s=8.0 + number % 7,
        backlog_s=0.1 * (number % 5),
        now_s=now_s,
        playing=True,
        download=Download(
            started_s=now_s - 2.0, duration_s=1.0 + number % 3 / 4, latency_s=0.05, size_bytes=200_000 + number
        ),
        owned=(),
    )
    keys = from_viewer(state) | {"ot": Token("v"), "sf": Token("d"), "st": Token("v"), "sid": path[10:26], "d": 4000}
    keys |= {"cid": TITLE_ID, "bl": 8000, "mtp": 3100}
    headers = "".join(f"{name}: {value}\r\n" for name, value in to_headers(keys).items())
    return f"GET {path}/video/{number}.m4s HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()


def _session_bytes(library: Path, folder: Path, say: Say) -> float:
    """How much the process grows by a session that has played SESSION_SEGMENTS; logs, bounded in all, kept short."""
    config = folder / "short-logs.toml"
    config.write_text("log_events_max = 1\nlog_bytes_max = 1\nlog_level = 'warning'\n")
    with toprung(library, "--config", str(config)) as server:
        _play_sessions(server, SESSIONS // 4)
        before_bytes = server.resident_bytes()
        _play_sessions(server, SESSIONS)
        found = (server.resident_bytes() - before_bytes) / SESSIONS
    say(f"memory: {found:.0f} bytes a session")
    return found


def _play_sessions(server: Peer, count: int) -> None:
    """So many sessions, SESSION_SEGMENTS of each."""
    left = count

    def more() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    viewers = [_session_viewer(server, segments=SESSION_SEGMENTS, more=more) for _ in range(8)]
    run(viewers, 600.0)
    for viewer in viewers:
        viewer.connection.close()
