"""How fast a viewer took what was sent, when only the server can tell: the kernel's own measure of the connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass

_RTT = struct.Struct("@68xI")
_RATE = struct.Struct("@160xQ")
"""Places in Linux' `struct tcp_info` (linux/tcp.h): smoothed round trip in µs; goodput in bytes a second, the highest
one when the sender had nothing more to send, else the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDelivery:
    """How long a body took to reach the viewer, as nearly as the server can tell."""

    took_s: float
    latency_s: float
    size_bytes: int


def measure_delivery(transport: asyncio.Transport | None, size_bytes: int, wrote_s: float) -> MeasuredDelivery | None:
    """None when nothing can be said. `wrote_s` alone is too short: the kernel takes what the network has not yet."""
    measured = _rtt_and_rate(transport)
    if measured is None:
        return None
    rtt_us, bytes_per_s = measured
    took_s = max(wrote_s, size_bytes / bytes_per_s + rtt_us / 1e6)
    return MeasuredDelivery(took_s=took_s, latency_s=rtt_us / 1e6, size_bytes=size_bytes)


def delivery_rate_bps(transport: asyncio.Transport | None) -> float | None:
    """What a connection has carried so far, in bits a second; None when nothing can be said."""
    measured = _rtt_and_rate(transport)
    return None if measured is None else 8.0 * measured[1]


def _rtt_and_rate(transport: asyncio.Transport | None) -> tuple[int, int] | None:
    info = _tcp_info(transport)
    if len(info) < _RATE.size:
        return None
    (rtt_us,), (bytes_per_s,) = _RTT.unpack_from(info), _RATE.unpack_from(info)
    return (rtt_us, bytes_per_s) if bytes_per_s else None


def _tcp_info(transport: asyncio.Transport | None) -> bytes:
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return b""
    try:
        info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return b""
    return info
