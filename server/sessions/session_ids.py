"""Session ids: unguessable, signed, and enough to take a session up again when its state is lost.

An id is base64url of 12 random bytes, the session's beginnings as MessagePack, and 16 bytes of keyed BLAKE2b over both.
Forged ids are told without asking the store. The first PUBLIC_ID_CHARACTERS name the session in the store and in logs,
and are of no use without the rest.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from sys import intern

import msgspec

from abr.core.enhancement import Family
from abr.protocols.session_api import PUBLIC_ID_CHARACTERS
from server.sessions.state import SessionState

READ_MAX = 2048
"""Ids remembered as read; reading one costs some microseconds."""
_NONCE_BYTES, _TAG_BYTES = 12, 16
_PURPOSE = b"digest"
"""Keeps digests of what others give apart from the tags of ids."""
_ID = re.compile(r"[A-Za-z0-9_-]{40,264}")


class SessionSeed(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a session was opened with."""

    title: str
    controller: str
    families: tuple[Family, ...]
    profile: bytes
    buffer_max_s: float
    created_s: float
    arm: str = ""
    live: bool = False
    codec: str = ""

    def state(self) -> SessionState:
        """The session before its first segment."""
        return SessionState(**{name: getattr(self, name) for name in self.__struct_fields__})


class SessionIds:
    """Issues ids and reads its own. Servers that share sessions share the secret."""

    def __init__(self, secret: str = "") -> None:
        key = secret.encode() or secrets.token_bytes(32)
        self._key = hashlib.blake2b(key, digest_size=32).digest()
        self.read = lru_cache(maxsize=READ_MAX)(self._read)

    def issue(self, state: SessionState) -> str:
        """A new id for a session that begins as `state`."""
        begun = SessionSeed(**{name: getattr(state, name) for name in SessionSeed.__struct_fields__})
        payload = secrets.token_bytes(_NONCE_BYTES) + msgspec.msgpack.encode(begun)
        return urlsafe_b64encode(payload + self._tag(payload)).rstrip(b"=").decode()

    def digest(self, *parts: bytes) -> bytes:
        """16 bytes, evenly distributed, the same for all who share the secret; nobody else can tell them."""
        text = msgspec.msgpack.encode(parts)
        return hashlib.blake2b(text, key=self._key, digest_size=_TAG_BYTES, person=_PURPOSE).digest()

    def _read(self, session_id: str) -> SessionSeed | None:
        """What the session was opened with; None when the id is not one of ours."""
        if not _ID.fullmatch(session_id):
            return None
        try:
            sealed = urlsafe_b64decode(session_id + "=" * (-len(session_id) % 4))
            payload, tag = sealed[:-_TAG_BYTES], sealed[-_TAG_BYTES:]
            if not hmac.compare_digest(tag, self._tag(payload)):
                return None
            return msgspec.msgpack.decode(payload[_NONCE_BYTES:], type=SessionSeed)
        except ValueError:
            return None

    def _tag(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=self._key, digest_size=_TAG_BYTES).digest()


def store_key(session_id: str) -> str:
    """The name of a session in the store; one string for all who remember it."""
    return intern(session_id[:PUBLIC_ID_CHARACTERS])


def public_part(session_id: str) -> str:
    """The part of a session id that names the session in logs and metrics: knowing the rest is the right to use it."""
    return session_id[:PUBLIC_ID_CHARACTERS]
