"""Masks: words that look random to all but those who know the seed, and that the same seed makes again."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
"""A vector of words modulo 2^32, the last axis its only one."""
WORD_BYTES = 4
_COUNTER_AND_NONCE = bytes(16)
"""Each key is used once, for one mask."""


def expand(seed: bytes, words: int) -> Words:
    """`words` uniform words: the stream of ChaCha20 (RFC 8439) under the key SHA-256(seed), little-endian."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

    cipher = Cipher(ChaCha20(sha256(seed).digest(), _COUNTER_AND_NONCE), mode=None)
    stream = cipher.encryptor().update(bytes(words * WORD_BYTES))
    return np.frombuffer(stream, dtype="<u4").astype(np.uint32)


def to_bytes(vector: Words) -> bytes:
    """As it travels: little-endian words."""
    return vector.astype("<u4").tobytes()


def from_bytes(body: bytes) -> Words:
    """The inverse of `to_bytes`; the length is the caller's to check."""
    return np.frombuffer(body, dtype="<u4").astype(np.uint32)
