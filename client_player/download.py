"""Downloads: the Transport seam, real HTTP behind it, and patience with servers that fail.

Whatever comes back is hostile: bodies are bounded, only http and https are followed, and every wait has an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp

from abr.clock import SessionClock, working
from abr.control import Download
from abr.errors import InputError, ToprungError
from client_player.packing import ACCEPTED, Unpacker

A = TypeVar("A")
B = TypeVar("B")

DOCUMENT_MAX_BYTES = 32 << 20
SEGMENT_MAX_BYTES = 64 << 20
_PIECE_BYTES = 64 << 10
_REDIRECTS_MAX = 3
_PASSING = frozenset({404, 408, 425, 429})
"""Client errors that may pass: the server may still be starting, catching up or shedding load."""


class DownloadError(ToprungError):
    """A download failed. `status` is the server's answer, 0 when there was none; `passing` when a retry may help."""

    def __init__(self, message: str, *, status: int = 0, passing: bool = True) -> None:
        super().__init__(message)
        self.status, self.passing = status, passing


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete body and when it came, in session seconds. timing.size_bytes: as it travelled, packed if it was."""

    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    timing: Download


class Transport(Protocol):
    """Fetches one URL."""

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> Reply:
        """The whole body of a 2xx answer. Raises DownloadError, and InputError for a URL that is not http(s)."""
        ...


class HttpTransport:
    """Plain HTTP over aiohttp. The connection pool is the caller's; open it with `http_pool`."""

    def __init__(self, pool: aiohttp.ClientSession, clock: SessionClock) -> None:
        self._pool, self._clock = pool, clock

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> Reply:
        check_url(url)
        started_s = self._clock.now_s()
        try:
            with working():
                async with self._pool.get(url, headers=headers, max_redirects=_REDIRECTS_MAX) as response:
                    first_s = self._clock.now_s()
                    if not 200 <= response.status < 300:
                        raise await _refusal(url, response)
                    body, wire_bytes = await read_body(response, max_bytes)
                    names = response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DownloadError(f"GET {url} failed: {_why(error)}.") from error
        timing = Download(
            started_s=started_s,
            latency_s=first_s - started_s,
            duration_s=self._clock.now_s() - started_s,
            size_bytes=wire_bytes,
        )
        return Reply(url=url, headers=names, body=body, timing=timing)


def http_pool(*, idle_s: float = 15.0) -> aiohttp.ClientSession:
    """A connection pool that gives up on a peer that is silent for `idle_s`."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=idle_s, sock_read=idle_s)
    headers = {"User-Agent": "toprung-player", "Accept-Encoding": ACCEPTED}
    return aiohttp.ClientSession(timeout=timeout, auto_decompress=False, headers=headers)


def check_url(url: str) -> None:
    """Raises InputError unless `url` is absolute http or https."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} cannot be played; give a URL that starts with http:// or https://.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a download is tried, and how long to wait before the second try; each further wait is twice as long."""

    tries: int = 5
    first_wait_s: float = 0.25
    longest_wait_s: float = 4.0

    def wait_s(self, tried: int) -> float:
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** (tried - 1))


async def get_patiently(
    transport: Transport,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = SEGMENT_MAX_BYTES,
    patience: Patience = Patience(),
    check: Callable[[Reply], None] = lambda _reply: None,
    on_failure: Callable[[str], None] = lambda _detail: None,
) -> Reply:
    """`transport.get`, tried again while that may help. `check` may raise DownloadError to refuse a body.

    Each failure is told to `on_failure`; the last one is raised.
    """
    for tried in range(1, patience.tries + 1):
        try:
            reply = await transport.get(url, headers=headers or {}, max_bytes=max_bytes)
            check(reply)
            return reply
        except DownloadError as error:
            on_failure(str(error))
            if not error.passing or tried == patience.tries:
                raise
        await asyncio.sleep(patience.wait_s(tried))
    raise AssertionError("a Patience has at least one try")


async def at_once(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both results; when one fails, the other is cancelled and that one error raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            one, other = tasks.create_task(first), tasks.create_task(second)
        return one.result(), other.result()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def joined(first: Download, others: Iterable[Download]) -> Download:
    """`first` and what was asked for behind it and came over the same link, counted as one download."""
    every = [first, *(each for each in others if each.started_s >= first.started_s)]
    return Download(
        started_s=first.started_s,
        latency_s=min(each.started_s + each.latency_s for each in every) - first.started_s,
        duration_s=max(each.started_s + each.duration_s for each in every) - first.started_s,
        size_bytes=sum(each.size_bytes for each in every),
    )


async def _refusal(url: str, response: aiohttp.ClientResponse) -> DownloadError:
    said = (await response.content.read(300)).decode(errors="replace").strip()
    return DownloadError(
        f"GET {url} was answered {response.status} {response.reason or ''}: {said or 'no more was said'}",
        status=response.status,
        passing=response.status >= 500 or response.status in _PASSING,
    )


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, int]:
    """The whole body, unpacked, and how many bytes travelled. Raises DownloadError when it is too long or damaged."""
    try:
        unpacker = Unpacker(response.headers.get("Content-Encoding", ""), max_bytes)
        async for piece in response.content.iter_chunked(_PIECE_BYTES):
            unpacker.feed(piece)
        return unpacker.body(), unpacker.wire_bytes
    except ValueError as error:
        raise DownloadError(f"{response.url} is refused: {error}.", passing=False) from error


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"nobody answers at {error.host}:{error.port}"
    if isinstance(error, TimeoutError):
        return "the server was silent for too long"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
