"""The enhancers at hand in one session: which could serve a rendition, their weights, and opening them in good time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

from abr.device import DeviceProfile, Measurement
from abr.enhancement import EnhancementTable, Family, Offer
from abr.media import Rendition, Title
from client_player.compute import Compute
from client_player.deadline import Candidate
from client_player.setbacks import measured_key
from client_player.weights import WeightsStore
from enhancers.base import Enhancer, PlainScaler

Opener: TypeAlias = Callable[[Offer, Rendition, Title, Measurement, tuple[bytes, ...]], Enhancer]
"""Opens an enhancer as measured, with the downloaded chunks (none: the weights ship with the client)."""

_SCALERS_MAX = 16


class Toolbox:
    """What the device can do with each rendition of a title. `tell` hears of what cannot be opened."""

    def __init__(
        self,
        *,
        title: Title,
        table: EnhancementTable | None,
        profile: DeviceProfile | None,
        families: Collection[Family],
        weights: WeightsStore,
        opener: Opener,
        compute: Compute,
        tell: Callable[[str], None],
    ) -> None:
        self._title, self._table, self._profile, self._families = title, table, profile, families
        self._weights, self._opener, self._compute, self._tell = weights, opener, compute, tell
        self._opening: dict[tuple[str, str], asyncio.Task[Enhancer | None]] = {}
        self._useless: set[tuple[str, str]] = set()
        self._scalers: dict[tuple[int, int], PlainScaler] = {}

    def plain(self, width_px: int, height_px: int) -> PlainScaler:
        """The display scaler for decoded frames of this size."""
        size = (width_px, height_px)
        if size not in self._scalers:
            if len(self._scalers) >= _SCALERS_MAX:
                self._scalers.clear()
            self._scalers[size] = PlainScaler(*size, self._title.display_width_px, self._title.display_height_px)
        return self._scalers[size]

    def offer(self, enhancer: str, rendition: str) -> Offer | None:
        """What the title offers under this name for this rendition; None for plain playback and unknown names."""
        for entry in self._table.enhancers if self._table else ():
            if entry.name == enhancer:
                return entry.offer(rendition)
        return None

    def candidates(self, rendition: str, enhancer: str) -> tuple[Candidate, ...]:
        """The decided enhancer, then ever cheaper ones worth having: each better than all that cost less.

        When the decided one is not to be had (its weights did not come, say) the list begins with the next.
        """
        decided = self._measured(self.offer(enhancer, rendition))
        if decided is None:
            return ()
        worthwhile: list[Candidate] = []
        best = float("-inf")
        priced = sorted(self._priced(rendition), key=lambda each: (each[0].frame_s, -each[1]))
        for candidate, vmaf in priced:
            if candidate.name == enhancer:
                worthwhile.append(candidate)
                break
            if candidate.frame_s < decided.p95_ms / 1000 and vmaf > best:
                worthwhile.append(candidate)
                best = vmaf
        return tuple(reversed(worthwhile))

    def _priced(self, rendition: str) -> Iterator[tuple[Candidate, float]]:
        """Candidates and their mean VMAF, of all that could be opened now."""
        for entry in self._table.enhancers if self._table else ():
            offer = entry.offer(rendition)
            measured = self._measured(offer)
            if offer is None or measured is None or (entry.name, rendition) in self._useless:
                continue
            if entry.family not in self._families or not self._weights.owns(offer):
                continue
            candidate = Candidate(name=entry.name, key=measured_key(measured), frame_s=measured.p95_ms / 1000)
            yield candidate, sum(offer.quality.vmaf) / max(1, len(offer.quality.vmaf))

    def _measured(self, offer: Offer | None) -> Measurement | None:
        if offer is None or self._profile is None:
            return None
        rendition = self._title.rendition(offer.rendition)
        return self._profile.best(offer.architecture, rendition.width_px, rendition.height_px)

    def prepare(self, enhancer: str, rendition: str) -> None:
        """Begin to open it in the background, unless it is open, opening, useless, or without its weights."""
        key, offer = (enhancer, rendition), self.offer(enhancer, rendition)
        if key in self._opening or key in self._useless:
            return
        if offer is not None and self._weights.owns(offer):
            self._opening[key] = asyncio.create_task(self._open(enhancer, rendition))

    async def opened(self, enhancer: str, rendition: str, patience_s: float) -> Enhancer | None:
        """The open enhancer; None when it is not open within `patience_s` of session time, or cannot be."""
        if (enhancer, rendition) in self._useless:
            return None
        self.prepare(enhancer, rendition)
        task = self._opening.get((enhancer, rendition))
        if task is None:
            return None
        if not task.done():
            await asyncio.wait({task}, timeout=max(0.0, patience_s))
        return task.result() if task.done() else None

    def give_up(self, enhancer: str, rendition: str) -> None:
        """Do not use it again in this session."""
        self._useless.add((enhancer, rendition))

    async def _open(self, enhancer: str, rendition: str) -> Enhancer | None:
        offer = self.offer(enhancer, rendition)
        measured = self._measured(offer)
        if offer is None or measured is None:
            return None
        weights = self._weights.joined(offer)
        place = self._title.rendition(rendition)
        try:
            return await self._compute.run(self._opener, offer, place, self._title, measured, weights)
        except Exception as error:  # noqa: BLE001 (downloaded weights are hostile; plain playback goes on)
            self.give_up(enhancer, rendition)
            self._tell(f"{enhancer} for {rendition} cannot be opened: {type(error).__name__}: {error}")
            return None
