"""Options: every feasible (rendition, enhancer), priced in bytes, compute seconds and quality.

Controllers read a Menu of options and pick from it; they look nothing up. Quality comes in the currency that the list
was priced in; controllers do not know which that is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from abr.core.arrays import Floats, Truths
from abr.core.enhancement import PLAIN, Currency, Family
from abr.core.title import Quality
from abr.errors import FormatError

NUMBER_MAX = 1e15
"""No title's bytes, seconds or points come near it: a number beyond tells as little as NaN and infinity do."""
VMAF_MAX = 110.0
"""Models trained on other scales stray a little beyond 100."""
FAMILIES: frozenset[Family] = frozenset(Family)


def known_cells(*tables: Floats) -> Truths:
    """Where each of the tables of a price list tells something; the other cells are holes."""
    return np.asarray(np.logical_and.reduce([np.abs(table) < NUMBER_MAX for table in tables]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A (rendition, enhancer) pair. `rendition` indexes the ladder, 0 is the lowest rung."""

    rendition: int
    enhancer: str = PLAIN


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class PriceList:
    """All that one title offers one device. S segments, O options; arrays are float64 and read-only by custom.

    choices: O pairs, ordered by rendition, plain playback first within one.
    duration_s: (S,) media seconds. size_bytes, compute_s, quality, vmaf: (S, O).
    quality: what counts, in VMAF points: trusted quality or VMAF, as the list was priced. vmaf: told beside it.
    lead_s: (S, O) the compute seconds, of compute_s, that must be done before the segment's first instant: all of them
    on a device that enhances whole segments (BONES), none on one that goes frame by frame and faster than the film.
    weights: per option the chunk keys (sha256) it needs; weights_bytes: chunk key → bytes.
    energy_w: (O,) watts that enhancing takes, above the idle device, for as long as the segment lasts; None: not known.
    energy_points: (O,) what `quality` is less by for a viewer who wants energy saved; None for one who does not.
    planned: the list that plans are made of, in the place of this one; None for this one. Of the same options and rows,
    it is for titles whose own list changes more often than plans can be made: live ones.
    """

    rendition_ids: tuple[str, ...]
    choices: tuple[Choice, ...]
    duration_s: Floats
    size_bytes: Floats
    compute_s: Floats
    lead_s: Floats
    quality: Floats
    vmaf: Floats
    weights: tuple[tuple[str, ...], ...]
    weights_bytes: dict[str, int]
    planned: PriceList | None = None
    energy_w: Floats | None = None
    energy_points: Floats | None = None

    def energy_j(self, segment: int, option: int) -> float:
        """Joules that enhancing a segment takes; 0 where nothing is known."""
        return 0.0 if self.energy_w is None else float(self.energy_w[option] * self.duration_s[segment])

    def shown_quality(self, segment: int, option: int) -> float:
        """What a viewer sees of an option: its quality, before energy was taken off."""
        quality = float(self.quality[segment, option])
        return quality if self.energy_points is None else quality + float(self.energy_points[option])

    def check(self) -> None:
        """Raises FormatError when the tables do not fit together, or when a segment cannot be had at all."""
        shape = len(self.duration_s), len(self.choices)
        for name in ("size_bytes", "compute_s", "lead_s", "quality", "vmaf"):
            if (found := getattr(self, name).shape) != shape:
                raise FormatError(f"A price list of {shape[0]} segments and {shape[1]} options has {name} of {found}.")
        if not len(self.duration_s) or not ((self.duration_s > 0) & known_cells(self.duration_s)).all():
            raise FormatError("A price list needs segments, each longer than no time.")
        offered = known_cells(self.quality, self.size_bytes) & (self.size_bytes > 0)
        if not (had := offered.any(axis=1)).all():
            raise FormatError(f"Segment {int(np.argmin(had))} of a price list has no option with size and quality.")

    def only(self, options: list[int]) -> PriceList:
        """The same list restricted to some options, in the given order."""
        return replace(
            self,
            choices=tuple(self.choices[i] for i in options),
            size_bytes=self.size_bytes[:, options],
            compute_s=self.compute_s[:, options],
            lead_s=self.lead_s[:, options],
            quality=self.quality[:, options],
            vmaf=self.vmaf[:, options],
            weights=tuple(self.weights[i] for i in options),
            planned=None if self.planned is None else self.planned.only(options),
            energy_w=None if self.energy_w is None else self.energy_w[options],
            energy_points=None if self.energy_points is None else self.energy_points[options],
        )

    def menu(self, segment: int, horizon: int, owned: Collection[str] = ()) -> Menu:
        """The next `horizon` segments (fewer at the end) for a device that already owns some weights chunks."""
        span = slice(segment, segment + horizon)
        return Menu(
            choices=self.choices,
            segment=segment,
            segments_left=len(self.duration_s) - segment,
            duration_s=self.duration_s[span],
            size_bytes=self.size_bytes[span],
            compute_s=self.compute_s[span],
            lead_s=self.lead_s[span],
            quality=self.quality[span],
            vmaf=self.vmaf[span],
            weights_bytes=_lacking_bytes(self, frozenset(owned)),
            prices=self,
            energy_w=self.energy_w,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Menu:
    """What a controller may choose from. H segments from `segment` on, O options.

    duration_s: (H,). size_bytes, compute_s, lead_s, quality, vmaf: (H, O), as in PriceList.
    weights_bytes: (O,) bytes of weights that must be downloaded once before the option can be used.
    prices: the whole list that this menu was cut from, for controllers that plan ahead; None when it is not known.
    energy_w: (O,) as in PriceList.
    """

    choices: tuple[Choice, ...]
    segment: int
    segments_left: int
    duration_s: Floats
    size_bytes: Floats
    compute_s: Floats
    lead_s: Floats
    quality: Floats
    vmaf: Floats
    weights_bytes: Floats
    prices: PriceList | None = None
    energy_w: Floats | None = None

    def plain(self) -> Menu:
        """The same menu without enhancers: what a classic controller sees."""
        return self.only([i for i, choice in enumerate(self.choices) if choice.enhancer == PLAIN])

    def only(self, indices: list[int]) -> Menu:
        """The same menu restricted to some options, in the given order."""
        return Menu(
            choices=tuple(self.choices[i] for i in indices),
            segment=self.segment,
            segments_left=self.segments_left,
            duration_s=self.duration_s,
            size_bytes=self.size_bytes[:, indices],
            compute_s=self.compute_s[:, indices],
            lead_s=self.lead_s[:, indices],
            quality=self.quality[:, indices],
            vmaf=self.vmaf[:, indices],
            weights_bytes=self.weights_bytes[indices],
            energy_w=None if self.energy_w is None else self.energy_w[indices],
        )


def counted_quality(quality: Quality, currency: Currency) -> tuple[float, ...]:
    """VMAF points of each segment in this currency; VMAF where the title tells nothing of a panel."""
    return quality.trusted if currency is Currency.TRUSTED and quality.trusted else quality.vmaf


def plain_of(prices: PriceList) -> list[int]:
    """For each rendition its plain option; its first option when it is only offered enhanced."""
    plain: dict[int, int] = {}
    for option, choice in enumerate(prices.choices):
        if choice.rendition not in plain or choice.enhancer == PLAIN:
            plain[choice.rendition] = option
    return [plain.get(rendition, 0) for rendition in range(max(plain) + 1)]


@lru_cache(maxsize=4096)
def _lacking_bytes(prices: PriceList, owned: frozenset[str]) -> Floats:
    """(O,) bytes of weights that a device lacks for each option; the same at every segment."""
    lacking = [sum(prices.weights_bytes[key] for key in keys if key not in owned) for keys in prices.weights]
    return np.asarray(lacking, dtype=np.float64)


@lru_cache(maxsize=4096)
def menu_of(prices: PriceList, segment: int, horizon: int, owned: frozenset[str]) -> Menu:
    """`prices.menu`, remembered: sessions over the same title share their menus."""
    return prices.menu(segment, horizon, owned)
