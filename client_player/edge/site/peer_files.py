"""Files from one node of a site to another, as they lie in its cache: with their digest, which is checked."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from abr.errors import ToprungError
from client_player.edge.cache.cached_file import LABEL_MAX_BYTES, unpack
from client_player.transport.http import SEGMENT_MAX_BYTES, Transport
from server.redis_url import read_redis_url

PATH = "site/files/"
"""Below a node's URL."""
_EVERYWHERE = ("0.0.0.0", "::")

log = logging.getLogger("toprung.edge")


class PeerFiles:
    """Asks other nodes for files. on_bytes hears how many came. The transport's addresses may be near."""

    def __init__(self, transport: Transport, on_bytes: Callable[[int], None]) -> None:
        self._transport, self._on_bytes = transport, on_bytes

    async def get(self, url: str, key: str) -> bytes | None:
        """The body of the file called `key`, from the node at `url`; None when it does not have it, or not whole."""
        try:
            where = f"{url.rstrip('/')}/{PATH}{key}"
            reply = await self._transport.get(where, headers={}, max_bytes=SEGMENT_MAX_BYTES + LABEL_MAX_BYTES)
            body = unpack(reply.body, key)
        except ToprungError as error:
            log.info("%s does not come from another node: %s", key, error)
            return None
        self._on_bytes(len(reply.body))
        return body


def url_for_peers(url: str, redis_url: str) -> str:
    """Where other nodes reach the one that listens at `url`: if it listens everywhere, its address towards Redis."""
    parts = urlsplit(url)
    if parts.hostname not in _EVERYWHERE:
        return url
    address = _address_towards(redis_url)
    shown = f"[{address}]" if ":" in address else address
    return urlunsplit(parts._replace(netloc=f"{shown}:{parts.port}"))


def _address_towards(redis_url: str) -> str:
    """Nothing is sent: a datagram socket only asks which of this machine's addresses would be used."""
    where = read_redis_url(redis_url)
    if where.path:
        return "127.0.0.1"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as asking:
            asking.connect(address)
            return str(asking.getsockname()[0])
    except OSError:
        return "127.0.0.1"
