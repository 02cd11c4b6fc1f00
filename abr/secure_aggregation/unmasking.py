"""The last step of a round: secrets put together from shares, and their masks taken off the sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from abr.errors import FormatError
from abr.secure_aggregation import labels, secrets
from abr.secure_aggregation.masks import Words, expand


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A member whose secret is opened, by the shares at these points.

    masked_with: its neighbours whose vectors are in the sum. mask_key: its public key. seed_commitment: what the seed
    of its own mask is held against.
    """

    member: int
    mask_key: bytes
    seed_commitment: bytes
    points: Mapping[int, bytes]
    masked_with: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmasking:
    """All that is needed to compute the sum; it takes seconds for long vectors, so it may run in a thread.

    total: the sum under masks. stayed: their own masks come off. gone: what their neighbours masked with them comes
    off. mask_keys: public keys of all who had shared.
    """

    round_id: str
    total: Words
    stayed: tuple[Opened, ...]
    gone: tuple[Opened, ...]
    mask_keys: Mapping[int, bytes]

    def compute(self) -> Words:
        """The sum of the survivors' vectors, modulo 2^32. Raises FormatError when a member had lied in its shares."""
        total = self.total.copy()
        for opened in self.stayed:
            seed = secrets.combine(opened.points)
            about = labels.committing(self.round_id, opened.member, opened.member, labels.SEED)
            if secrets.commit(seed, about) != opened.seed_commitment:
                raise FormatError("A seed put together from shares is not the one that was committed to.")
            total -= expand(seed, len(total))
        for opened in self.gone:
            private = secrets.combine(opened.points)
            if secrets.key_pair_of(private).public != opened.mask_key:
                raise FormatError("A private key put together from shares is not that of the public key.")
            for other in opened.masked_with:
                purpose = labels.masking(self.round_id, opened.member, other)
                shared = expand(secrets.agree(private, self.mask_keys[other], purpose), len(total))
                total = total - shared if other < opened.member else total + shared
        return total
