"""One title being watched: what to fetch of it, decided once for all viewers, and fetched ahead of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field

from abr.controllers import HORIZON
from abr.controllers.guard import decide
from abr.core.control import Download, Observation
from abr.core.enhancement import PLAIN
from abr.core.options import Choice, menu_of
from abr.core.title import segment_file
from abr.errors import FormatError, ToprungError
from abr.records import dumps, loads
from client_player.edge.accounting.balance import Loss
from client_player.edge.choice import EdgeChoice, best_lift, choose
from client_player.edge.origin.mirror import DOCUMENT_WORTH
from client_player.edge.origin.titles import MirroredTitle
from client_player.edge.playheads import Playheads, Viewer
from client_player.edge.title_lifts import TitleLifts
from client_player.edge.workshop import Workshop
from client_player.transport.http import merge_downloads, run_both
from server.concurrency.shared_task import SharedTasks

AHEAD_S = 30.0
"""Media that is fetched and lifted ahead of each viewer: what a player would hold in its buffer."""
REST_S = 0.5
"""How long a title rests when there is nothing to do, or the origin is away."""

log = logging.getLogger("toprung.edge")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentAnswer:
    """A segment for a viewer. form: lifted, plain as it was decided, or late: plain since the lift is not there."""

    body: bytes = field(repr=False)
    form: str
    choice: EdgeChoice


class TitleFeed:
    """A title, its viewers, and what was decided of its segments."""

    def __init__(self, title: MirroredTitle, shop: Workshop) -> None:
        self.title, self._shop = title, shop
        self.playheads = Playheads(title.start_s)
        self.lifts = TitleLifts(title, shop, self.playheads)
        self._preparing = SharedTasks[EdgeChoice]()
        self._choices: dict[int, EdgeChoice] = {}
        self._last: Choice | None = None
        self._memory: tuple[float, ...] = ()

    @property
    def rendition(self) -> int:
        """What was last decided to come over the backhaul; the lowest before that."""
        return self._last.rendition if self._last is not None else 0

    async def answer(self, segment: int, viewer: Viewer) -> SegmentAnswer:
        """The best that there is of a segment by the time that the viewer needs it.

        Raises OriginAwayError, DownloadError when there is nothing of it.
        """
        choice = await self._prepare_once(segment, viewer.buffer_at(self._shop.clock.now_s()))
        choice = await self._improve(segment, choice)
        if choice.lifts:
            if not await self.lifts.have(segment, choice):
                await self.lifts.wait(segment, choice, viewer)
            if (body := await self._shop.cache.get(self.lifts.key(segment))) is not None:
                return SegmentAnswer(body=body, form="lifted", choice=choice)
        plain = await self._shop.mirror.lasting(self._video_path(segment, choice), "video")
        is_late = choice.lifts and self.lifts.can_lift(segment)
        return SegmentAnswer(body=plain.body, form="late" if is_late else "plain", choice=choice)

    async def feed(self) -> None:
        """Do the next thing that viewers need: fetch a segment ahead of them, or order a lift. Else rest."""
        shop = self._shop
        for due_s, segment in self.playheads.wanted(shop.clock.now_s(), AHEAD_S):
            choice = self._choices.get(segment)
            if choice is None or not self._is_here(segment, choice):
                try:
                    await self._prepare_once(segment, due_s - shop.clock.now_s())
                    return
                except ToprungError as error:
                    log.info("%s, segment %d: %s", self.title.title.id, segment, error)
                    break
            choice = await self._improve(segment, choice)
            if choice.lifts and not await self.lifts.have(segment, choice):
                self.lifts.order(segment, choice)
        await asyncio.sleep(REST_S)

    async def prepare_ahead(self, segment: int) -> EdgeChoice:
        """Decide and fetch a segment for who will come some time; it is lifted if its bytes can be, at no cost of line.

        Raises OriginAwayError, DownloadError.
        """
        choice = await self._prepare_once(segment, AHEAD_S)
        return await self._lift_further(segment, choice)

    def take_over(self, before: TitleFeed) -> None:
        """Go on where the feed of the same media was, whose tables were others: what was decided stays so."""
        self.playheads, self._choices = before.playheads, before._choices
        self.lifts = TitleLifts(self.title, self._shop, self.playheads)
        self._last, self._memory = before._last, before._memory

    async def close(self) -> None:
        """Give up what is under way."""
        await self._preparing.close()
        await self.lifts.close()

    async def _prepare_once(self, segment: int, buffer_s: float) -> EdgeChoice:
        """Decide a segment and have its bytes here, once however many ask.

        buffer_s: media seconds until it is played. Raises OriginAwayError, DownloadError.
        """
        if (known := self._choices.get(segment)) is not None and self._is_here(segment, known):
            return known
        return await self._preparing.run(segment, lambda: self._prepare(segment, buffer_s))

    async def _prepare(self, segment: int, buffer_s: float) -> EdgeChoice:
        choice = self._choices.get(segment) or await self._decided_before(segment)
        choice = choice or await self._agree(segment, await self._decide(segment, buffer_s))
        is_lifted = choice.lifts and await self.lifts.have(segment, choice)
        await self._fetch(segment, choice)
        self._choices[segment] = choice
        if self._choice_key(segment) not in self._shop.cache:
            await self._keep(segment, choice)
        if choice.lifts and not is_lifted:
            self.lifts.order(segment, choice)
        return choice

    async def _improve(self, segment: int, choice: EdgeChoice) -> EdgeChoice:
        """A segment that was sent as it came, to somebody who could not wait, is lifted for those who come after."""
        return await self._lift_further(segment, choice) if self.playheads.was_sent(segment) else choice

    async def _lift_further(self, segment: int, choice: EdgeChoice) -> EdgeChoice:
        if choice.lifts or not self.lifts.can_lift(segment):
            return choice
        pricing = self._shop.pricing
        better = best_lift(pricing.prices(self.title), segment, choice, self.lifts.weights.owned)
        if better is None:
            return choice
        await self._keep(segment, better)
        await self._shop.site.revise(self._choice_key(segment), dumps(better))
        return better

    async def _keep(self, segment: int, choice: EdgeChoice) -> None:
        self._choices[segment] = choice
        await self._shop.cache.put(self._choice_key(segment), dumps(choice), DOCUMENT_WORTH)

    async def _decide(self, segment: int, buffer_s: float) -> EdgeChoice:
        """By the node's controller, as a player would ask it. In a thread, since it may compute a plan first."""
        pricing, can_lift = self._shop.pricing, self.lifts.can_lift(segment)
        prices = pricing.prices(self.title) if can_lift else pricing.plain_prices(self.title)
        menu = menu_of(prices, segment, HORIZON, self.lifts.weights.owned)
        observation = Observation(
            now_s=self._shop.clock.now_s(),
            menu=menu,
            buffer_s=min(max(0.0, buffer_s), AHEAD_S),
            buffer_max_s=AHEAD_S,
            backlog_s=self._shop.queue.backlog_s,
            playing=buffer_s > 0,
            downloads=tuple(self._shop.downloads),
            last=self._last,
            memory=self._memory,
        )
        decision = await asyncio.to_thread(decide, self._shop.controller, observation)
        self._last, self._memory = menu.choices[decision.option], decision.memory
        choice = choose(menu, decision, prices.rendition_ids)
        pricing.take(self.title, choice.work_s / self.title.title.segment_duration_s[segment])
        loss = self._shop.ledger.loss
        if loss is None and self._last.enhancer != PLAIN and not choice.lifts:
            loss = Loss.GAIN
        if loss is not None:
            self._shop.metrics.declined.labels(str(loss)).inc()
        return choice

    async def _decided_before(self, segment: int) -> EdgeChoice | None:
        """What an earlier process decided, or another node."""
        key = self._choice_key(segment)
        return self._read(await self._shop.cache.get(key)) or self._read(await self._shop.site.decided(key))

    async def _agree(self, segment: int, mine: EdgeChoice) -> EdgeChoice:
        """One decision for the site: the first."""
        return self._read(await self._shop.site.agree(self._choice_key(segment), dumps(mine))) or mine

    def _read(self, kept: bytes | None) -> EdgeChoice | None:
        try:
            choice = loads(kept, EdgeChoice, what="A decided segment") if kept is not None else None
        except FormatError:
            return None
        is_known = choice is not None and choice.rendition in {each.id for each in self.title.title.renditions}
        return choice if is_known else None

    async def _fetch(self, segment: int, choice: EdgeChoice) -> None:
        """The segment's bytes, unless it is lifted already, and the sound that goes with it, as one download."""
        is_lifted = choice.lifts and self.lifts.key(segment) in self._shop.cache
        picture = None if is_lifted else self._video_path(segment, choice)
        came = await run_both(self._get(picture, "video"), self._get_sound(segment))
        if downloads := [timing for timing in came if timing is not None]:
            self._shop.downloads.append(merge_downloads(downloads[0], downloads[1:]))

    async def _get(self, path: str | None, kind: str) -> Download | None:
        return (await self._shop.mirror.lasting(path, kind)).timing if path else None

    async def _get_sound(self, segment: int) -> Download | None:
        """Pictures do not wait for a sound that cannot be had."""
        with suppress(ToprungError):
            return await self._get(self._sound_path(segment), "sound")
        return None

    def _is_here(self, segment: int, choice: EdgeChoice) -> bool:
        cache, sound = self._shop.cache, self._sound_path(segment)
        is_lifted = choice.lifts and self.lifts.key(segment) in cache
        return (is_lifted or self._video_path(segment, choice) in cache) and (sound is None or sound in cache)

    def _video_path(self, segment: int, choice: EdgeChoice) -> str:
        return f"{self.title.key}video/{choice.rendition}/{segment_file(segment)}"

    def _sound_path(self, segment: int) -> str | None:
        """Of the track that plays unless asked; None where it has ended, or there is none."""
        track = next(iter(self.title.title.audio), None)
        if track is None or segment >= len(track.segment_bytes):
            return None
        return f"{self.title.key}audio/{track.id}/{segment_file(segment)}"

    def _choice_key(self, segment: int) -> str:
        return f"{self.title.key}edge/{segment_file(segment)}.json"
