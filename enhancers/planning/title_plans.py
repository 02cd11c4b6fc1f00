"""The frame plans of a title: made from what its tiers were measured to bring, measured themselves, ready to publish.

Of each rendition the networks of one family are planned: its own where there are any, the generic ones else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import numpy as np

from abr.core.arrays import Floats
from abr.core.enhancement import ActionShare, Currency, Family, PlanOffer
from abr.core.frame_plan import FramePlan, carry_name, dumps_plan, upscale_name
from abr.core.options import counted_quality
from abr.core.title import Quality, Rendition
from abr.media.video_codecs import codec_of
from abr.progress import ShareListener
from abr.quality.segment_figures import lift_judge
from enhancers.measurement.offers import OfferCandidate
from enhancers.measurement.publish import plan_chunk
from enhancers.networks.catalog import TIER_DEPTHS
from enhancers.networks.checkpoint import weights_digest
from enhancers.networks.plain import parse
from enhancers.planning.kept_gain import measure_kept
from enhancers.planning.planned_frames import PlanSubject, score_plans
from enhancers.planning.segment_plans import BudgetPlan, RungGains, deepest_exit, mean_macs, plan_rung
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.backends import AnyNetwork
from enhancers.runtime.loader import load_exits, open_network, open_planned

WORTH = 0.5
"""Points of trusted quality that a plan must bring beyond plain playback, and beyond every cheaper plan."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RungPlans:
    """The plans of one rendition by their number. Of plans, and of the measured exits, the cheapest comes first."""

    exits: Sequence[OfferCandidate]
    plans: Mapping[int, BudgetPlan]

    @property
    def rendition(self) -> Rendition:
        """What is lifted."""
        return self.exits[0].rendition

    def networks(self, depth: int) -> list[AnyNetwork]:
        """The first `depth` exits."""
        return load_exits(self.exits[depth - 1].chunks, self.exits[0].strength)


def make_plans(
    prepared: PreparedTitle,
    offered: Sequence[OfferCandidate],
    qualities: Mapping[str, Quality],
    every_frames: int,
    progress: ShareListener,
) -> list[tuple[PlanOffer, bytes]]:
    """The plans worth offering, with their files.

    offered: the tiers that are. qualities: what these were measured at, by key.
    """
    rungs = [_plan(prepared, exits, qualities, progress) for exits in _planned_exits(offered)]
    subjects = [subject for rung in rungs for subject in _subjects(prepared, rung)]
    scored = score_plans(prepared, subjects, every_frames, progress) if subjects else {}
    found = {each.key: scored[each.key].quality(prepared, each.rendition) for each in subjects}
    return [plan for rung in rungs for plan in _worthwhile(prepared, rung, found)]


def _planned_exits(offered: Sequence[OfferCandidate]) -> Iterator[list[OfferCandidate]]:
    """Of each rendition the exits to plan with: those of one family from the first on, without gaps.

    Plans carry gains along the codec's motion: there is none where its decoder tells no motion.
    """
    order = list(TIER_DEPTHS)
    networks = [
        each
        for each in offered
        if each.tier in order
        and each.family in (Family.CONTENT, Family.GENERIC)
        and codec_of(each.rendition.codecs).exports_motion
    ]

    def place(each: OfferCandidate) -> tuple[str, bool, int]:
        return each.rendition.id, each.family is Family.GENERIC, order.index(each.tier)

    for _, of_rendition in groupby(sorted(networks, key=place), key=lambda each: each.rendition.id):
        for _, of_family in groupby(of_rendition, key=lambda each: each.family):
            exits = list(of_family)
            if [each.tier for each in exits] == order[: len(exits)]:
                yield exits
            break


def _plan(
    prepared: PreparedTitle,
    exits: Sequence[OfferCandidate],
    qualities: Mapping[str, Quality],
    progress: ShareListener,
) -> RungPlans:
    rendition = exits[0].rendition
    progress(f"Planning the frames of {rendition.id}", 0.0)
    known = RungGains(
        gains=gains_of(prepared, rendition, [qualities[each.key] for each in exits]),
        kept=tuple(kept_by_segment(prepared, rendition, load_exits(exits[0].chunks)[0], progress)),
        macs=tuple(parse(each.architecture).macs_per_output_px for each in exits),
    )
    plans = plan_rung(known, weights_digest(exits[-1].chunks))
    lengths = [len(kept) for kept in known.kept]
    tiers = np.average([rows.mean(axis=0) for rows in known.gains], axis=0, weights=lengths)
    return RungPlans(exits=exits, plans=promising(plans, dict(zip(known.macs, tiers.tolist(), strict=True))))


