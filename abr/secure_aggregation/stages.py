"""Where a round stands, and what it comes to."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """What members are asked for; the last three ask for nothing."""

    JOINING = "joining"
    SHARING = "sharing"
    MASKING = "masking"
    OPENING = "opening"
    UNMASKING = "unmasking"
    SUMMED = "summed"
    ABANDONED = "abandoned"


class Outcome(StrEnum):
    """What a round came to: a sum, or why there is none."""

    SUMMED = "summed"
    FEW = "few"
    """Fewer members joined or stayed than are summed."""
    UNOPENED = "unopened"
    """So many left before the end that a mask cannot be taken off."""
    SPOILED = "spoiled"
    """A member had lied about its secrets."""
