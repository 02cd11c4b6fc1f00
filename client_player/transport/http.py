"""Downloads: the Transport protocol, HTTP, and retries.

Servers are not trusted: bodies are bounded, only http and https are followed, every wait has a limit, and no answer
leads nearer to this machine than the first server (`client_player.transport.address_guard`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp

from abr.core.control import Download
from abr.errors import InputError, ToprungError
from abr.virtual_time import SessionClock, working
from client_player.transport.address_guard import AddressGuard, NearAddressError
from client_player.transport.decompression import ACCEPTED, Decompressor
from client_player.transport.growing import Arrivals, GrowingReply, Piece, held_s

A = TypeVar("A")
B = TypeVar("B")

DOCUMENT_MAX_BYTES = 32 << 20
SEGMENT_MAX_BYTES = 64 << 20
_PIECE_BYTES = 64 << 10
_REDIRECTS_MAX = 3
_LEAST_BYTES = 1500
"""A body must bring this much in the time that a silent server has: 100 bytes a second by default, less than any
network on which a segment would ever arrive."""
_SILENCE_MAX_S = 15.0
_PASSING = frozenset({404, 408, 425, 429})
"""Client errors that may pass: the server may still be starting, catching up or shedding load."""


class DownloadError(ToprungError):
    """A download failed. `status` is the server's answer, 0 when there was none; `may_pass` when a retry may help."""

    def __init__(self, message: str, *, status: int = 0, may_pass: bool = True) -> None:
        super().__init__(message)
        self.status, self.may_pass = status, may_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A complete body and its timing in session seconds. timing.size_bytes: as transferred, compressed if it was.

    url: where it came from in the end, which relative URLs in it start from (RFC 3986, 5.1.3). headers: of all answers
    on the way there, the later ones before the earlier: a redirect to a segment tells what was decided.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    timing: Download


class Transport(Protocol):
    """Fetches one URL."""

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> HttpReply:
        """The whole body of a 2xx answer. Raises DownloadError, and InputError for a URL that is not http(s)."""
        ...

    async def grow(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> GrowingReply:
        """A 2xx answer that may come while it is made, once its head is there. Raises as `get`, and so do its pieces.

        Of live streams: time is that of the wall.
        """
        ...


class HttpTransport:
    """Plain HTTP over aiohttp. The connection pool is the caller's; open it with `http_pool`."""

    def __init__(self, pool: aiohttp.ClientSession, clock: SessionClock) -> None:
        self._pool, self._clock = pool, clock

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> HttpReply:
        """See Transport."""
        check_url(url)
        started_s = self._clock.now_s()
        with _failures_of(url), working():
            async with asyncio.timeout(_headers_max_s(self._pool)) as limit:
                async with self._pool.get(url, headers=headers, max_redirects=_REDIRECTS_MAX) as response:
                    limit.reschedule(None)
                    first_s = self._clock.now_s()
                    if not 200 <= response.status < 300:
                        raise await _refusal(url, response)
                    body, wire_bytes = await read_body(response, max_bytes, silence_max_s(self._pool))
                    reply_headers, answered_url = _all_headers(response), str(response.url)
        timing = Download(
            started_s=started_s,
            latency_s=first_s - started_s,
            duration_s=self._clock.now_s() - started_s,
            size_bytes=wire_bytes,
        )
        return HttpReply(url=answered_url, headers=reply_headers, body=body, timing=timing)

    async def grow(self, url: str, *, headers: Mapping[str, str], max_bytes: int) -> GrowingReply:
        """See Transport."""
        check_url(url)
        started_s = self._clock.now_s()
        with _failures_of(url):
            async with asyncio.timeout(_headers_max_s(self._pool)):
                response = await self._pool.get(url, headers=headers, max_redirects=_REDIRECTS_MAX)
            if not 200 <= response.status < 300:
                async with response:
                    raise await _refusal(url, response)
        told = _all_headers(response)
        latency_s = max(0.0, self._clock.now_s() - started_s - held_s(told))
        return GrowingReply(
            url=str(response.url),
            headers=told,
            arrivals=Arrivals(started_s=started_s, latency_s=latency_s),
            pieces=self._pieces(url, response, max_bytes),
        )

    async def _pieces(self, url: str, response: aiohttp.ClientResponse, max_bytes: int) -> AsyncGenerator[Piece]:
        size_bytes = 0
        with _failures_of(url):
            async with response:
                async for data in response.content.iter_any():
                    size_bytes += len(data)
                    if size_bytes > max_bytes:
                        raise DownloadError(f"{url} is refused: it holds more than {max_bytes} bytes.", may_pass=False)
                    came_s = self._clock.now_s()
                    yield Piece(data, came_s, came_s)


@contextmanager
def _failures_of(url: str) -> Iterator[None]:
    """What goes wrong with the network inside is a DownloadError."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        near = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NearAddressError)
        raise DownloadError(f"GET {url} failed: {_describe(error)}.", may_pass=not near) from error


def _all_headers(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    found = response.headers.copy()
    for each in reversed(response.history):
        found.update({name: value for name, value in each.headers.items() if name not in found})
    return found


def http_pool(*, idle_s: float = _SILENCE_MAX_S) -> aiohttp.ClientSession:
    """A connection pool for one session: it gives up on a peer that is silent for `idle_s`, and guards addresses."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=idle_s, sock_read=idle_s)
    headers = {"User-Agent": "toprung-player", "Accept-Encoding": ACCEPTED}
    connector = aiohttp.TCPConnector(socket_factory=AddressGuard().make_socket)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False, headers=headers)


