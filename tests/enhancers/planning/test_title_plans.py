"""The plans of a title: measured as they are shown, published with their files, and only where they add something."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from titles import CLIP, TITLE_ID, prepared_title

from abr.core.enhancement import Family, Tier
from abr.core.frame_plan import FramePlan, dumps_plan, loads_plan
from abr.errors import FormatError
from enhancers.measurement.offers import list_candidates
from enhancers.networks.checkpoint import digest
from enhancers.planning.segment_plans import BudgetPlan
from enhancers.planning.title_plans import make_plans, promising
from enhancers.prepared_title import open_title
from enhancers.runtime.loader import open_plan

SIZES = {"size_px": (320, 180), "display_px": (1280, 720)}


@pytest.mark.slow
def test_plans_are_measured_and_each_adds_something() -> None:
    title, folder = prepared_title()
    prepared, plain = open_title(folder.parent, TITLE_ID, CLIP), title.plain_quality["180p"]
    candidates = [each for each in list_candidates(prepared, {}, (Tier.LOW,)) if each.rendition.id == "180p"]
    offered = [replace(each, strength=0.5) for each in candidates]
    told = msgspec.structs.replace(plain, vmaf=tuple(vmaf + 3 for vmaf in plain.vmaf))
    plans = make_plans(prepared, offered, {each.key: told for each in offered}, 12, lambda *_: None)
    assert [plan.name for plan, _ in plans] == ["generic-plan-1", "generic-plan-2"]
    before = float(np.mean(plain.vmaf))
    for plan, data in plans:
        assert (plan.family, plan.offer.strength, plan.offer.chunks) == (Family.GENERIC, 0.5, ())
        assert (len(data), digest(data)) == (plan.file.size_bytes, plan.file.sha256)
        assert len(data) <= 0.002 * sum(title.rendition("180p").segment_bytes)
        assert sum(each.share for each in plan.shares) == pytest.approx(1, abs=0.001)
        assert loads_plan(data, title.segment_frames).weights_sha256 == plan.offer.weights_sha256
        assert np.mean(plan.offer.quality.trusted) > before
        before = float(np.mean(plan.offer.quality.trusted))

    plan, data = plans[-1]
    followed = open_plan(plan, title.segment_frames, [data], **SIZES)
    frame = prepared.frames(title.rendition("180p"), 0, motion=True)[0]
    assert followed.perform(frame, followed.planned_action(0, 0))[0].width_px == 1280
    with pytest.raises(FormatError, match="sha256"):
        open_plan(plan, title.segment_frames, [data[:-1] + b"!"], **SIZES)
    other = dumps_plan(_for_other_weights(data, title.segment_frames))
    named = msgspec.structs.replace(plan, file=msgspec.structs.replace(plan.file, sha256=digest(other)))
    with pytest.raises(FormatError, match="was made for other weights"):
        open_plan(named, title.segment_frames, [other], **SIZES)


def _for_other_weights(data: bytes, segment_frames: tuple[int, ...]) -> FramePlan:
    return replace(loads_plan(data, segment_frames), weights_sha256="ab" * 32)


def test_plans_that_should_add_nothing_are_not_even_measured() -> None:
    some = FramePlan(weights_sha256="00" * 32, exits=1, actions=())
    gains = {0.25: 3.0, 0.5: 3.2, 1.0: 5.0, 2.0: 9.0}
    plans = [BudgetPlan(plan=some, expected_gain=gain, load=load) for load, gain in gains.items()]
    assert list(promising(plans, {1000.0: 4.8, 3000.0: 8.8})) == [1, 4]
    assert list(promising(plans, {1000.0: 4.0, 3000.0: 8.8})) == [1, 3, 4]
    assert list(promising(plans, {1000.0: 4.0, 1900.0: 8.8})) == [1, 3]
