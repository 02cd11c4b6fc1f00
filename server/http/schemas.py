"""The JSON that the server answers with.

Requests are SessionRequest (server.session_service) and EventBatch (abr.core.events).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from abr.core.enhancement import Family
from abr.opinions.collected import Score, Sitting
from abr.records import Record
from server.media.live_title import State


class Health(Record, frozen=True):
    """Answer to GET /healthz."""

    status: str
    version: str


class Index(Record, frozen=True):
    """Where to go from here."""

    name: str
    version: str
    titles: str
    openapi: str
    metrics: str
    qoe: str


class TitleLine(Record, frozen=True, omit_defaults=True):
    """One title of the library. live: absent for prepared titles; duration_s is then what can be watched now."""

    id: str
    duration_s: float
    manifest_url: str
    hls_url: str
    live: State | None = None


class TitleList(Record, frozen=True, omit_defaults=True):
    """Answer to GET /titles."""

    titles: tuple[TitleLine, ...]
    next_url: str | None = None
    """Where the next page is; absent after the last one."""


class SessionOpened(Record, frozen=True):
    """Answer to POST /sessions; URLs are absolute paths, below the prefix of a proxy if there is one."""

    id: str
    title: str
    manifest_url: str
    hls_url: str
    advised_url: str
    """A standard manifest, of all renditions, whose segments carry advice (CMSD `mb`); `master.m3u8` is beside it."""
    title_url: str
    """Its `title.json`, which weights lie beside, absolute when a CDN sends them; or a live title's `tables.json`."""
    expires_s: float
    controller: str
    """Who decides."""
    live: bool = False
    codec: str = ""
    """Of all pictures that the session sends: h264, hevc or av1. Empty for a title whose codec the server knows not."""
    rate_url: str = ""
    """Where the viewer may say what it was like; empty where nobody is asked."""


class DecidedSegment(Record, frozen=True):
    """A decision without its bytes, for those who accept JSON only.

    url: where these are, the same for all viewers: absolute at a CDN, else a path as in SessionOpened. size_bytes: null
    of a live segment that is under way.
    """

    rendition: str
    enhancer: str
    promised_vmaf: float
    promised_quality: float
    wait_s: float
    reason: str
    url: str
    size_bytes: int | None


class OptionView(Record, frozen=True):
    """What was chosen for one segment (0-based)."""

    segment: int
    rendition: str
    enhancer: str


class SessionView(Record, frozen=True):
    """A session as the server remembers it."""

    id: str
    title: str
    controller: str
    arm: str
    """Of the experiment that the viewer was drawn into; empty outside of one."""
    families: tuple[Family, ...]
    codec: str
    has_profile: bool
    buffer_max_s: float
    age_s: float
    options: int
    """How many (rendition, enhancer) pairs this viewer is offered."""
    choices: tuple[OptionView, ...]
    """Choices that are still remembered, by segment."""
    throughput_bps: float | None
    """Of the downloads remembered, bytes over time; None before the first."""


class RatingPairs(Record, frozen=True):
    """Answer to GET /rate/pairs: files below /rate/clips/, to be shown two by two."""

    set: str
    pairs: tuple[tuple[str, str], ...]


class ClipScore(Record, frozen=True):
    """A clip and its score, 1 bad to 5 excellent."""

    clip: Annotated[str, Meta(max_length=64)]
    score: Score


class OpinionPosted(Record, frozen=True):
    """Body of POST /rate/opinions: of one or two clips, or of a film. sitting: drawn at random by the page.

    sessions: those in which the viewer watched it, in order.
    """

    sitting: Sitting
    clips: Annotated[tuple[ClipScore, ...], Meta(max_length=2)] = ()
    sessions: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(max_length=8)] = ()
    score: Score | None = None
