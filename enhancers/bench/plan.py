"""`toprung bench plan`: quality against computing: tiers, tiers that share time, a policy, frame plans, the optimum.

All are judged on the same frames of a title as they are shown, by the title's meters. A budget is in
multiply-accumulates for each shown pixel and frame, carrying counted as `enhancers.planning.segment_plans` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import msgspec
import numpy as np

from abr.core.arrays import Floats, Indices
from abr.core.enhancement import EnhancementTable, Family, Tier
from abr.core.frame_plan import FramePlan, dumps_plan
from abr.core.title import PanelFigures, Quality, Rendition
from abr.errors import InputError
from abr.progress import ShareListener
from abr.quality.segment_figures import mean_figures
from enhancers.measurement.ladder_planner import read_chunks
from enhancers.networks import catalog
from enhancers.networks.catalog import REUSED_FRAMES, TIER_DEPTHS
from enhancers.networks.plain import parse
from enhancers.planning.planned_frames import PlanScores, PlanSubject, score_plans
from enhancers.planning.segment_plans import BUDGETS, CARRY_COST, BudgetPlan, RungGains, mean_macs, plan_rung
from enhancers.planning.title_plans import gains_of, kept_by_segment
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.backends import AnyNetwork
from enhancers.runtime.exit_policy import ExitPolicy, choose_actions, forecast_kept
from enhancers.runtime.loader import load_exits, open_planned
from enhancers.runtime.motion import MotionFollower

_GOLDEN = (np.sqrt(5) - 1) / 2
"""Its multiples fall evenly and without a period, so that turns do not keep step with the frames that are scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One way to lift the frames. macs: a shown pixel and frame. expected_gain: what the planner foretold, or None.

    figures: of each member of the panel and `trusted`, means over the frames.
    """

    name: str
    macs: float
    figures: Mapping[str, float]
    expected_gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBenchResult:
    """Points of each curve, by its name, the cheapest first; bytes of the plans as a share of the video's."""

    title: str
    rendition: str
    family: str
    frames: int
    curves: Mapping[str, Sequence[CurvePoint]]
    plan_bytes_share: float

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return asdict(self)

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        head = (
            f"{self.title} {self.rendition} {self.family}, {self.frames} frames; plans take {self.plan_bytes_share:.3%}"
        )
        lines = [head, f"{'curve':<12}{'point':<10}{'MACs':>7}{'NEG':>8}{'trusted':>9}{'VMAF':>8}{'flicker':>9}"]
        for curve, points in self.curves.items():
            for point in points:
                told = [point.figures.get(name, float("nan")) for name in ("vmaf_neg", "trusted", "vmaf", "flicker")]
                cells = f"{told[0]:8.2f}{told[1]:9.2f}{told[2]:8.2f}{told[3]:9.3f}"
                lines.append(f"{curve:<12}{point.name:<10}{point.macs:7.0f}{cells}")
        return "\n".join(lines)


def first_segments(prepared: PreparedTitle, count: int) -> PreparedTitle:
    """The title's beginning as a title of its own. Raises InputError when it has fewer segments."""
    title = prepared.title
    if len(title.segment_frames) < count:
        raise InputError(f"{title.id} has {len(title.segment_frames)} segments; give --segments of no more.")
    short = msgspec.structs.replace(
        title,
        segment_duration_s=title.segment_duration_s[:count],
        segment_frames=title.segment_frames[:count],
        renditions=tuple(
            msgspec.structs.replace(each, segment_bytes=each.segment_bytes[:count]) for each in title.renditions
        ),
        plain_quality={id_: _first(quality, count) for id_, quality in title.plain_quality.items()},
    )
    return replace(prepared, title=short)


def _first(quality: Quality, count: int) -> Quality:
    panel = quality.panel
    if panel is not None:
        judged = sum(segment < count for segment in panel.segment)
        figures = {name: values[:judged] for name, values in panel.figures.items()}
        panel = PanelFigures(segment=panel.segment[:judged], figures=figures)
    cut = {name: getattr(quality, name)[:count] for name in ("vmaf", "vmaf_neg", "ssim", "psnr_y_db", "trusted")}
    return msgspec.structs.replace(quality, panel=panel, **cut)


