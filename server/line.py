"""One viewer's connection, as the fast lane writes to it."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Protocol

from server.delivery import Delivery, measure


class Descriptor:
    """An open file. Reads name their place, so that any number may go on at once; closed when nobody holds it."""

    __slots__ = ("number",)
    mode = "rb"

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        return self.number

    def __del__(self) -> None:
        os.close(self.number)


class Patience(Protocol):
    """How long a viewer may take for so many bytes, in seconds."""

    def __call__(self, size_bytes: int) -> float: ...


class Line:
    """Writes past asyncio's buffer while that is empty: head and body go straight into the socket."""

    def __init__(self, transport: asyncio.Transport, patience: Patience, *, trusted: bool = False) -> None:
        """trusted: a reverse proxy of ours is at the other end."""
        self.transport = transport
        self.trusted = trusted
        self._patience = patience
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").fileno())
        self._socket.setblocking(False)
        self.begun = False
        """An answer has begun: whatever goes wrong now, no other can be given."""
        self._session = ""
        self._sent_bytes = 0

    def release(self) -> None:
        """The socket is asyncio's; it closes it."""
        self._socket.detach()

    async def send(self, head: bytes, body: bytes | Descriptor, size_bytes: int) -> None:
        """To the last byte. ConnectionError when the viewer is gone, takes no bytes, or the file ends early."""
        if isinstance(body, bytes):
            self.write(head, body)
            return
        self.begun = True
        sent = 0
        if self._push(head):
            sent = self._pour(body, size_bytes)
        if sent < size_bytes:
            await self._rest(body, sent, size_bytes)

    def write(self, head: bytes, body: bytes) -> None:
        """Both at once, without making one of them; what the socket does not take is asyncio's to write."""
        self.begun = True
        try:
            sent = self._socket.sendmsg((head, body))
        except BlockingIOError:
            sent = 0
        if sent < len(head):
            self.transport.write(head[sent:] + body)
        elif sent < len(head) + len(body):
            self.transport.write(memoryview(body)[sent - len(head) :])

    def _push(self, head: bytes) -> bool:
        """False when not all of it went at once: the rest is asyncio's to write."""
        try:
            done = self._socket.send(head, socket.MSG_MORE)
        except BlockingIOError:
            done = 0
        if done < len(head):
            self.transport.write(head[done:])
        return done == len(head)

    def _pour(self, body: Descriptor, size_bytes: int) -> int:
        sent = 0
        try:
            while sent < size_bytes:
                count = os.sendfile(self._socket.fileno(), body.number, sent, size_bytes - sent)
                if not count:
                    raise ConnectionResetError(f"a file ended after {sent} of {size_bytes} bytes")
                sent += count
        except BlockingIOError:
            pass
        return sent

    async def _rest(self, body: Descriptor, sent: int, size_bytes: int) -> None:
        loop, limit_s = asyncio.get_running_loop(), self._patience(size_bytes)
        giving_up = loop.call_later(limit_s, self.transport.abort)
        try:
            count = await loop.sendfile(self.transport, body, sent, size_bytes - sent)  # type: ignore[arg-type]
        except RuntimeError as error:  # the transport was closed meanwhile
            raise ConnectionResetError("the viewer went away") from error
        finally:
            giving_up.cancel()
        if count != size_bytes - sent:
            raise ConnectionResetError(f"a file ended after {sent + count} of {size_bytes} bytes")

    def note(self, session: str, size_bytes: int) -> None:
        """Remember what was sent last, for `delivery`."""
        self._session, self._sent_bytes = session, size_bytes

    def delivery(self, session: str) -> tuple[Delivery, int] | None:
        """How the segment before went out to this session, and its bytes; None when it was another line's."""
        if session != self._session:
            return None
        self._session = ""
        found = measure(self.transport, self._sent_bytes, 0.0)
        return None if found is None else (found, self._sent_bytes)
