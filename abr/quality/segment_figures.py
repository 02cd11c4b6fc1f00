"""The panel's figures of a title, segment by segment, and what follows from them for a lifted rung of it.

Few segments are judged by the panel; each other one takes the word of the judged one nearest to it. VMAF, VMAF-NEG,
SSIM and PSNR are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from abr.core.title import Quality, Title
from abr.quality.panel import PANEL
from abr.quality.trusted import (
    Figures,
    falling_members,
    groups_against,
    mirrored_step,
    refusing_members,
    trusted_quality,
)

_EVERYWHERE = ("vmaf", "vmaf_neg", "ssim", "psnr_y_db")
"""Members that judge every segment."""


def figures_by_segment(quality: Quality) -> list[dict[str, float]]:
    """Every member's figure for each segment; without a panel those of the four that all titles tell."""
    panel = quality.panel
    judged = np.asarray(panel.segment if panel else ())
    found: list[dict[str, float]] = []
    for segment in range(len(quality.vmaf)):
        own = {
            "vmaf": quality.vmaf[segment],
            "vmaf_neg": quality.vmaf_neg[segment],
            "ssim": quality.ssim[segment],
            "psnr_y_db": quality.psnr_y_db[segment],
        }
        if panel and len(judged):
            nearest = int(np.argmin(np.abs(judged - segment)))
            own |= {name: values[nearest] for name, values in panel.figures.items()}
        found.append(own)
    return found


def mean_figures(quality: Quality, segment_frames: Sequence[int]) -> dict[str, float]:
    """Every member's mean over the title: of its own segments, each weighing as long as it lasts, and of the judged."""
    names = ("vmaf", "vmaf_neg", "ssim", "psnr_y_db")
    means = {name: float(np.average(getattr(quality, name), weights=segment_frames)) for name in names}
    if quality.trusted:
        means["trusted"] = float(np.average(quality.trusted, weights=segment_frames))
    panel = quality.panel
    return means | ({name: float(np.mean(values)) for name, values in panel.figures.items()} if panel else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftJudge:
    """Judges lifted pictures of one rung against plain ones, segment by segment. above: plain ones of the next rung.

    above is None where the title has but one rung or no panel: then VMAF counts as it is.
    """

    plain: Sequence[Figures]
    above: Sequence[Figures] | None

    def with_trust(self, lifted: Quality) -> Quality:
        """`lifted` with its trusted quality, segment by segment."""
        if self.above is None or lifted.panel is None:
            return lifted
        sides = zip(self.plain, figures_by_segment(lifted), self.above, strict=True)
        return replace(lifted, trusted=tuple(round(trusted_quality(*side), 4) for side in sides))

    def refusals(self, lifted: Quality) -> tuple[str, ...]:
        """Why it may not be offered: members that fall on too many segments or on the whole, groups against it.

        On the whole no masking counts: there are always places where nothing hides a fall.
        """
        after = figures_by_segment(lifted)
        everywhere = [name for name in refusing_members(self.plain, after) if name in _EVERYWHERE]
        judged = lifted.panel.segment if lifted.panel else ()
        pairs = [(self.plain[segment], after[segment]) for segment in judged]
        sampled = refusing_members([one for one, _ in pairs], [other for _, other in pairs], sampled=True)
        return self._refusals((*everywhere, *(name for name in sampled if name not in _EVERYWHERE)), after)

    def refusals_of(self, after: Sequence[Figures]) -> tuple[str, ...]:
        """The same by the figures of a few segments, cautiously: a fall on any of them counts."""
        return self._refusals(refusing_members(self.plain, after), after)

    def _refusals(self, falling: Sequence[str], after: Sequence[Figures]) -> tuple[str, ...]:
        before, whole = _mean(self.plain), _mean(after)
        unmasked = {member.name: member.invisible for member in PANEL}
        members = dict.fromkeys((*falling, *falling_members(before, whole, unmasked)))
        groups = () if self.above is None else groups_against(before, whole, _mean(self.above))
        return (*members, *groups)


def lift_judge(title: Title, rendition_id: str) -> LiftJudge:
    """The judge of lifted pictures of this rendition. Raises KeyError when the title has no such rendition."""
    ids = [rendition.id for rendition in title.ladder_of(rendition_id)]
    place = ids.index(rendition_id)
    if title.plain_quality[rendition_id].panel is None:
        return LiftJudge(plain=figures_by_segment(title.plain_quality[rendition_id]), above=None)
    ladder = [figures_by_segment(title.plain_quality[id_]) for id_ in ids]
    return LiftJudge(plain=ladder[place], above=above_each(ladder)[place])


def above_each(ladder: Sequence[Sequence[Figures]]) -> list[Sequence[Figures] | None]:
    """For each rung, lowest first, what its lifted pictures are to reach: the next rung, at the top a mirrored step.

    None for the only rung of a ladder.
    """
    if len(ladder) == 1:
        return [None]
    top = [mirrored_step(*pair) for pair in zip(ladder[-2], ladder[-1], strict=True)]
    return [*ladder[1:], top]


def _mean(figures: Sequence[Figures]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
