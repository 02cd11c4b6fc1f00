"""A load of HTTP requests over keep-alive connections, in one thread, as cheap for the client as can be."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from abr.errors import ToprungError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_READ_BYTES = 1 << 20
SILENCE_MAX_S = 10.0


@dataclass(slots=True)
class LoadClient:
    """One connection.

    ask: gives its next request, from the head of the answer before it (empty at first), or None when there is no more
    to ask.
    """

    ask: Callable[[bytes], bytes | None]
    connection: socket.socket
    head: bytes = b""
    left: int = -1
    """Body bytes to come; -1 while the head is not complete."""
    asked_s: float = 0.0
    waited_s: float = 0.0
    idle: bool = True
    counted: bool = True
    """Whether its requests are part of the result."""
    result: LoadResult | None = None
    """One of its own, beside that."""


@dataclass(slots=True)
class LoadResult:
    """first_byte_s: from each request to the first byte of its answer. seconds: of the whole run."""

    first_byte_s: list[float] = field(default_factory=list)
    size_bytes: int = 0
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.first_byte_s)

    def percentile_s(self, percent: float) -> float:
        """Time to the first byte that so many percent of the requests kept below."""
        ordered = sorted(self.first_byte_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def connect(host: str, port: int, ask: Callable[[bytes], bytes | None]) -> LoadClient:
    """A client with a connection of its own, which has asked for nothing yet."""
    connection = socket.create_connection((host, port), timeout=SILENCE_MAX_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return LoadClient(ask=ask, connection=connection)


def run(viewers: list[LoadClient], seconds: float, per_s: float | None = None) -> LoadResult:
    """Ask for `seconds`, then wait for the answers under way.

    Each viewer asks again as soon as it has its answer; with `per_s`, requests are instead begun at that rate by
    viewers in turn, and a request that no viewer is free for waits, which counts as waiting for the first byte.
    """
    buffer, found = bytearray(_READ_BYTES), LoadResult()
    with selectors.DefaultSelector() as waiting:
        for viewer in viewers:
            waiting.register(viewer.connection, selectors.EVENT_READ, viewer)
        began_s = time.perf_counter()
        end_s, due_s = began_s + seconds, began_s
        free, done = list(reversed(viewers)), 0
        while True:
            now_s = time.perf_counter()
            while free and due_s <= now_s < end_s:
                if not _ask(free.pop(0) if per_s else free.pop(), due_s if per_s else now_s):
                    done += 1
                due_s += 1 / per_s if per_s else 0.0
            if done == len(viewers) or (now_s >= end_s and len(free) + done == len(viewers)):
                break
            pause_s = max(0.0, min(due_s, end_s) - now_s) if free and now_s < end_s else SILENCE_MAX_S
            ready = waiting.select(pause_s)
            if not ready and pause_s == SILENCE_MAX_S:
                raise ToprungError(f"The server said nothing for {SILENCE_MAX_S:.0f} s.")
            for key, _ in ready:
                _read(key.data, buffer, found)
                if key.data.idle:
                    free.append(key.data)
        found.seconds = time.perf_counter() - began_s
    return found


def _ask(viewer: LoadClient, due_s: float) -> bool:
    request = viewer.ask(viewer.head)
    if request is None:
        return False
    viewer.connection.sendall(request)
    viewer.asked_s, viewer.idle, viewer.head, viewer.left = due_s, False, b"", -1
    return True


def _read(viewer: LoadClient, buffer: bytearray, found: LoadResult) -> None:
    count = viewer.connection.recv_into(buffer)
    if not count:
        raise ToprungError("The server hung up in the middle of an answer.")
    found.size_bytes += count
    if not viewer.head:
        waited_s = time.perf_counter() - viewer.asked_s
        if viewer.counted:
            found.first_byte_s.append(waited_s)
        if viewer.result is not None:
            viewer.result.first_byte_s.append(waited_s)
    if viewer.left < 0:
        viewer.head += bytes(memoryview(buffer)[: min(count, 4096)])
        end = viewer.head.find(b"\r\n\r\n")
        if end < 0:
            raise ToprungError("The head of an answer came in pieces.")
        if viewer.head[9:12] not in (b"200", b"201", b"204", b"307"):
            raise ToprungError(f"The server answered {viewer.head[:200]!r}.")
        length = _LENGTH.search(viewer.head, 0, end)
        viewer.left = (int(length[1]) if length else 0) + end + 4
        viewer.head = viewer.head[:end]
    viewer.left -= count
    viewer.idle = viewer.left <= 0
