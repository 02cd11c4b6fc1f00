"""One viewer's connection, as the fast path writes to it."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Protocol

from server.media.descriptor import OpenFile
from server.sessions.tcp_info import MeasuredDelivery, measure_delivery


class SendTimeout(Protocol):
    """How long a viewer may take for so many bytes, in seconds."""

    def __call__(self, size_bytes: int) -> float:
        """Seconds that sending so many bytes may take."""
        ...


class SocketWriter:
    """Writes past asyncio's buffer while that is empty: head and body go straight into the socket."""

    def __init__(self, transport: asyncio.Transport, timeout_s: SendTimeout, *, is_trusted: bool = False) -> None:
        """is_trusted: a reverse proxy of ours is at the other end."""
        self.transport = transport
        self.is_trusted = is_trusted
        self._timeout_s = timeout_s
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").fileno())
        self._socket.setblocking(False)
        self.has_begun = False
        """An answer has begun: whatever goes wrong now, no other can be given."""
        self._session = ""
        self._sent_bytes = 0

    def release(self) -> None:
        """The socket is asyncio's; it closes it."""
        self._socket.detach()

    async def send(self, head: bytes, body: bytes | OpenFile, size_bytes: int) -> None:
        """To the last byte. ConnectionError when the viewer is gone, takes no bytes, or the file ends early."""
        if isinstance(body, bytes):
            self.write(head, body)
            return
        self.has_begun = True
        sent = 0
        if self._send_head(head):
            sent = self._send_file(body, size_bytes)
        if sent < size_bytes:
            await self._send_rest(body, sent, size_bytes)

    def write(self, head: bytes, body: bytes) -> None:
        """Both at once, without making one of them; what the socket does not take is asyncio's to write."""
        self.has_begun = True
        try:
            sent = self._socket.sendmsg((head, body))
        except BlockingIOError:
            sent = 0
        if sent < len(head):
            self.transport.write(head[sent:] + body)
        elif sent < len(head) + len(body):
            self.transport.write(memoryview(body)[sent - len(head) :])

    def _send_head(self, head: bytes) -> bool:
        """False when not all of it went at once: the rest is asyncio's to write."""
        try:
            done = self._socket.send(head, socket.MSG_MORE)
        except BlockingIOError:
            done = 0
        if done < len(head):
            self.transport.write(head[done:])
        return done == len(head)

    def _send_file(self, body: OpenFile, size_bytes: int) -> int:
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

    async def _send_rest(self, body: OpenFile, sent: int, size_bytes: int) -> None:
        loop, limit_s = asyncio.get_running_loop(), self._timeout_s(size_bytes)
        timer = loop.call_later(limit_s, self.transport.abort)
        try:
            count = await loop.sendfile(self.transport, body, sent, size_bytes - sent)  # type: ignore[arg-type]
        except RuntimeError as error:  # the transport was closed meanwhile
            raise ConnectionResetError("the viewer went away") from error
        finally:
            timer.cancel()
        if count != size_bytes - sent:
            raise ConnectionResetError(f"a file ended after {sent + count} of {size_bytes} bytes")

    def note_segment(self, session: str, size_bytes: int) -> None:
        """Remember what was sent last, for `take_delivery`."""
        self._session, self._sent_bytes = session, size_bytes

    def take_delivery(self, session: str) -> MeasuredDelivery | None:
        """How the segment before went out to this session, told once; None when another connection sent it."""
        if session != self._session:
            return None
        self._session = ""
        return measure_delivery(self.transport, self._sent_bytes, 0.0)
