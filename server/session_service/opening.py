"""Opening a session: what is asked for is checked, priced and planned before the viewer has an id."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.core.title import Identifier, Version
from abr.errors import InputError
from abr.media.ladders import choose_codec
from abr.records import Record
from server.clock import Clock
from server.errors import RequestError
from server.experiments.service import RunningExperiment
from server.media.live_file import IsLiveError
from server.media.title_cache import TitleCache
from server.session_service.controller_runner import ControllerRunner
from server.session_service.groups import GroupNames
from server.session_service.pricing import PricingCache
from server.session_service.repository import SessionRepository
from server.sessions.decisions import can_remember
from server.sessions.state import SessionState


class SessionRequest(Record, frozen=True):
    """Body of POST /sessions. Without a profile only plain playback is offered."""

    title: Identifier
    version: Version = ""
    """Of the title's media: the one that the viewer has begun with. Empty: the one of now."""
    profile: DeviceProfile | None = None
    controller: Annotated[str, Meta(max_length=64)] = ""
    """Empty: the server's own choice."""
    families: Annotated[tuple[Family, ...], Meta(max_length=8)] = tuple(Family)
    buffer_max_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    visit: Annotated[str, Meta(max_length=64)] = ""
    """Chosen by the player at random: sessions with the same one belong to the same viewer, and in an experiment to the
    same arm. Empty: the session stands for itself."""
    group: Annotated[str, Meta(max_length=64)] = ""
    """Names the link that the viewer shares with others, such as a household's: all who tell the same name are decided
    for together. Empty: none, or the one that the server groups by."""
    codecs: Annotated[tuple[Annotated[str, Meta(max_length=16)], ...], Meta(max_length=16)] = ()
    """What the player decodes: h264, hevc, av1, in any order; names that the server does not know count for nothing.
    Empty: H.264, or the first that the title has."""


class SessionOpener:
    """Begins sessions."""

    def __init__(
        self,
        title_cache: TitleCache,
        repository: SessionRepository,
        pricing: PricingCache,
        controllers: ControllerRunner,
        clock: Clock,
        groups: GroupNames,
        experiment: RunningExperiment | None = None,
    ) -> None:
        self._title_cache = title_cache
        self._repository = repository
        self._pricing = pricing
        self._live = pricing.live
        self._controllers = controllers
        self._clock = clock
        self._groups = groups
        self._experiment = experiment

    async def open(self, request: SessionRequest, address: str = "", wait_s: float = 0.0) -> tuple[str, SessionState]:
        """Open a session; returns its id. Raises RequestError when the title or the controller is not there.

        address: where the request comes from; the plans that it needs take turns with those of other addresses, and
        the server may group by it. wait_s: the viewer waits so long at most for the plans of all its segments.
        """
        version, codec, is_live = await self._find(request)
        place = self._experiment.draw(request.visit) if self._experiment and not request.controller else None
        controller = request.controller or (place.arm.controller if place else self._controllers.default)
        if controller not in self._controllers.names:  # never a path: viewers do not load code here
            known = ", ".join(self._controllers.names)
            raise RequestError(422, f"There is no controller named {controller!r}. Known: {known}.")
        state = SessionState(
            title=request.title,
            controller=controller,
            families=tuple(dict.fromkeys(request.families)),
            profile=await self._repository.save_profile(request.profile),
            buffer_max_s=request.buffer_max_s,
            created_s=self._clock(),
            version=version,
            arm=place.arm.name if place else "",
            visit=place.visit if place else b"",
            group=self._groups.name(request.group, address),
            live=is_live,
            codec=codec,
        )
        prices = await self._live.prices(state) if is_live else (await self._pricing.priced_title(state)).prices
        if not can_remember(prices):
            raise RequestError(422, f"Title {request.title!r} has more options than a session can hold.")
        requester = self._pricing.requester(state, address)
        if not is_live:  # its plans are asked for with the first segment: where that is, the viewer knows
            await self._controllers.plan(controller, prices.menu(0, 1), state.buffer_max_s, requester)
            if wait_s > 0:
                await self._controllers.plan_all(controller, prices, state.buffer_max_s, requester, wait_s)
        return await self._repository.create(state), state

    async def _find(self, request: SessionRequest) -> tuple[str, str, bool]:
        """The version of the title's media, the codec to play, and whether it is a live title."""
        is_live = False
        try:
            title = (await self._title_cache.title(request.title, request.version)).title
        except IsLiveError:
            title, is_live = (await self._live.titles.outlook(request.title, request.version)).tables.typical, True
        try:
            return title.version, choose_codec(title, request.codecs, request.profile) or "", is_live
        except InputError as error:
            raise RequestError(422, str(error)) from error
