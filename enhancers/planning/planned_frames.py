"""Frames of a title as a frame plan shows them, and how good they are: measured like any other enhancer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from abr.core.frame_plan import FramePlan
from abr.core.title import PanelFigures, Quality, Rendition
from abr.progress import ShareListener
from abr.quality.sampled_panel import join_panels
from abr.quality.segment_figures import lift_judge
from abr.quality.vmaf import Scores
from enhancers.measurement.quality import (
    Measured,
    cut_into_blocks,
    join_scores,
    kept_frames,
    mean_by_segment,
    measure_shown,
    read_references,
)
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.frames import Frame
from enhancers.runtime.planned import PlannedEnhancer

_AT_ONCE = 2


class PlannedFrames:
    """The frames of one rendition by their number in the title, in ascending order as a rule.

    A segment is followed from its first frame, as a player does; going back begins it again.
    """

    def __init__(
        self, prepared: PreparedTitle, rendition: Rendition, enhancer: PlannedEnhancer, plan: FramePlan
    ) -> None:
        self._prepared, self._rendition, self._enhancer, self._plan = prepared, rendition, enhancer, plan
        self._ends = np.cumsum(prepared.title.segment_frames)
        self._segment, self._next = -1, 0
        self._shown: Iterator[Frame] = iter(())

    def __call__(self, index: int) -> Frame:
        """The picture of frame `index`, at display size."""
        segment = int(np.searchsorted(self._ends, index, side="right"))
        if segment != self._segment or index < self._next:
            self._segment, self._next = segment, int(self._ends[segment]) - self._prepared.title.segment_frames[segment]
            self._shown = self._follow(segment)
        while True:
            frame, self._next = next(self._shown), self._next + 1
            if self._next > index:
                return frame

    def _follow(self, segment: int) -> Iterator[Frame]:
        frames = self._prepared.frames(self._rendition, segment, motion=True)
        for frame, action in zip(frames, self._plan.actions[segment].tolist(), strict=True):
            yield self._enhancer.perform(frame, action)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanSubject:
    """A plan to be measured. key: the caller's name for it. enhancer: its own, opened for the rendition."""

    key: str
    rendition: Rendition
    enhancer: PlannedEnhancer
    plan: FramePlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanScores:
    """What the meters say of a plan. kept: which of the scored frames count: black ones do not."""

    scores: Scores
    kept: Sequence[bool]
    panel: PanelFigures | None

    def quality(self, prepared: PreparedTitle, rendition: Rendition) -> Quality:
        """Means of each segment, with trusted quality."""
        quality = mean_by_segment(prepared, self.scores, self.kept, self.panel)
        return lift_judge(prepared.title, rendition.id).with_trust(quality)


def score_plans(
    prepared: PreparedTitle, subjects: Sequence[PlanSubject], every_frames: int, progress: ShareListener
) -> dict[str, PlanScores]:
    """Every plan by key, on the frames and by the meters that tiers are measured with."""
    parts = cut_into_blocks(prepared, every_frames)
    shown = {each.key: PlannedFrames(prepared, each.rendition, each.enhancer, each.plan) for each in subjects}
    measured: dict[str, list[Measured]] = {each.key: [] for each in subjects}
    kept: list[bool] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for number, (block, truth) in enumerate(read_references(prepared, parts)):
            progress(f"Measuring {len(subjects)} frame plans", number / len(parts))
            kept += kept_frames(truth, block)
            found = pool.map(lambda key: measure_shown(prepared, block, truth, shown[key]), shown)  # noqa: B023
            for key, part in zip(shown, found, strict=True):
                measured[key].append(part)
    return {
        key: PlanScores(
            scores=join_scores([part.scores for part in parts_of]),
            kept=kept,
            panel=join_panels([part.panel for part in parts_of]),
        )
        for key, parts_of in measured.items()
    }
