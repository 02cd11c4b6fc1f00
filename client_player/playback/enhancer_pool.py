"""The enhancers of one session: which fit a rendition, which weights they need, and opening them in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, TypeAlias

from abr.core.device import DeviceProfile, Measurement
from abr.core.energy import frame_energy_j
from abr.core.enhancement import Currency, EnhancementTable, Family, Offer, PlanOffer
from abr.core.options import counted_quality
from abr.core.pricing import plan_frame_cost
from abr.core.title import Rendition, Title
from client_player.playback.deadline import TierCandidate
from client_player.playback.slow_enhancers import speed_key
from client_player.playback.weights import WeightsStore
from client_player.worker_thread import WorkerThread
from enhancers.runtime.enhancer import Enhancer, PlainScaler

Opener: TypeAlias = Callable[[Offer, Rendition, Title, Measurement, tuple[bytes, ...]], Enhancer]
"""Opens an enhancer with the backend and threads of its measurement, from the downloaded chunks.

There are no chunks when the weights ship with the client.
"""

_SCALERS_MAX = 16


class _Opening(NamedTuple):
    weights_sha256: str
    task: asyncio.Task[Enhancer | None]


_NEVER_S = 3600.0


def _never(name: str) -> TierCandidate:
    """An action that the plan never takes, and the device has not measured."""
    return TierCandidate(name=name, key="", frame_s=_NEVER_S)


def _open_plan(plan: PlanOffer, title: Title, measured: Measurement, chunks: tuple[bytes, ...]) -> Enhancer:
    """Open a frame plan with the backend and threads that are fastest for its deepest exit."""
    from enhancers.runtime.loader import open_plan  # brings its backends along

    rendition = title.rendition(plan.offer.rendition)
    return open_plan(
        plan,
        title.segment_frames,
        chunks,
        size_px=(rendition.width_px, rendition.height_px),
        display_px=(title.display_width_px, title.display_height_px),
        backend=measured.backend,
        threads=measured.threads,
    )


class EnhancerPool:
    """The enhancers that this device can run on each rendition of a title.

    on_failure: called with a message for each enhancer that cannot be opened.
    """

    def __init__(
        self,
        *,
        title: Title,
        table: EnhancementTable | None,
        profile: DeviceProfile | None,
        families: Collection[Family],
        weights: WeightsStore,
        opener: Opener,
        compute: WorkerThread,
        on_failure: Callable[[str], None],
    ) -> None:
        self._title, self._table, self._profile, self._families = title, table, profile, families
        self._weights, self._opener, self._compute, self._on_failure = weights, opener, compute, on_failure
        self._opening: dict[tuple[str, str], _Opening] = {}
        self._open: dict[tuple[str, str], Enhancer] = {}
        """With older weights, of live titles: they are used until the newer ones are open."""
        self._disabled: set[tuple[str, str]] = set()
        self._scalers: dict[tuple[int, int], PlainScaler] = {}

    def take_table(self, table: EnhancementTable | None) -> None:
        """What a live title offers may change while it is watched: other enhancers, or newer weights of one."""
        self._table = table

    def plain_scaler(self, width_px: int, height_px: int) -> PlainScaler:
        """The display scaler for decoded frames of this size."""
        size = (width_px, height_px)
        if size not in self._scalers:
            if len(self._scalers) >= _SCALERS_MAX:
                self._scalers.clear()
            self._scalers[size] = PlainScaler(*size, self._title.display_width_px, self._title.display_height_px)
        return self._scalers[size]

    def find_offer(self, enhancer: str, rendition: str) -> Offer | None:
        """The title's offer of this name for this rendition; None for plain playback and unknown names.

        That of a frame plan has the plan among its chunks.
        """
        for entry in self._table.enhancers if self._table else ():
            if entry.name == enhancer:
                return entry.offer(rendition)
        plan = self._find_plan(enhancer, rendition)
        return plan.download if plan else None

    def _find_plan(self, enhancer: str, rendition: str) -> PlanOffer | None:
        return self._table.plan(enhancer, rendition) if self._table else None

    def list_candidates(self, rendition: str, enhancer: str) -> tuple[TierCandidate, ...]:
        """The decided enhancer, then ever cheaper ones worth having: each better than all that cost less.

        When the decided one cannot be used (its weights are missing, for example) the list begins with the next.
        """
        decided_s = self._predict_frame_s(enhancer, rendition)
        if decided_s is None:
            return ()
        worthwhile: list[TierCandidate] = []
        best = float("-inf")
        by_cost = sorted(self._priced_candidates(rendition), key=lambda priced: (priced[0].frame_s, -priced[1]))
        for candidate, quality in by_cost:
            if candidate.name == enhancer:
                worthwhile.append(candidate)
                break
            if candidate.frame_s < decided_s and quality > best:
                worthwhile.append(candidate)
                best = quality
        return tuple(reversed(worthwhile))

    def _priced_candidates(self, rendition: str) -> Iterator[tuple[TierCandidate, float]]:
        """Candidates and their mean trusted quality, of all that could be opened now."""
        table = self._table
        if table is None:
            return
        named = [(entry.name, entry.family) for entry in table.enhancers]
        named += [(plan.name, plan.family) for plan in table.plans if plan.offer.rendition == rendition]
        for name, family in named:
            offer, frame_s = self.find_offer(name, rendition), self._predict_frame_s(name, rendition)
            if offer is None or frame_s is None or (name, rendition) in self._disabled:
                continue
            is_here = self._weights.owns(offer) or (name, rendition) in self._opening
            if family not in self._families or not is_here:
                continue
            counted = counted_quality(offer.quality, Currency.TRUSTED)
            yield self._candidate(name, offer, frame_s), sum(counted) / max(1, len(counted))

    def _candidate(self, name: str, offer: Offer, frame_s: float) -> TierCandidate:
        plan = self._find_plan(name, offer.rendition)
        if plan is None:
            measured = self._find_measurement(offer)
            assert measured is not None
            return TierCandidate(name=name, key=speed_key(measured), frame_s=frame_s, frame_j=self._frame_j(measured))
        speeds = [self._measurement_of(each.architecture, offer.rendition) for each in plan.shares]
        actions = tuple(
            TierCandidate(name=name, key=speed_key(speed), frame_s=speed.p95_ms / 1000, frame_j=self._frame_j(speed))
            if speed
            else _never(name)
            for speed in speeds
        )
        return TierCandidate(name=name, key=f"{name}@{offer.rendition}", frame_s=frame_s, actions=actions)

    def _frame_j(self, measured: Measurement) -> float:
        return frame_energy_j(self._profile, measured) if self._profile else 0.0

    def _predict_frame_s(self, enhancer: str, rendition: str) -> float | None:
        """Mean seconds of a frame; None when the device has not measured what it takes."""
        plan = self._find_plan(enhancer, rendition)
        if plan is not None and self._profile is not None:
            cost = plan_frame_cost(plan, self._profile, self._title.rendition(rendition))
            return cost.seconds if cost else None
        measured = self._find_measurement(self.find_offer(enhancer, rendition))
        return measured.p95_ms / 1000 if measured else None

    def _find_measurement(self, offer: Offer | None) -> Measurement | None:
        return self._measurement_of(offer.architecture, offer.rendition) if offer is not None else None

    def _measurement_of(self, architecture: str, rendition_id: str) -> Measurement | None:
        rendition = self._title.rendition(rendition_id)
        return self._profile.best(architecture, rendition.width_px, rendition.height_px) if self._profile else None

    def start_opening(self, enhancer: str, rendition: str) -> None:
        """Open it in the background, unless it is open, being opened, disabled, or lacks its weights."""
        key, offer = (enhancer, rendition), self.find_offer(enhancer, rendition)
        if key in self._disabled or offer is None or not self._weights.owns(offer):
            return
        before = self._opening.get(key)
        if before is not None and before.weights_sha256 == offer.weights_sha256:
            return
        if before is not None and before.task.done() and (enhancer_open := before.task.result()) is not None:
            self._open[key] = enhancer_open
        task = asyncio.create_task(self._opened(enhancer, rendition))
        self._opening[key] = _Opening(offer.weights_sha256, task)

    async def get_enhancer(self, enhancer: str, rendition: str, timeout_s: float) -> Enhancer | None:
        """The open enhancer; None when it is not open within `timeout_s` of session time, or cannot be."""
        if (enhancer, rendition) in self._disabled:
            return None
        self.start_opening(enhancer, rendition)
        opening = self._opening.get((enhancer, rendition))
        if opening is None:
            return None
        older = self._open.get((enhancer, rendition))
        if not opening.task.done() and older is None:
            await asyncio.wait({opening.task}, timeout=max(0.0, timeout_s))
        if not opening.task.done():
            return older
        self._open.pop((enhancer, rendition), None)
        return opening.task.result()

    def disable(self, enhancer: str, rendition: str) -> None:
        """Do not use it again in this session."""
        self._disabled.add((enhancer, rendition))

    async def _opened(self, enhancer: str, rendition: str) -> Enhancer | None:
        offer = self.find_offer(enhancer, rendition)
        measured = self._find_measurement(offer)
        if offer is None or measured is None:
            return None
        weights = self._weights.chunks_of(offer)
        rendition_info = self._title.rendition(rendition)
        plan = self._find_plan(enhancer, rendition)
        try:
            if plan is not None:
                return await self._compute.run(_open_plan, plan, self._title, measured, weights)
            return await self._compute.run(self._opener, offer, rendition_info, self._title, measured, weights)
        except Exception as error:  # noqa: BLE001 (downloaded weights are not trusted; plain playback continues)
            self.disable(enhancer, rendition)
            self._on_failure(f"{enhancer} for {rendition} cannot be opened: {type(error).__name__}: {error}")
            return None