def measure_plan_curves(
    prepared: PreparedTitle,
    table: EnhancementTable,
    rendition_id: str,
    family: Family,
    every_frames: int,
    progress: ShareListener,
) -> PlanBenchResult:
    """Measure all curves on all segments of the title. Raises InputError when the family's tier high is not offered."""
    rendition = prepared.title.rendition(rendition_id)
    networks = _networks(prepared, table, rendition, family)
    bench = _Bench(
        prepared=prepared,
        rendition=rendition,
        networks=networks,
        macs=tuple(parse(str(each.architecture)).macs_per_output_px for each in networks),
        every_frames=every_frames,
        progress=progress,
    )
    tiers = {"none": bench.follow([0]), "reuse": bench.follow([len(networks) + 1, *[1] * (REUSED_FRAMES - 1)])}
    tiers |= {str(tier): bench.follow([2 + number]) for number, tier in enumerate(TIER_DEPTHS)}
    scored = bench.score(tiers)
    shared = {f"{budget:g}": bench.share_time(budget * bench.macs[0]) for budget in BUDGETS}
    kept = tuple(kept_by_segment(prepared, rendition, networks[0], progress))
    forecast = [share for segment in bench.forecast_kept() for share in segment]
    chosen = {f"{budget:g}": bench.follow_policy(forecast, np.concatenate(kept), budget) for budget in BUDGETS}
    known = RungGains(gains=bench.gains_by_segment(scored), kept=kept, macs=bench.macs)
    truth = replace(known, gains=bench.gains_by_frame(scored))
    planned, optimum = (plan_rung(each, "00" * 32, BUDGETS) for each in (known, truth))
    return PlanBenchResult(
        title=prepared.title.id,
        rendition=rendition.id,
        family=family,
        frames=sum(prepared.title.segment_frames),
        curves={
            "tiers": bench.points(tiers, scored),
            "time-shared": bench.points(shared, bench.score(shared)),
            "policy": bench.points(chosen, bench.score(chosen)),
            "plan": bench.planned_points(planned),
            "optimum": bench.planned_points(optimum),
        },
        plan_bytes_share=max(len(dumps_plan(each.plan)) for each in planned) / sum(rendition.segment_bytes),
    )


