"""What members and the server tell each other, as JSON. The masked vector alone travels as bare words.

Bytes are base64url without padding (RFC 4648, section 5), each of one length. A member is a number from 0, in the order
of joining.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

import msgspec
from msgspec import Meta

from abr.records import Record
from abr.secure_aggregation.degree import MEMBERS_MAX

KEY_BYTES = 32
COMMITMENT_BYTES = 24
SEALED_BYTES = 80
"""Two shares of 32 bytes each, and a tag of 16."""

Key = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
Share = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
Commitment = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{32}$")]
Sealed = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{107}$")]
MemberNumber = Annotated[int, Meta(ge=0, lt=MEMBERS_MAX)]


def to_text(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """The inverse of `to_text`, of text that has its field's pattern."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Keys(Record, frozen=True):
    """Stage 0, from a member: its public keys (X25519, RFC 7748), made for this round.

    seal_key: shares for it are sealed with it. mask_key: masks shared with it are made from it.
    """

    seal_key: Key
    mask_key: Key


class Neighbour(Record, frozen=True):
    """A neighbour and its public keys."""

    member: MemberNumber
    seal_key: Key
    mask_key: Key


class Roster(Record, frozen=True, tag_field="stage", tag="sharing"):
    """Stage 1, to a member: who its neighbours are, in rising order, among how many members."""

    members: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]
    member: MemberNumber
    threshold: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]
    neighbours: Annotated[tuple[Neighbour, ...], Meta(max_length=MEMBERS_MAX)]


class SealedShares(Record, frozen=True):
    """For one neighbour: the shares of both secrets, which it alone can open, and what they will be held against."""

    member: MemberNumber
    sealed: Sealed
    seed_commitment: Commitment
    key_commitment: Commitment


class Shares(Record, frozen=True):
    """Stage 1, from a member: sealed shares for all of its neighbours, and what its own mask's seed is held against."""

    seed_commitment: Commitment
    shares: Annotated[tuple[SealedShares, ...], Meta(max_length=MEMBERS_MAX)]


class ForwardedShare(Record, frozen=True):
    """What a neighbour has sealed for the member."""

    member: MemberNumber
    sealed: Sealed


class Forwarded(Record, frozen=True, tag_field="stage", tag="masking"):
    """Stage 2, to a member: the sealed shares of the neighbours that are still there. It masks with these alone."""

    shares: Annotated[tuple[ForwardedShare, ...], Meta(max_length=MEMBERS_MAX)]


class Survivors(Record, frozen=True, tag_field="stage", tag="opening"):
    """Stage 3, to a member: whose vector is in the sum, and who has gone without handing one in.

    survivors: of the whole round. stayed, gone: of the member's neighbours, in rising order.
    """

    survivors: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]
    stayed: Annotated[tuple[MemberNumber, ...], Meta(max_length=MEMBERS_MAX)]
    gone: Annotated[tuple[MemberNumber, ...], Meta(max_length=MEMBERS_MAX)]


class OpenedShare(Record, frozen=True):
    """One share of a neighbour's secret."""

    member: MemberNumber
    share: Share


class Openings(Record, frozen=True):
    """Stage 3, from a member: of those who stayed the shares of their own masks, of those gone that of their key."""

    seeds: Annotated[tuple[OpenedShare, ...], Meta(max_length=MEMBERS_MAX)]
    keys: Annotated[tuple[OpenedShare, ...], Meta(max_length=MEMBERS_MAX)]


class Summed(Record, frozen=True, tag_field="stage", tag="summed"):
    """To a member: the round is over, and the sum is known."""

    survivors: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]


class Abandoned(Record, frozen=True, tag_field="stage", tag="abandoned"):
    """To a member: the round came to nothing; nothing is known of any vector."""

    reason: str


ServerMessage = Roster | Forwarded | Survivors | Summed | Abandoned


def loads_message(data: bytes) -> ServerMessage:
    """A message of the server. Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=ServerMessage)
