"""What keys, seals and commitments are bound to, so that nothing of one round or member passes for another's."""

from __future__ import annotations

SEED, KEY = b"seed", b"key"
"""The two secrets of a member: of its own mask, and the private key of those that it shares."""


def sealing(round_id: str, owner: int, holder: int) -> bytes:
    """The purpose of the key that seals what `owner` gives to `holder`."""
    return f"toprung secagg+ seal {round_id} {owner} {holder}".encode()


def masking(round_id: str, one: int, other: int) -> bytes:
    """The purpose of the seed that two neighbours share, whichever asks."""
    return f"toprung secagg+ mask {round_id} {min(one, other)} {max(one, other)}".encode()


def committing(round_id: str, owner: int, holder: int, secret: bytes) -> bytes:
    """What a commitment to a share of one of the owner's secrets is about; of itself, to the whole secret."""
    return f"toprung secagg+ share {round_id} {owner} {holder} ".encode() + secret