def silence_max_s(pool: aiohttp.ClientSession) -> float:
    """For how long a peer of this pool may be silent."""
    return pool.timeout.sock_read or _SILENCE_MAX_S


def _headers_max_s(pool: aiohttp.ClientSession) -> float:
    """A slow connection and an answer that is thought over; a head that drips in byte by byte ends here."""
    return 2 * silence_max_s(pool)


def check_url(url: str) -> None:
    """Raises InputError unless `url` is absolute http or https."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} cannot be asked; give a URL that starts with http:// or https://.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a download is tried, and how long to wait before the second try; each further wait is twice as long."""

    tries: int = 5
    first_wait_s: float = 0.25
    longest_wait_s: float = 4.0

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait after so many tries: twice as long each time, up to a bound."""
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** (attempt - 1))


async def get_with_retries(
    transport: Transport,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = SEGMENT_MAX_BYTES,
    retries: RetryPolicy = RetryPolicy(),
    check: Callable[[HttpReply], None] = lambda _reply: None,
    on_failure: Callable[[str], None] = lambda _detail: None,
) -> HttpReply:
    """`transport.get`, tried again while that may help. `check` may raise DownloadError to refuse a body.

    on_failure gets the message of each failure; the last failure is raised as DownloadError.
    """

    async def attempt() -> HttpReply:
        reply = await transport.get(url, headers=headers or {}, max_bytes=max_bytes)
        check(reply)
        return reply

    return await with_retries(attempt, retries, on_failure)


async def with_retries(
    attempt: Callable[[], Awaitable[A]], retries: RetryPolicy, on_failure: Callable[[str], None] = lambda _detail: None
) -> A:
    """What `attempt` gives, tried again while that may help. on_failure: as of `get_with_retries`."""
    for number in range(1, retries.tries + 1):
        try:
            return await attempt()
        except DownloadError as error:
            on_failure(str(error))
            if not error.may_pass or number == retries.tries:
                raise
        await asyncio.sleep(retries.wait_s(number))
    raise AssertionError("a RetryPolicy has at least one try")


async def run_both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both results; when one fails, the other is cancelled and that one error raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            one, other = tasks.create_task(first), tasks.create_task(second)
        return one.result(), other.result()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def merge_downloads(first: Download, others: Iterable[Download]) -> Download:
    """`first` and the downloads that were requested after it over the same link, counted as one download."""
    downloads = [first, *(download for download in others if download.started_s >= first.started_s)]
    return Download(
        started_s=first.started_s,
        latency_s=min(download.started_s + download.latency_s for download in downloads) - first.started_s,
        duration_s=max(download.started_s + download.duration_s for download in downloads) - first.started_s,
        size_bytes=sum(download.size_bytes for download in downloads),
    )


async def _refusal(url: str, response: aiohttp.ClientResponse) -> DownloadError:
    async with asyncio.timeout(_SILENCE_MAX_S):
        text = (await response.content.read(300)).decode(errors="replace").strip()
    return DownloadError(
        f"GET {url} was answered {response.status} {response.reason or ''}: {text or 'no more was said'}",
        status=response.status,
        may_pass=response.status >= 500 or response.status in _PASSING,
    )


async def read_body(
    response: aiohttp.ClientResponse, max_bytes: int, silence_max_s: float = _SILENCE_MAX_S
) -> tuple[bytes, int]:
    """The whole body, unpacked, and how many bytes travelled.

    Raises DownloadError when it is too long or damaged, TimeoutError when `silence_max_s` brings less than
    _LEAST_BYTES of it.
    """
    loop = asyncio.get_running_loop()
    try:
        decompressor = Decompressor(response.headers.get("Content-Encoding", ""), max_bytes)
        async with asyncio.timeout(silence_max_s) as limit:
            counted_bytes = 0
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                decompressor.feed(piece)
                if decompressor.wire_bytes - counted_bytes >= _LEAST_BYTES:
                    counted_bytes = decompressor.wire_bytes
                    limit.reschedule(loop.time() + silence_max_s)
        return decompressor.body(), decompressor.wire_bytes
    except ValueError as error:
        raise DownloadError(f"{response.url} is refused: {error}.", may_pass=False) from error


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NearAddressError):
        return f"{error.host} is refused: {error.os_error.strerror}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"nobody answers at {error.host}:{error.port}"
    if isinstance(error, TimeoutError):
        return "the server was silent for too long, or too slow"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
