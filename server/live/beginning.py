"""How a stream begins: with its first pictures, anew, or where the process was killed that made it before."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from abr.media.probe import SourceInfo
from server.ingest.encode_settings import chunk_length, segment_length
from server.ingest.ladder import check_caps, plan_sizes, planned_sizes
from server.live.clock import WallClock
from server.live.ladder.caps import caps_by_size
from server.live.options import LiveOptions
from server.live.plan import LivePlan
from server.live.publication import begin_folder
from server.live.resuming import Resumed, interrupted
from server.live.source.reader import LiveSource
from server.live.source.spans import Beginning, begin
from server.media.live_title import LiveTitle


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A stream whose first pictures are there. wall: its clock. resumed: of one that goes on."""

    beginning: Beginning
    plan: LivePlan
    wall: WallClock
    resumed: Resumed | None = None


def begin_stream(source: LiveSource, folder: Path, options: LiveOptions, version: str) -> Begun:
    """Wait for the source, and let viewers know. version: of a stream that begins anew.

    A kept one always does: its recording would have a hole. Raises MediaError for what is no source, InputError for
    rungs that it cannot have, StorageError when the disk refuses; then nothing stays that was not there before.
    """
    may_go_on, return_s = source.address.may_return and not options.keep, source.address.return_s
    former = interrupted(folder, return_s) if may_go_on else None
    if former is None:
        begin_folder(folder, _waiting(options, version))
    else:
        former.wait(return_s)
    source.start()
    try:
        beginning = begin(source)
        plan = plan_stream(options, beginning.footage(source.address.shown), version)
    except BaseException:
        if former is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    begun_s = time.time() - (time.monotonic() - beginning.first_picture_s)
    if former is None:
        return Begun(beginning=beginning, plan=plan, wall=WallClock(begun_s))
    if former.fits(plan, begun_s):
        plan, resumed = replace(plan, version=former.live.version), former.take_up(plan)
        return Begun(beginning=beginning, plan=plan, wall=WallClock(resumed.begun_s), resumed=resumed)
    begin_folder(folder, _waiting(options, version))
    return Begun(beginning=beginning, plan=plan, wall=WallClock(begun_s))


def plan_stream(options: LiveOptions, footage: SourceInfo, version: str) -> LivePlan:
    """The ladder for a source. Raises InputError for rungs that it cannot have."""
    recipe, window_s = options.recipe, options.window_s
    display_px = footage.display_width_px, footage.display_height_px
    rungs = planned_sizes(*display_px, recipe.planned) if recipe.planned else plan_sizes(*display_px, recipe.heights_px)
    check_caps(rungs, recipe.caps_bps)
    segment_frames = segment_length(recipe, footage.rate)
    chunk_frames = chunk_length(segment_frames, footage.rate, options.chunk_s)
    sound_bps = recipe.audio_bps if footage.sounds else 0
    fixed = recipe.describe(), display_px, footage.frame_rate, rungs, chunk_frames, sound_bps, window_s
    return LivePlan(
        name=options.name,
        version=version,
        footage=footage,
        rungs=caps_by_size(rungs, footage.rate, dict(recipe.caps_bps)),
        segment_frames=segment_frames,
        chunk_frames=chunk_frames if chunk_frames < segment_frames else 0,
        sound_bps=sound_bps,
        window_s=window_s,
        recipe=sha256(repr(fixed).encode()).hexdigest()[:16],
    )


def _waiting(options: LiveOptions, version: str) -> LiveTitle:
    return LiveTitle(
        id=options.name,
        state="waiting",
        version=version,
        segment_s=options.recipe.segment_s,
        window_s=options.window_s,
        updated_s=time.time(),
    )
