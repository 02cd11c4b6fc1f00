"""Which addresses a session may connect to: a server's answers never lead nearer to this machine than its own address.

Redirects, manifests and session answers come from servers that are not trusted. Without a limit they could make the
player ask the viewer's router, or a service that listens on this machine only (CWE-918, server-side request forgery).
The address is looked at when the socket is made, after names are resolved, so that no spelling of it gets through.
"""

from __future__ import annotations

import errno
import socket
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.connector import AddrInfoType

_NAT64 = IPv6Network("64:ff9b::/96")


class Reach(IntEnum):
    """From where an address can be reached, nearest first."""

    THIS_MACHINE = 0
    THIS_LINK = 1
    THIS_NETWORK = 2
    EVERYWHERE = 3


class NearAddressError(OSError):
    """An answer led nearer to this machine than the session's first server."""

    def __init__(self, reach: Reach) -> None:
        where = {Reach.THIS_MACHINE: "this machine", Reach.THIS_LINK: "this link", Reach.THIS_NETWORK: "this network"}
        super().__init__(
            errno.EACCES,
            f"that is an address of {where[reach]}, where a server from further away may not lead; "
            "play from there if you mean it",
        )


class AddressGuard:
    """Makes the sockets of one session. The first address decides how near the others may be."""

    def __init__(self) -> None:
        self._nearest: Reach | None = None

    def make_socket(self, address_info: AddrInfoType) -> socket.socket:
        """A socket for an address that the session may connect to. Raises NearAddressError for others."""
        family, kind, protocol, _, address = address_info
        reach = reach_of(str(address[0]))
        if self._nearest is None:
            self._nearest = reach
        if reach < self._nearest:
            raise NearAddressError(reach)
        return socket.socket(family, kind, protocol)


def reach_of(address: str) -> Reach:
    """Of a numeric IPv4 or IPv6 address, with or without a zone. Raises ValueError."""
    ip = _embedded(ip_address(address.partition("%")[0]))
    if ip.is_loopback or ip.is_unspecified:
        return Reach.THIS_MACHINE
    if ip.is_link_local:
        return Reach.THIS_LINK
    return Reach.EVERYWHERE if ip.is_global and not ip.is_multicast else Reach.THIS_NETWORK


def _embedded(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address inside an IPv6 one (mapped, NAT64, 6to4), where packets end."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
