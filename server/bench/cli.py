"""The command: everything in one run, on one machine, with the server alone on one core and the load on another."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from abr.finite_range import FiniteRange
from server.bench.crowd import ATTACKERS, attack, crowd, opening, openings, session_viewer
from server.bench.load import LoadClient, LoadResult, connect, run
from server.bench.peers import HOST, Peer, nginx, redis, toprung, use_last_core
from server.bench.title import (
    PLAIN_COPIES,
    PLAIN_FILES,
    SEGMENT_S,
    SEGMENTS,
    TITLE_ID,
    plain_folder,
    write_library,
)

VIEWERS = 32
OPEN_RATE_PER_S = 500
SESSIONS_AT_ONCE = 5000
"""Sessions on one core, as the target has it; their requests are offered at the rate at which they would come."""
SESSIONS = 2000
SESSION_SEGMENTS = 20
SESSIONS_BEFORE = 2500
"""Played first where memory is measured, so that what is bounded in number, such as ids that were read, is full."""
SESSIONS_MORE = 4000
"""Played then."""
CROWD_S = 60.0
FULL_CORE_SESSIONS = 10_000
"""What one core is to hold."""
FULL_CORE_CONNECTIONS = 8_000
"""Each asks more often than a viewer does. Of more, the first would idle too long while the last are opened."""
FULL_CORE_OPENINGS_PER_S = 300
CDN = "https://cdn.example.com/titles"
"""Nothing is fetched from it."""
SERVER_OPTIONS = ("--log-level", "warning")

Say = Callable[[str], None]


@click.command("serve")
@click.option("--seconds", type=FiniteRange(0.2), default=4.0, show_default=True, help="Length of each.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Times that each is taken.")
@click.option("--profiles", type=click.IntRange(1), default=500, show_default=True, help="Kinds of device.")
@click.option("--titles", type=click.IntRange(1, 1000), default=20, show_default=True, help="Titles they watch.")
@click.option("--only", type=click.Choice(["crowd"]), help="Measure this part alone, without nginx and Redis.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_serve(seconds: float, rounds: int, profiles: int, titles: int, only: str | None, as_json: bool) -> None:
    """Measure what plain and decided segments cost the server, beside nginx sending the same files on the same core.

    Processor time is the server process's own, as the kernel counts it; medians over rounds in which the programs
    take turns. Needs nginx and redis-server on the path.
    """
    use_last_core()
    with tempfile.TemporaryDirectory(prefix="toprung-bench-") as name:
        kinds, say = Kinds(profiles, titles), lambda line: click.echo(line, err=True)
        if only:
            found = {"crowd": measure_crowd(Path(name), kinds, say)}
        else:
            found = measure(Path(name), seconds, rounds, kinds, say)
    if as_json or only:
        click.echo(json.dumps(found, indent=1))
        return
    for kind, row in found["plain"].items():
        click.echo(
            f"plain {kind}: {row['us']:.0f} µs, nginx {row['nginx_us']:.0f} µs: {row['ratio']:.2f} × nginx a core"
        )
    for store, row in found["decided"].items():
        click.echo(
            f"decided 200 kB, {store}: {row['us']:.0f} µs, {row['answer_bytes']:.0f} bytes sent, "
            f"{row['together']:.1f} at once; at {OPEN_RATE_PER_S}/s {row['us_at_rate']:.0f} µs, p99 to first byte "
            f"{row['first_byte_p99_ms']:.2f} ms; as {SESSIONS_AT_ONCE} sessions ask {row['us_of_crowd']:.0f} µs, "
            f"{row['first_byte_p99_ms_of_crowd']:.2f} ms"
        )
    click.echo(f"sessions a core at {SEGMENT_S:.0f} s segments: {found['sessions_per_core']:.0f}")
    click.echo(f"memory a session: {found['session_bytes']:.0f} bytes")


class Kinds(NamedTuple):
    """How many kinds of device watch how many titles."""

    profiles: int
    titles: int


def measure_crowd(folder: Path, kinds: Kinds, say: Say) -> dict[str, Any]:
    """SESSIONS viewers from the first minute on; and viewers who play while others attack (`server.bench.crowd`)."""
    library = folder / "many"
    write_library(library, kinds.titles)
    with toprung(library, *SERVER_OPTIONS) as server:
        found = crowd(server, SESSIONS, *kinds, seconds=CROWD_S, segments_per_s=SESSIONS / SEGMENT_S)
    decided = found["decided"]
    say(
        f"{SESSIONS} viewers with {kinds.profiles} devices on {kinds.titles} titles: {found['us']:.0f} µs a segment, "
        f"p50 {decided['p50_ms']:.1f} ms, p99 {decided['p99_ms']:.1f} ms; {found['resident_bytes'] / 1e6:.0f} MB"
    )
    found["full_core"] = _measure_full_core(library, kinds, say)
    with toprung(library, *SERVER_OPTIONS) as server:
        found["attack"] = attack(server, *kinds, seconds=CROWD_S / 3)
    alone, attacked = (found["attack"][name]["p99_ms"] for name in ("alone", "attacked"))
    say(f"p99 while {ATTACKERS} connections send new devices: {attacked:.1f} ms, before {alone:.1f} ms")
    p50, most = (found["attack"]["opened_without_profile"][name] for name in ("p50_ms", "most_ms"))
    say(f"sessions opened without a profile meanwhile: p50 {p50:.1f} ms, at most {most:.1f} ms")
    return found


def _measure_full_core(library: Path, kinds: Kinds, say: Say) -> dict[str, Any]:
    """FULL_CORE_CONNECTIONS viewers, who ask as often as FULL_CORE_SESSIONS would together."""
    rate_per_s = FULL_CORE_SESSIONS / SEGMENT_S
    with toprung(library, *SERVER_OPTIONS) as server:
        found = crowd(
            server,
            FULL_CORE_CONNECTIONS,
            *kinds,
            seconds=CROWD_S / 2,
            segments_per_s=rate_per_s,
            openings_per_s=FULL_CORE_OPENINGS_PER_S,
        )
    say(
        f"as {FULL_CORE_SESSIONS} viewers ask: {found['answered_share']:.1%} answered, by {found['loop_share']:.1%} of "
        f"a core, {found['loop_us']:.0f} µs a segment, p99 {found['decided']['p99_ms']:.0f} ms"
    )
    return found


def measure(folder: Path, seconds: float, rounds: int, kinds: Kinds, say: Say) -> dict[str, Any]:
    """All figures; processor time in microseconds a request."""
    library = folder / "library"
    write_library(library, kinds.titles)
    with (
        nginx(library, folder) as peer,
        redis(folder) as url,
        toprung(library, *SERVER_OPTIONS) as memory,
        toprung(library, *SERVER_OPTIONS, "--redis-url", url) as shared,
        toprung(library, *SERVER_OPTIONS, "--media-base", CDN) as leading,
    ):
        plain = {kind: _plain(kind, peer, memory, seconds, rounds, say) for kind in PLAIN_FILES}
        decided = {
            name: _decided(server, kinds, seconds, rounds, say)
            for name, server in (("memory", memory), ("redis", shared), ("led to a CDN", leading))
        }
        session_bytes = _session_bytes(library, folder, say)
    many = measure_crowd(folder, kinds, say)
    return {
        "plain": plain,
        "decided": decided,
        "sessions_per_core": SEGMENT_S * 1e6 / decided["memory"]["us_of_crowd"],
        "sessions_per_core_redis": SEGMENT_S * 1e6 / decided["redis"]["us_of_crowd"],
        "session_bytes": session_bytes,
        "crowd": many,
        "profiles": kinds.profiles,
        "titles": kinds.titles,
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


def _decided(server: Peer, kinds: Kinds, seconds: float, rounds: int, say: Say) -> dict[str, float]:
    first_s = _first_viewer_cpu_s(server)
    following = openings(*kinds)
    viewers = [session_viewer(server, following) for _ in range(VIEWERS)]
    _cost(server, viewers, 1.0)
    costs, sizes, together, rates = [], [], [], (OPEN_RATE_PER_S, SESSIONS_AT_ONCE / SEGMENT_S)
    offered: dict[float, list[tuple[float, float]]] = {rate: [] for rate in rates}
    for _ in range(rounds):
        before = [server.counted(name) for name in _DECIDED]
        cost_us, load = _cost(server, viewers, seconds)
        costs.append(cost_us)
        sizes.append(load.size_bytes / load.requests)
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
    say(f"p99 {p99_ms:.2f} ms; of {SESSIONS_AT_ONCE} sessions {us_of_crowd:.0f} µs, p99 {p99_ms_of_crowd:.2f} ms")
    return {
        "us": us,
        "us_spread": max(costs) - min(costs),
        "answer_bytes": statistics.median(sizes),
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
    viewer = session_viewer(server, opening, more=lambda: next(turns))
    run([viewer], 600.0)
    viewer.connection.close()
    return server.cpu_s() - before_s


def _cost(
    server: Peer, viewers: list[LoadClient], seconds: float, per_s: float | None = None
) -> tuple[float, LoadResult]:
    before_s = server.cpu_s()
    load = run(viewers, seconds, per_s)
    return (server.cpu_s() - before_s) / load.requests * 1e6, load


def _plain_viewer(server: Peer, kind: str, start: int) -> LoadClient:
    folder = f"/titles/{TITLE_ID}/video/{plain_folder(kind)}"
    requests = [
        f"GET {folder}/seg-{index + 1:05d}.m4s HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        for index in range(PLAIN_COPIES)
    ]
    turn = iter(range(start, 1 << 60))
    return connect(HOST, server.port, lambda _: requests[next(turn) % PLAIN_COPIES])


def _session_bytes(library: Path, folder: Path, say: Say) -> float:
    """How much the process grows by a session that has played SESSION_SEGMENTS; logs, bounded in all, kept short."""
    config = folder / "short-logs.toml"
    config.write_text("log_events_max = 1\nlog_bytes_max = 1\nlog_level = 'warning'\n")
    with toprung(library, "--config", str(config)) as server:
        _play_sessions(server, SESSIONS_BEFORE)
        before_bytes = server.anonymous_bytes()
        _play_sessions(server, SESSIONS_MORE)
        found = (server.anonymous_bytes() - before_bytes) / SESSIONS_MORE
    say(f"memory: {found:.0f} bytes a session")
    return found


def _play_sessions(server: Peer, count: int) -> None:
    """So many sessions, SESSION_SEGMENTS of each."""
    left = count

    def more() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    viewers = [session_viewer(server, opening, segments=SESSION_SEGMENTS, more=more) for _ in range(8)]
    run(viewers, 600.0)
    for viewer in viewers:
        viewer.connection.close()
