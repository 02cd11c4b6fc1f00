"""Many viewers at once, each with a device of its own, on many titles: what a server is for.

All open their sessions first. Then each asks for a segment every SEGMENT_S, from the first second on: no plan has been
made when they begin.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from abr.core.control import Download
from abr.protocols.cmcd import ViewerState, from_viewer, to_headers
from abr.protocols.structured_fields import Token
from abr.records import dumps
from server.bench.load import LoadClient, LoadResult, connect, run
from server.bench.peers import HOST, Peer
from server.bench.title import SEGMENT_S, SEGMENTS, TITLE_ID, profile, title_id
from server.session_service import SessionRequest

OPENINGS_PER_S = 100
WAIT_MAX_S = 60.0
AT_ONCE = 100
"""Viewers who connect together."""
ATTACKERS = 100
PLAYING = 32
NEWCOMERS = 16
"""Viewers without a device profile who open sessions meanwhile."""
EACH_PER_S = 1.5
"""Requests of each connection, attackers and others."""
STRANGE = 1_000_000
"""Attackers' profiles have numbers from here on: nobody else's."""

Opening = Callable[[], bytes]


def opening(kind: int | None = 0, title: int = 0) -> bytes:
    """A request for a session: of which device, None for one without a profile, for which title."""
    device = None if kind is None else profile(kind)
    body = dumps(SessionRequest(title=title_id(title), profile=device))
    head = b"POST /sessions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)


def openings(profiles: int, titles: int) -> Opening:
    """Requests by one viewer after another: with which of so many devices, for which of so many titles.

    With one of each they are all the same.
    """
    made: dict[int, bytes] = {}
    count = 0

    def following() -> bytes:
        nonlocal count
        number = count % (profiles * titles)
        count += 1
        if number not in made:
            made[number] = opening(number % profiles, (number + number // profiles) % titles)
        return made[number]

    return following


def session_viewer(
    server: Peer,
    ask_opening: Opening,
    segments: int = SEGMENTS,
    more: Callable[[], bool] = lambda: True,
    may_play: Callable[[], bool] = lambda: True,
) -> LoadClient:
    """Opens a session, then plays it from the first segment on, and opens another while there are to be more.

    may_play: until then it asks for nothing more once its session is open.
    """
    path, number, now_s = "", 0, 0.0

    def ask(head: bytes) -> bytes | None:
        nonlocal path, number, now_s
        if head[9:12] == b"201":
            path, number, now_s = head.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0].decode(), 0, 0.0
        if not path or number == segments:
            path = ""
            return ask_opening() if more() else None
        if not may_play():
            return None
        number, now_s = number + 1, now_s + SEGMENT_S
        return segment_request(path, number, now_s)

    return connect(HOST, server.port, ask)


def segment_request(path: str, number: int, now_s: float) -> bytes:
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


def crowd(
    server: Peer,
    sessions: int,
    profiles: int,
    titles: int,
    seconds: float,
    *,
    segments_per_s: float,
    openings_per_s: float = OPENINGS_PER_S,
) -> dict[str, Any]:
    """`sessions` viewers for so long; waits in milliseconds, processor time in microseconds a segment."""
    kinds = openings(profiles, titles)
    viewers: list[LoadClient] = []
    opened, are_playing = LoadResult(), False
    try:
        for count in range(0, sessions, AT_ONCE):  # a connection that says nothing for long is closed
            coming = [
                session_viewer(server, kinds, may_play=lambda: are_playing)
                for _ in range(min(AT_ONCE, sessions - count))
            ]
            viewers += coming
            opened.first_byte_s += run(coming, WAIT_MAX_S, 2 * openings_per_s).first_byte_s  # each asks twice
        are_playing = True
        before_s, loop_before_s = server.cpu_s(), server.loop_cpu_s()
        played = run(viewers, seconds, segments_per_s)
        us, loop_us = (
            (now_s - then_s) / played.requests * 1e6
            for now_s, then_s in ((server.cpu_s(), before_s), (server.loop_cpu_s(), loop_before_s))
        )
    finally:
        _close(viewers)
    return {
        "sessions": sessions,
        "profiles": profiles,
        "titles": titles,
        "opened": _waits(opened),
        "decided": _waits(played),
        "us": us,
        "loop_us": loop_us,
        "loop_share": loop_us * played.requests / seconds / 1e6,
        "answered_share": played.requests / seconds / segments_per_s,
        "resident_bytes": server.resident_bytes(),
    }


def attack(server: Peer, profiles: int, titles: int, seconds: float) -> dict[str, Any]:
    """What viewers wait who play, alone and while ATTACKERS connections open sessions with a new device each time.

    Also what others wait meanwhile who open sessions without a device profile.
    """
    kinds = openings(profiles, titles)
    playing = [session_viewer(server, kinds) for _ in range(PLAYING)]
    numbers = iter(range(STRANGE, 1 << 30))
    attackers: list[LoadClient] = []
    newcomers, opened = [], LoadResult()
    plain = itertools.cycle([opening(None, title) for title in range(titles)])
    try:
        run(playing, seconds, PLAYING * EACH_PER_S)
        alone = run(playing, seconds, PLAYING * EACH_PER_S)
        for _ in range(ATTACKERS):
            attackers.append(session_viewer(server, lambda: opening(next(numbers)), segments=1))
            attackers[-1].counted = False
        for _ in range(NEWCOMERS):
            newcomers.append(session_viewer(server, lambda: next(plain), segments=0))
            newcomers[-1].counted, newcomers[-1].result = False, opened
        mixed = playing + attackers + newcomers
        attacked = run(mixed, seconds, len(mixed) * EACH_PER_S)
    finally:
        _close(playing + attackers + newcomers)
    return {"alone": _waits(alone), "attacked": _waits(attacked), "opened_without_profile": _waits(opened)}


def _waits(load: LoadResult) -> dict[str, float]:
    return {
        "requests": load.requests,
        "p50_ms": load.percentile_s(50) * 1000,
        "p99_ms": load.percentile_s(99) * 1000,
        "most_ms": load.percentile_s(100) * 1000,
    }


def _close(viewers: list[LoadClient]) -> None:
    for viewer in viewers:
        viewer.connection.close()
