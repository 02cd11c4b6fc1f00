"""A controller for tests, which programs can be given by its path too."""

from __future__ import annotations

from abr.core.control import Decision, Observation


class Eager:
    """A controller for tests: the lowest rung with the best enhancer, always."""

    def decide(self, seen: Observation) -> Decision:
        vmaf = seen.menu.quality[0]
        lowest = [index for index, choice in enumerate(seen.menu.choices) if choice.rendition == 0]
        return Decision(
            option=max(lowest, key=lambda index: float(vmaf[index])), reason="eager: the best of the lowest"
        )
