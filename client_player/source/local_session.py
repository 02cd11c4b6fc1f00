"""A session without a server's decisions: any standard manifest, decided here by the same controllers and menus.

A Toprung title brings its own tables. For any other manifest they are assumed (`client_player.source.assumed_title`),
so nothing is enhanced and the promised quality means little.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urljoin

from abr.controllers import HORIZON, make_controller
from abr.controllers.guard import decide
from abr.core.control import Controller, Observation
from abr.core.device import DeviceProfile
from abr.core.enhancement import ENHANCEMENTS_FILE, PLAIN, Currency, EnhancementTable, Family
from abr.core.events import Decided, EventBatch, seen_of
from abr.core.options import Choice, PriceList, menu_of
from abr.core.title import TITLE_FILE, Title
from abr.errors import FormatError
from abr.opinions.fitted import FittedQoe
from abr.opinions.scales import CountedQuality
from abr.records import loads
from client_player.decoder import count_frames
from client_player.source.assumed_title import assume_title
from client_player.source.base import PlayableSegment, PlayerView, ServedSegment, SourceListener, title_segments
from client_player.source.codec_choice import in_one_codec, ladder_with
from client_player.source.mpd import MANIFEST_MAX_BYTES, Presentation, loads_mpd
from client_player.source.speed_drift import correct_profile, describe_correction
from client_player.source.title_checks import check_title
from client_player.transport.http import (
    DOCUMENT_MAX_BYTES,
    DownloadError,
    RetryPolicy,
    Transport,
    get_with_retries,
    run_both,
)
from client_player.worker_thread import WorkerThread

T = TypeVar("T")

_ONCE = RetryPolicy(tries=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRequest:
    """What to play and how to decide. controller: a registered name or `path/to/file.py:Class`."""

    manifest_url: str
    controller: str
    profile: DeviceProfile | None
    families: Sequence[Family]
    currency: Currency = Currency.TRUSTED
    qoe: FittedQoe | None = None
    """Learnt from people; quality then counts in its points."""
    codecs: Sequence[str] = ()
    """Which the player decodes; empty: all."""


@dataclass(slots=True, kw_only=True)
class LocalSource:
    """A session that the player decides. Make it with `open_local`.

    has_own_tables: the title brought title.json; without it sizes and quality are assumed.
    """

    request: LocalRequest
    presentation: Presentation
    title: Title
    table: EnhancementTable | None
    has_own_tables: bool
    transport: Transport
    listener: SourceListener
    title_url: str = ""
    _profile: DeviceProfile | None = field(init=False)
    """Of the device as this session has seen it."""
    _prices: PriceList = field(init=False)
    _controller: Controller = field(init=False)
    _last: Choice | None = None
    _memory: tuple[float, ...] = ()
    _inits: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.title_url = urljoin(self.request.manifest_url, ".")
        self._controller = make_controller(self.request.controller)
        self._profile = self.request.profile
        self._prices = self._priced()

    def _priced(self) -> PriceList:
        request = self.request
        options = CountedQuality(request.currency, request.qoe).options(self.title, self.table)
        return options.price(self._profile, families=request.families)

    def _correct(self, frame_ms: Mapping[str, float]) -> str:
        """Price anew what takes another time than was thought. Returns what that is, in words."""
        if self._profile is None or not (changed := describe_correction(self._profile, frame_ms)):
            return ""
        self._profile = correct_profile(self._profile, frame_ms)
        self._prices = self._priced()
        return f" (priced anew: {changed})"

    def segments(self) -> AsyncIterator[PlayableSegment]:
        """See Source."""
        return title_segments(self.title)

    async def fetch_segment(self, index: int, view: PlayerView) -> ServedSegment:
        """Decide, wait as decided, then fetch. When that fails, the lowest rendition's segment is fetched instead."""
        decided = self._decide(index, view)
        await asyncio.sleep(decided.wait_s)
        level = self._rendition_index(decided.rendition)
        try:
            return await self._fetch(index, level, decided)
        except DownloadError:
            if level == 0:
                raise
        lowest = self.title.renditions[0]
        fallback = Decided(
            t_s=decided.t_s,
            segment=index,
            rendition=lowest.id,
            enhancer=PLAIN,
            wait_s=decided.wait_s,
            reason=f"{decided.rendition} cannot be had, so the lowest rung plays",
            promised_vmaf=self.title.plain_quality[lowest.id].vmaf[index],
            size_bytes=lowest.segment_bytes[index],
        )
        self._last = Choice(rendition=0)
        return await self._fetch(index, 0, fallback)

    def _decide(self, index: int, view: PlayerView) -> Decided:
        corrected = self._correct(view.frame_ms)
        menu = menu_of(self._prices, index, HORIZON, frozenset(view.owned))
        observation = Observation(
            now_s=view.now_s,
            menu=menu,
            buffer_s=view.buffer_s,
            buffer_max_s=view.buffer_max_s,
            backlog_s=view.backlog_s,
            playing=view.playing,
            downloads=view.downloads,
            last=self._last,
            memory=self._memory,
        )
        decision = decide(self._controller, observation)
        choice = menu.choices[decision.option]
        self._last, self._memory = choice, decision.memory
        return Decided(
            t_s=view.now_s,
            segment=index,
            rendition=self._prices.rendition_ids[choice.rendition],
            enhancer=choice.enhancer,
            wait_s=decision.wait_s,
            reason=f"{decision.reason}{corrected}"[:1024],
            promised_vmaf=float(menu.vmaf[0, decision.option]),
            promised_quality=self._prices.shown_quality(index, decision.option),
            size_bytes=int(menu.size_bytes[0, decision.option]),
            seen=seen_of(observation, view.owned),
        )

    async def _fetch(self, index: int, level: int, decided: Decided) -> ServedSegment:
        url = self.presentation.video[level].segments[index].url
        reply, _ = await run_both(
            get_with_retries(self.transport, url, on_failure=self.listener.on_failure), self._fetch_init(level)
        )
        frames = None
        if not self.has_own_tables:
            with WorkerThread("count") as compute:
                frames = await compute.run(count_frames, self._inits[level] + reply.body) or None
        return ServedSegment(
            decided=decided,
            body=reply.body,
            init=self._inits[level],
            timing=reply.timing,
            not_before_s=0.0,
            frames=frames,
        )

    async def _fetch_init(self, level: int) -> None:
        if level not in self._inits:
            url = self.presentation.video[level].init_url
            init = await get_with_retries(self.transport, url, on_failure=self.listener.on_failure)
            self.listener.on_reply("init", init)
            self._inits[level] = init.body

    def _rendition_index(self, rendition: str) -> int:
        return [known.id for known in self.title.renditions].index(rendition)

    async def post_events(self, batch: EventBatch) -> bool:
        """There is no server that takes events; that is no failure."""
        return True

    async def fetch_decisions(self) -> Sequence[Decided]:
        """See Source: no server logged any."""
        return []


