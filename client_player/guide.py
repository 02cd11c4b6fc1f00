"""Who decides what to play: the seam between the player and a server's session, or its own decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from abr.control import Download
from abr.enhancement import EnhancementTable
from abr.events import Decided, EventBatch
from abr.media import Title
from client_player.download import Reply
from client_player.manifest import Presentation


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the player knows of itself when it asks for a segment; see abr.control.Observation. owned: whole sha256."""

    now_s: float
    buffer_s: float
    buffer_max_s: float
    backlog_s: float
    playing: bool
    stalled: bool
    downloads: tuple[Download, ...]
    owned: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A decided segment and its bytes (without init). not_before_s: the next one is not to be asked for earlier.

    frames: how many it has, when the title does not know.
    """

    decided: Decided
    body: bytes = field(repr=False)
    init: bytes = field(repr=False)
    timing: Download
    not_before_s: float
    frames: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who hears of what a guide fetches besides segments. came: kind (`document` or `init`) and reply."""

    came: Callable[[str, Reply], None]
    failed: Callable[[str], None]


class Guide(Protocol):
    """Decides and delivers the video of one title. title_url is the title folder's, with a slash at its end."""

    title: Title
    table: EnhancementTable | None
    presentation: Presentation
    title_url: str

    async def segment(self, index: int, view: View) -> Served:
        """Raises DownloadError when it cannot be had."""
        ...

    async def post(self, batch: EventBatch) -> bool:
        """Deliver events; False when nobody takes them."""
        ...

    async def close(self) -> Sequence[Decided]:
        """Playing is over; returns the decisions as the one who took them logged them, if it did."""
        ...
