"""Where decided segments come from: a server's session, or the player's own decisions on a standard manifest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from abr.core.control import Download
from abr.core.enhancement import EnhancementTable
from abr.core.events import Decided, EventBatch
from abr.core.live.learning import LiveLearning
from abr.core.title import Title
from client_player.source.mpd import Presentation
from client_player.transport.http import DownloadError, HttpReply


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayerView:
    """The player's state when it asks for a segment; see abr.core.control.Observation.

    owned: sha256 (64 hex digits) of each weights chunk that was downloaded. frame_ms: what a frame took here, by
    architecture and input size (`client_player.source.speed_drift`).
    """

    now_s: float
    buffer_s: float
    buffer_max_s: float
    backlog_s: float
    playing: bool
    stalled: bool
    downloads: tuple[Download, ...]
    owned: tuple[str, ...]
    frame_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMoment:
    """When a segment's first picture was in front of the camera, in session time, and how far behind to keep."""

    captured_s: float
    target_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableSegment:
    """The segment to be played next. media_s: where it begins in the title, or in the stream.

    live: of a live stream. grows: it may come while it is made. hidden_frames: at its beginning, which are not shown.
    """

    segment: int
    frames: int
    duration_s: float
    media_s: float
    live: LiveMoment | None = None
    grows: bool = False
    hidden_frames: int = 0


async def title_segments(title: Title) -> AsyncIterator[PlayableSegment]:
    """All segments of a title, from the first to the last."""
    media_s = 0.0
    for segment, (frames, duration_s) in enumerate(zip(title.segment_frames, title.segment_duration_s, strict=True)):
        yield PlayableSegment(segment=segment, frames=frames, duration_s=duration_s, media_s=media_s)
        media_s += duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedSegment:
    """A decided segment and its bytes (without init). not_before_s: the next one is not to be asked for earlier.

    frames: how many it has, when the title does not know.
    """

    decided: Decided
    body: bytes = field(repr=False)
    init: bytes = field(repr=False)
    timing: Download
    not_before_s: float
    frames: int | None = None


class GrowingSegment(Protocol):
    """A decided segment of a live stream that comes while it is made. decided.size_bytes: what is usual."""

    @property
    def decided(self) -> Decided:
        """The decision."""
        ...

    @property
    def init(self) -> bytes:
        """The init segment."""
        ...

    def parts(self) -> AsyncGenerator[bytes]:
        """Its parts (without init), as they come. Raises DownloadError when it breaks off."""
        ...

    def timing(self) -> Download:
        """After the last part: as if all of it had been there from the beginning."""
        ...


class AbsentSegmentError(DownloadError):
    """A segment is not there yet, or will never be: the source's segments go on from what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceListener:
    """What a source calls for downloads besides segments.

    on_reply gets the kind (`document` or `init`) and the reply; on_failure gets the error of each failed try; on_learnt
    hears when a live stream offers newer networks that have learnt it.
    """

    on_reply: Callable[[str, HttpReply], None]
    on_failure: Callable[[str], None]
    on_learnt: Callable[[LiveLearning], None] = lambda _learning: None


class Source(Protocol):
    """Decides and downloads the video of one title. title_url: URL of the title folder, with a slash at its end.

    Of a live stream the title has one usual segment, and table and presentation change while it runs.
    """

    title: Title
    table: EnhancementTable | None
    presentation: Presentation
    title_url: str

    def segments(self) -> AsyncIterator[PlayableSegment]:
        """The segments to be played, in order; waits for those that are not there yet."""
        ...

    async def fetch_segment(self, index: int, view: PlayerView) -> ServedSegment | GrowingSegment:
        """Decide segment `index` (from 0) and download it, or begin to.

        Raises DownloadError when that fails; of a live stream AbsentSegmentError, when it is not there after all.
        """
        ...

    async def post_events(self, batch: EventBatch) -> bool:
        """Send events to the server; False when it does not take them."""
        ...

    async def fetch_decisions(self) -> Sequence[Decided]:
        """After playing: the decisions as the server logged them, or none."""
        ...