def _networks(
    prepared: PreparedTitle, table: EnhancementTable, rendition: Rendition, family: Family
) -> list[AnyNetwork]:
    """All exits of the rendition's network of a family, at the strength that is offered."""
    name = f"{family}-{Tier.HIGH}"
    offer = next((each.offer(rendition.id) for each in table.enhancers if each.name == name), None)
    if offer is None:
        raise InputError(f"{prepared.title.id} offers no {name} for {rendition.id}: give another --rung or --family.")
    chunks = tuple(read_chunks(prepared, offer)) or catalog.generic_chunks(parse(offer.architecture))
    return load_exits(chunks, offer.strength)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bench:
    """One network on one rendition. macs: of each of its exits."""

    prepared: PreparedTitle
    rendition: Rendition
    networks: Sequence[AnyNetwork]
    macs: tuple[float, ...]
    every_frames: int
    progress: ShareListener

    def follow(self, pattern: Sequence[int]) -> FramePlan:
        """The plan that repeats some actions, from each segment's first frame on."""
        return self._plan([np.resize(pattern, frames) for frames in self.prepared.title.segment_frames])

    def share_time(self, macs: float) -> FramePlan:
        """Frames taken in turns by the two tiers between which a budget lies, blind to what they show."""
        costs = [0.0, *self.macs]
        above = next((number for number, cost in enumerate(costs) if cost >= macs), len(costs) - 1)
        below = max(0, above - 1)
        share = min(1.0, (macs - costs[below]) / (costs[above] - costs[below]))
        actions = [0 if number == 0 else number + 1 for number in (below, above)]
        frames = np.arange(sum(self.prepared.title.segment_frames))
        turns = (frames * _GOLDEN % 1 < share).astype(int)
        ends = np.cumsum(self.prepared.title.segment_frames)[:-1]
        return self._plan(np.split(np.array(actions)[turns], ends))

    def forecast_kept(self) -> Iterator[list[float]]:
        """Of each segment what a policy knows of its frames: what it expects to be left of a gain carried to each."""
        segments = len(self.prepared.title.segment_frames)
        for segment in range(segments):
            self.progress("Following motion", segment / segments)
            follower = MotionFollower()
            frames = self.prepared.frames(self.rendition, segment, motion=True)
            yield [forecast_kept(follower.motion_to(frame.picture)) for frame in frames]

    def follow_policy(self, forecast: Sequence[float], kept: Floats, budget: float) -> FramePlan:
        """What the policy does, frame by frame, without knowing those to come."""
        costs = [macs / self.macs[0] for macs in self.macs]
        policy = ExitPolicy(exit_costs=costs, carry_cost=CARRY_COST, budget=budget)
        actions = np.array(list(choose_actions(policy, forecast, kept.tolist())))
        return self._plan(np.split(actions, np.cumsum(self.prepared.title.segment_frames)[:-1]))

    def _plan(self, actions: Sequence[Indices]) -> FramePlan:
        rows = tuple(part.astype(np.uint8) for part in actions)
        return FramePlan(weights_sha256="00" * 32, exits=len(self.networks), actions=rows)

    def score(self, plans: Mapping[str, FramePlan]) -> dict[str, PlanScores]:
        """Follow all plans and judge what they show."""
        size_px = self.rendition.width_px, self.rendition.height_px
        subjects = [
            PlanSubject(
                key=name,
                rendition=self.rendition,
                enhancer=open_planned(self.networks, "", size_px=size_px, display_px=self.prepared.display_px),
                plan=plan,
            )
            for name, plan in plans.items()
        ]
        return score_plans(self.prepared, subjects, self.every_frames, self.progress)

    def points(self, plans: Mapping[str, FramePlan], scored: Mapping[str, PlanScores]) -> list[CurvePoint]:
        """Each plan with its cost and what is seen of it, the cheapest first."""
        found = [
            CurvePoint(
                name=name,
                macs=round(mean_macs(plan, self.macs), 1),
                figures=self._figures(scored[name]),
            )
            for name, plan in plans.items()
        ]
        return sorted(found, key=lambda point: point.macs)

    def planned_points(self, plans: Sequence[BudgetPlan]) -> list[CurvePoint]:
        """The same for plans of BUDGETS, with what was expected of them."""
        named = {f"{budget:g}": each for budget, each in zip(BUDGETS, plans, strict=True)}
        by_name = {name: each.plan for name, each in named.items()}
        points = self.points(by_name, self.score(by_name))
        return [replace(each, expected_gain=round(named[each.name].expected_gain, 3)) for each in points]

    def _figures(self, scored: PlanScores) -> dict[str, float]:
        title = self.prepared.title
        means = mean_figures(scored.quality(self.prepared, self.rendition), title.segment_frames)
        return {name: round(value, 4) for name, value in means.items()}

    def gains_by_segment(self, scored: Mapping[str, PlanScores]) -> tuple[Floats, ...]:
        """What `toprung train` knows: points of trusted quality that each exit adds in each segment."""
        found = [scored[str(tier)].quality(self.prepared, self.rendition) for tier in TIER_DEPTHS]
        return gains_of(self.prepared, self.rendition, found)

    def gains_by_frame(self, scored: Mapping[str, PlanScores]) -> tuple[Floats, ...]:
        """VMAF-NEG that each exit adds to each frame, as the nearest judged frame says: the truth in hand."""
        judged = scored["none"].scores
        added = np.stack([scored[str(tier)].scores.vmaf_neg - judged.vmaf_neg for tier in TIER_DEPTHS], axis=1)
        lengths = self.prepared.title.segment_frames
        nearest = np.abs(judged.frame[None] - np.arange(sum(lengths))[:, None]).argmin(axis=1)
        return tuple(np.split(added[nearest], np.cumsum(lengths)[:-1]))
