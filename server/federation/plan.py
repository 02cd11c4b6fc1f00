"""What is tuned, on which terms, and what judges it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from abr.core.enhancement import Tier
from abr.federation.version import LocalRecipe
from server.private.rounds import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationPlan:
    """folder: where versions are kept. held_out: clips, with their truth, that candidates are judged on.

    scale, tier: of the network. crf: by which the clips are encoded for judging. recipe: for players. norm_max: no
    update is longer.
    """

    folder: Path
    held_out: tuple[Path, ...]
    scale: float
    tier: Tier
    crf: float
    recipe: LocalRecipe
    norm_max: float
    pace: Pace