async def open_local(request: LocalRequest, *, transport: Transport, listener: SourceListener) -> LocalSource:
    """Fetch the manifest, and the title's own tables if they lie beside it. Raises DownloadError, FormatError."""
    enhancing = request.profile is not None and bool(request.families)

    def fetch_tables(manifest_url: str) -> Coroutine[Any, Any, tuple[Title | None, EnhancementTable | None]]:
        return run_both(
            _get_optional(transport, listener, urljoin(manifest_url, TITLE_FILE), Title),
            _get_optional(
                transport, listener, urljoin(manifest_url, ENHANCEMENTS_FILE), EnhancementTable, ask=enhancing
            ),
        )

    manifest, (title, table) = await run_both(
        get_with_retries(transport, request.manifest_url, max_bytes=MANIFEST_MAX_BYTES, on_failure=listener.on_failure),
        fetch_tables(request.manifest_url),
    )
    listener.on_reply("document", manifest)
    if manifest.url != request.manifest_url:  # it was moved, and what belongs to it lies where it is now
        request = replace(request, manifest_url=manifest.url)
        title, table = await fetch_tables(manifest.url)
    presentation = in_one_codec(loads_mpd(manifest.body, request.manifest_url), request.codecs, request.profile)
    if title is not None:
        title = ladder_with(title, presentation.video[0].id)
        check_title(title, urljoin(request.manifest_url, TITLE_FILE))
        _check_same_title(title, presentation, request.manifest_url)
    return LocalSource(
        request=request,
        presentation=presentation,
        title=title or assume_title(presentation, request.manifest_url),
        table=table if title is not None else None,
        has_own_tables=title is not None,
        transport=transport,
        listener=listener,
    )


async def _get_optional(
    transport: Transport, listener: SourceListener, url: str, kind: type[T], *, ask: bool = True
) -> T | None:
    if not ask:
        return None
    try:
        reply = await get_with_retries(transport, url, max_bytes=DOCUMENT_MAX_BYTES, retries=_ONCE)
    except DownloadError as error:
        if error.status in (403, 404):
            return None
        raise
    listener.on_reply("document", reply)
    return loads(reply.body, kind, what=url)


def _check_same_title(title: Title, presentation: Presentation, url: str) -> None:
    ours = [(rendition.id, len(title.segment_frames)) for rendition in title.renditions]
    theirs = [(track.id, len(track.segments)) for track in presentation.video]
    if ours != theirs:
        raise FormatError(f"{url} and the {TITLE_FILE} beside it do not belong together: {theirs} and {ours}.")