def promising(plans: Sequence[BudgetPlan], tiers: Mapping[float, float]) -> dict[int, BudgetPlan]:
    """By number, from 1: the plans that should add WORTH to every cheaper plan, and to tiers that cost no more.

    tiers: the gain of each by its multiply-accumulates. Measuring a plan takes as long as measuring a tier.
    """
    kept: dict[int, BudgetPlan] = {}
    best, cheapest = 0.0, min(tiers)
    for number, plan in enumerate(plans, start=1):
        rivals = [gain for macs, gain in tiers.items() if macs <= plan.load * cheapest]
        if plan.expected_gain >= max([best, *rivals]) + WORTH:
            kept[number] = plan
            best = plan.expected_gain
    return kept


def gains_of(prepared: PreparedTitle, rendition: Rendition, exits: Sequence[Quality]) -> tuple[Floats, ...]:
    """Points of trusted quality that each exit adds to plain playback: (1, E) for each segment."""
    plain = counted_quality(prepared.title.plain_quality[rendition.id], Currency.TRUSTED)
    counted = [counted_quality(quality, Currency.TRUSTED) for quality in exits]
    return tuple(np.subtract(counted, plain).T[:, None])


def kept_by_segment(
    prepared: PreparedTitle, rendition: Rendition, lightest: AnyNetwork, progress: ShareListener
) -> Iterator[Floats]:
    """`measure_kept` of each segment. lightest: the cheapest exit of the rendition's network."""
    size_px = rendition.width_px, rendition.height_px
    opened = open_network(lightest, "", size_px=size_px, display_px=prepared.display_px)
    segments = len(prepared.title.segment_frames)
    for segment in range(segments):
        progress(f"Following motion in {rendition.id}", segment / segments)
        yield measure_kept(prepared.frames(rendition, segment, motion=True), opened, lightest.architecture.scale)


def _subjects(prepared: PreparedTitle, rung: RungPlans) -> Iterator[PlanSubject]:
    size_px = rung.rendition.width_px, rung.rendition.height_px
    for number, each in rung.plans.items():
        networks = rung.networks(deepest_exit(each.plan))
        enhancer = open_planned(networks, "", size_px=size_px, display_px=prepared.display_px)
        yield PlanSubject(key=_key(rung, number), rendition=rung.rendition, enhancer=enhancer, plan=each.plan)


def _key(rung: RungPlans, number: int) -> str:
    return f"{rung.exits[0].family}-plan-{number}@{rung.rendition.id}"


def _worthwhile(
    prepared: PreparedTitle, rung: RungPlans, found: Mapping[str, Quality]
) -> Iterator[tuple[PlanOffer, bytes]]:
    """Those that bring more than plain playback and every cheaper plan, and that no meter of the panel refuses."""
    title, judge = prepared.title, lift_judge(prepared.title, rung.rendition.id)

    def mean(quality: Quality) -> float:
        return float(np.average(counted_quality(quality, Currency.TRUSTED), weights=title.segment_frames))

    best = mean(title.plain_quality[rung.rendition.id])
    for number, each in rung.plans.items():
        quality = found[_key(rung, number)]
        if mean(quality) >= best + WORTH and not judge.refusals(quality):
            best = mean(quality)
            yield _offer(rung, number, each.plan, quality)


def _offer(rung: RungPlans, number: int, plan: FramePlan, quality: Quality) -> tuple[PlanOffer, bytes]:
    depth = deepest_exit(plan)
    deepest = rung.exits[depth - 1]
    plan = FramePlan(weights_sha256=weights_digest(deepest.chunks), exits=depth, actions=plan.actions)
    data, name = dumps_plan(plan), f"{deepest.family}-plan-{number}"
    shares = dict(zip(action_architectures(rung.exits[:depth]), plan.shares(), strict=True))
    offer = msgspec.structs.replace(deepest.offer(quality), macs_per_output_px=_mean_macs(rung, plan))
    offered = PlanOffer(
        name=name,
        family=deepest.family,
        offer=offer,
        file=plan_chunk(rung.rendition.id, name, data),
        shares=tuple(ActionShare(architecture=each, share=round(share, 4)) for each, share in shares.items()),
    )
    return offered, data


def action_architectures(exits: Sequence[OfferCandidate]) -> tuple[str, ...]:
    """What each action costs a device, as its profile names it: nothing, carry, exit 1 … n."""
    scale = parse(exits[0].architecture).scale
    return (upscale_name(scale), carry_name(scale), *(each.architecture for each in exits))


def _mean_macs(rung: RungPlans, plan: FramePlan) -> float:
    macs = [parse(each.architecture).macs_per_output_px for each in rung.exits]
    return round(mean_macs(plan, macs), 1)
