"""What a node asks of the others on its site. A node that is alone, or has lost the others, works for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol


class Site(Protocol):
    """The nodes that share one line and one audience. Keys are those of the cache."""

    @property
    def is_shared(self) -> bool:
        """Whether the others can be reached just now."""
        ...

    async def find(self, key: str) -> bytes | None:
        """A file that another node has, whole and checked; None where no other has it, or none can be reached."""
        ...

    async def claim(self, key: str) -> bool:
        """Whether this node is to make the file: no other makes it, and no other has it. `release` gives it back."""
        ...

    async def release(self, key: str, *, is_here: bool) -> None:
        """This node no longer makes the file. is_here: others may have it from here."""
        ...

    async def until_released(self, key: str) -> None:
        """Waits while another node makes the file, for as long as that node lives."""
        ...

    async def agree(self, key: str, decided: bytes) -> bytes:
        """What the site has decided of a segment: what another node did before, or else this."""
        ...

    async def decided(self, key: str) -> bytes | None:
        """What the site has decided of a segment, if anything."""
        ...

    async def revise(self, key: str, decided: bytes) -> None:
        """Something else was decided of a segment."""
        ...


class Alone:
    """A site of one node. See Site."""

    is_shared = False

    async def find(self, key: str) -> bytes | None:
        """See Site."""
        return None

    async def claim(self, key: str) -> bool:
        """See Site."""
        return True

    async def release(self, key: str, *, is_here: bool) -> None:
        """See Site."""

    async def until_released(self, key: str) -> None:
        """See Site."""

    async def agree(self, key: str, decided: bytes) -> bytes:
        """See Site."""
        return decided

    async def decided(self, key: str) -> bytes | None:
        """See Site."""
        return None

    async def revise(self, key: str, decided: bytes) -> None:
        """See Site."""


@asynccontextmanager
async def made_once(site: Site, key: str) -> AsyncIterator[bytes | None]:
    """The file of another node, waited for if one is making it; None where the block has to make it, for all."""
    while (body := await site.find(key)) is None and not await site.claim(key):
        await site.until_released(key)
    is_here = False
    try:
        yield body
        is_here = True
    finally:
        await site.release(key, is_here=is_here)
