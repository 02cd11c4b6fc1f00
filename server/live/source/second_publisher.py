"""Who else wants to publish while one publisher is there is refused with a sentence, in RTMP's own words.

Adobe's RTMP specification 1.0: the handshake (5.2), chunks (5.3), and what answers `connect` (7.2.1.1).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from server.live.source.address import Address
from server.live.source.opening import RTMP_PORT

_SENTENCE = "There is a publisher already; try again when it has gone."
_HANDSHAKE_BYTES = 1536
_PATIENCE_S = 5.0
"""For one guest, whom others wait behind."""
_CONNECT_BYTES_MAX = 4096
_LOOK_EVERY_S = 0.2
_TELL_EVERY_S = 10.0
_COMMAND, _CHUNK_STREAM = 20, 3
_NUMBER, _STRING, _OBJECT, _NULL, _OBJECT_END = b"\x00", b"\x02", b"\x03", b"\x05", b"\x00\x00\x09"


@contextmanager
def refusing_publishers(address: Address, told: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, refuse all who come to the address that is listened at. told: hears of them.

    Nothing happens where it is not listened, or where the system does not let us have the port a second time.
    """
    listener = _listener(address)
    if listener is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_refuse_all, args=(listener, over, told), name="live-refusal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        listener.close()
        thread.join()


def _listener(address: Address) -> socket.socket | None:
    """At the port of the publisher that is there, whose own listener is closed."""
    if not address.listen:
        return None
    parts = urlsplit(address.place)
    with suppress(OSError):
        family, *_, where = socket.getaddrinfo(parts.hostname, parts.port or RTMP_PORT, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(where[:2], family=family)
        listener.settimeout(_LOOK_EVERY_S)
        return listener
    return None


def _refuse_all(listener: socket.socket, over: threading.Event, told: Callable[[str], None]) -> None:
    told_s = -_TELL_EVERY_S
    while not over.is_set():
        try:
            guest, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        with guest, suppress(OSError):
            _refuse(guest, over)
        if time.monotonic() >= told_s + _TELL_EVERY_S:
            told_s = time.monotonic()
            told("a second publisher was refused: there is one already.")


def _refuse(guest: socket.socket, over: threading.Event) -> None:
    """Shake hands as far as it needs, read what it wants, and say no. Raises OSError."""
    guest.settimeout(_LOOK_EVERY_S)
    due_s = time.monotonic() + _PATIENCE_S

    def read(count: int, *, at_least: int) -> bytes:
        body = b""
        while len(body) < at_least:
            if over.is_set() or time.monotonic() > due_s:
                raise TimeoutError
            with suppress(TimeoutError):
                more = guest.recv(count - len(body))
                if not more:
                    raise ConnectionResetError
                body += more
        return body

    version, asked = read(1, at_least=1), read(_HANDSHAKE_BYTES, at_least=_HANDSHAKE_BYTES)
    if version != b"\x03":
        return
    guest.sendall(version + bytes(_HANDSHAKE_BYTES) + asked)
    read(_HANDSHAKE_BYTES, at_least=_HANDSHAKE_BYTES)
    read(_CONNECT_BYTES_MAX, at_least=1)
    guest.sendall(refusal(_SENTENCE))
    with suppress(TimeoutError):  # it hangs up by itself when it has read that
        while read(_CONNECT_BYTES_MAX, at_least=1):
            pass


def refusal(sentence: str) -> bytes:
    """The message `_error` to a publisher's first command, in chunks of 128 bytes (5.3.1, 7.2.1.1)."""
    about = {"level": "error", "code": "NetConnection.Connect.Rejected", "description": sentence}
    fields = b"".join(_text(name) + _STRING + _text(value) for name, value in about.items())
    body = _STRING + _text("_error") + _NUMBER + struct.pack(">d", 1.0) + _NULL + _OBJECT + fields + _OBJECT_END
    head = bytes([_CHUNK_STREAM]) + bytes(3) + struct.pack(">I", len(body))[1:] + bytes([_COMMAND]) + bytes(4)
    again = bytes([0xC0 | _CHUNK_STREAM])
    return head + again.join(body[at : at + 128] for at in range(0, len(body), 128))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
