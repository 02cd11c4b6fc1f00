"""The cryptography that a round rests on, each piece from a kept library: X25519, HKDF, AEAD, Shamir's sharing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from abr.errors import FormatError
from abr.extras import require
from abr.secure_aggregation.messages import COMMITMENT_BYTES, KEY_BYTES

_CHUNK_BYTES = 16
"""Of a secret, what one polynomial over GF(2^128) shares."""
_NONCE = bytes(12)


def load_libraries() -> None:
    """Import them now rather than in the middle of a round: that reads files. Raises MissingExtraError."""
    require("Private telemetry", "private")
    importlib.import_module("Crypto.Protocol.SecretSharing")
    agree(_PROBE, make_key_pair().public, b"load")
    seal(_PROBE, b"", b"")
    importlib.import_module("cryptography.hazmat.primitives.ciphers")


class KeyPair(NamedTuple):
    """X25519 (RFC 7748): 32 bytes each."""

    private: bytes
    public: bytes


def make_key_pair() -> KeyPair:
    """A fresh one, from the system's entropy."""
    return key_pair_of(os.urandom(KEY_BYTES))


def key_pair_of(private: bytes) -> KeyPair:
    """The pair with this private key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return KeyPair(private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())


def check_public_key(public: bytes) -> None:
    """Raises FormatError for a key that makes every agreement with it known to all (RFC 7748, section 6.1)."""
    agree(_PROBE, public, b"check")


def agree(private: bytes, public: bytes, purpose: bytes) -> bytes:
    """32 bytes that only the two owners know: X25519, then HKDF with SHA-256 (RFC 5869). Raises FormatError."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise FormatError("A public key is not one of X25519.") from error
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(shared)


def seal(key: bytes, text: bytes, about: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439) under a key that seals this one text; `about` is bound to it."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key).encrypt(_NONCE, text, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes | None:
    """The inverse of `seal`; None for what was not sealed with this key about this."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed, about)
    except InvalidTag:
        return None


def split(secret: bytes, threshold: int, holders: Sequence[int]) -> Mapping[int, bytes]:
    """Shamir's shares of 32 bytes, one for each holder; `threshold` of them give the secret, fewer give nothing.

    The point of a holder is its place in the sequence plus one.
    """
    from Crypto.Protocol.SecretSharing import Shamir

    shares = dict.fromkeys(holders, b"")
    for start in range(0, len(secret), _CHUNK_BYTES):
        points = Shamir.split(threshold, len(holders), secret[start : start + _CHUNK_BYTES])
        for holder, (_, share) in zip(holders, points, strict=True):
            shares[holder] += share
    return shares


def combine(points: Mapping[int, bytes]) -> bytes:
    """The secret of which `points` has exactly `threshold` shares, by point."""
    from Crypto.Protocol.SecretSharing import Shamir

    secret = b""
    for start in range(0, KEY_BYTES, _CHUNK_BYTES):
        chunk = [(point, share[start : start + _CHUNK_BYTES]) for point, share in points.items()]
        secret += Shamir.combine(chunk)
    return secret


def commit(share: bytes, about: bytes) -> bytes:
    """What a share or secret is held against when it is handed in. Both are uniformly random, so this hides them."""
    return sha256(about + share).digest()[:COMMITMENT_BYTES]


_PROBE = sha256(b"toprung: any private key").digest()
