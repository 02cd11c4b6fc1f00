"""What is measured of a plan is what a player shows that follows it from the first frame of each segment."""

from __future__ import annotations

import numpy as np
from titles import TINY_CLIP, TITLE_ID, tiny_library

from abr.core.frame_plan import Action, FramePlan
from enhancers.networks import catalog
from enhancers.planning.planned_frames import PlannedFrames
from enhancers.prepared_title import open_title
from enhancers.runtime.followed_plan import FollowedPlan
from enhancers.runtime.loader import load_exits, open_planned
from enhancers.runtime.planned import PlannedEnhancer


def open_all() -> PlannedEnhancer:
    networks = load_exits(catalog.generic_chunks(catalog.architecture(4)))
    return open_planned(networks, "", size_px=(114, 64), display_px=(456, 256))


def test_frames_are_those_of_a_player_in_any_order() -> None:
    prepared = open_title(tiny_library().root, TITLE_ID, TINY_CLIP)
    title, rendition = prepared.title, prepared.title.rendition("64p")
    pattern = [Action.FIRST_EXIT, Action.CARRY, Action.CARRY, Action.NOTHING]
    plan = FramePlan(
        weights_sha256="00" * 32,
        exits=3,
        actions=tuple(np.resize(pattern, frames).astype(np.uint8) for frames in title.segment_frames),
    )
    frames = PlannedFrames(prepared, rendition, open_all(), plan)
    player, first = FollowedPlan(open_all(), plan), title.segment_frames[0]
    shown = {}
    for number, frame in enumerate(prepared.frames(rendition, 1, motion=True)[:7]):
        shown[first + number] = player.perform(frame, player.planned_action(1, number))[0]
    for index in (first + 2, first + 6, first + 1, first + 5):
        assert np.array_equal(frames(index).y, shown[index].y)
