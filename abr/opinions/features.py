"""What is known of an item before anybody rates it, as numbers; and how each number may count.

Files name them under `features`. Public tests have some of them in their file names: those of NFLX_public tell the
height and the rate (and what an expert thought, which is an opinion and not taken unless it is asked for), those of
VQEG the circuit that the picture went through, those of AGH's test of varying quality the level and its variation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from abr.core.arrays import Floats
from abr.errors import InputError
from abr.opinions.dataset import OpinionSet

DIRECTIONS: Final[Mapping[str, int]] = {
    "quality": 1,
    "rate_kbps": 1,
    "height_px": 1,
    "level": 1,
    "expert": 1,
    "variation": -1,
    "change": -1,
    "stall_s": -1,
    "startup_s": -1,
    "enhanced_share": 0,
}
"""Features by name: 1, more is never worse; -1, more is never better; 0, either may be.

quality: points of VMAF or of trusted quality, 0 to 100. change: its mean change between neighbours. rate_kbps,
height_px: of the video. stall_s, startup_s: seconds, stalls a minute of media. enhanced_share: 0 to 1.
level, variation: as a test's file names tell them, in its own units.
"""
LOGARITHMIC: Final = frozenset({"rate_kbps", "height_px"})
CATEGORY: Final = "condition"
"""A condition that the file name tells, such as a circuit of VQEG's: it has no direction."""
BEYOND: Final = math.inf
"""Of references: as good as the feature goes."""
KNOTS: Final = 5

_NFLX = re.compile(r".+_(?P<expert>\d{1,3})_(?P<height_px>\d{3,4})_(?P<rate_kbps>\d{2,6})\.\w+")
_NFLX_REFERENCE = re.compile(r"[A-Za-z0-9]+_\d+fps\.\w+")
_AGH = re.compile(r".+_scene_\d+_(?P<level>\d+)_(?P<variation>\d+)\.\w+")
_AGH_REFERENCE = re.compile(r".+_scene_\d+_ref\.\w+")
_HRC = re.compile(r".*_(?P<condition>hrc\d+)_.*")
_Reader = Callable[[str], dict[str, float] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column: a name, and the grid on which its effect is linear between knots; empty for a category of its own."""

    name: str
    knots: tuple[float, ...] = ()

    @property
    def direction(self) -> int:
        """See DIRECTIONS."""
        return DIRECTIONS.get(self.name, 0)

    def columns(self, values: Floats) -> Floats:
        """(N, K) the part of each step between knots that lies below a value; of values (N,), which may be infinite.

        A category has one column; a feature with no grid to speak of has none.
        """
        if not self.knots:
            return values[:, None].astype(np.float64)
        along = np.log(values) if self.name in LOGARITHMIC else values
        steps = [
            np.clip((along - low) / (high - low), 0.0, 1.0)
            for low, high in zip(self.knots, self.knots[1:], strict=False)
        ]
        return np.stack(steps, axis=1) if steps else np.zeros((len(values), 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How features become columns that a model weighs."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features."""
        return tuple(feature.name for feature in self.features)

    @property
    def directions(self) -> Floats:
        """(K,) of each column: 1, -1 or 0. Steps of a falling feature get weights of no more than 0."""
        columns = [max(len(feature.knots) - 1, 0) if feature.knots else 1 for feature in self.features]
        return np.repeat([float(feature.direction) for feature in self.features], columns)

    def columns(self, values: Mapping[str, Floats]) -> Floats:
        """(N, K) of items whose features are given by name, (N,) each. Raises InputError for one that is not."""
        for name in self.names:
            if name not in values:
                raise InputError(f"The model weighs {name!r}, which is not known of these items.")
        return np.concatenate([feature.columns(values[feature.name]) for feature in self.features], axis=1)


def values_of(opinions: OpinionSet, *, expert: bool = False) -> dict[str, Floats]:
    """The features of all items by name, (N,) each; categories as a column of 0 and 1 for each.

    expert: in the place of height and rate the opinion of an expert, where file names tell that.
    Raises InputError where nothing is known that all items share.
    """
    told = opinions.features if all(opinions.features) else _from_names(opinions.files)
    if not told:
        raise InputError(
            f"Nothing is known of the items of {opinions.name!r} but their names, such as {opinions.files[0][:80]!r}: "
            f"give each `features`, some of {', '.join(DIRECTIONS)}."
        )
    shared = set.intersection(*(set(each) for each in told))
    if unknown := sorted(name for name in shared if name not in DIRECTIONS and not name.startswith(CATEGORY)):
        raise InputError(f"There is no feature {unknown[0][:60]!r}. Known: {', '.join(DIRECTIONS)}.")
    if "expert" in shared:
        shared = {"expert"} if expert else shared - {"expert"}
    if not shared:
        raise InputError(f"No feature is known of all items of {opinions.name!r}.")
    return {name: np.array([each[name] for each in told]) for name in sorted(shared)}


def design_of(values: Mapping[str, Floats]) -> Design:
    """Knots at the quantiles of what was seen; features of one value are left out. Raises InputError if all are."""
    found: list[Feature] = []
    for name, column in values.items():
        if name.startswith(CATEGORY):
            found.append(Feature(name=name))
            continue
        seen = column[np.isfinite(column)]
        if name in LOGARITHMIC:
            if (seen <= 0).any():
                raise InputError(f"A feature {name!r} is {float(seen.min()):g}; it must be above 0.")
            seen = np.log(seen)
        knots = np.unique(np.quantile(seen, np.linspace(0, 1, KNOTS))) if len(seen) else seen
        if len(knots) and not np.isfinite(column).all():  # references lie a step beyond all that has a number
            knots = np.append(knots, knots[-1] + max(float(knots[-1] - knots[0]), 1.0) / KNOTS)
        if len(knots) > 1:
            found.append(Feature(name=name, knots=tuple(knots.tolist())))
    if not found:
        raise InputError("All items are alike in all that is known of them, so there is nothing to learn.")
    return Design(features=tuple(found))


def _from_names(files: Sequence[str]) -> list[dict[str, float]]:
    """By the one pattern that all names follow; none where there is no such pattern."""
    for reader in (_nflx, _agh):
        told = [reader(file) for file in files]
        if all(told):
            return [each for each in told if each]
    circuits = [found["condition"] if (found := _HRC.fullmatch(file)) else "" for file in files]
    if not all(circuits):
        return []
    return [{f"{CATEGORY} {each}": float(each == own) for each in sorted(set(circuits))} for own in circuits]


def _nflx(file: str) -> dict[str, float] | None:
    if found := _NFLX.fullmatch(file):
        return {name: float(text) for name, text in found.groupdict().items()}
    return {"expert": BEYOND, "height_px": BEYOND, "rate_kbps": BEYOND} if _NFLX_REFERENCE.fullmatch(file) else None


def _agh(file: str) -> dict[str, float] | None:
    if found := _AGH.fullmatch(file):
        return {name: float(text) for name, text in found.groupdict().items()}
    return {"level": BEYOND, "variation": 0.0} if _AGH_REFERENCE.fullmatch(file) else None
