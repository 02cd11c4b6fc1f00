"""Sessions on a device that no tier is for: frame plans are decided, followed, and lowered where time runs out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served import serving
from titles import prepared_title
from viewers import FAST_MACHINE, of_kind

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import ENHANCEMENTS_FILE, ActionShare, EnhancementTable, Family, PlanOffer
from abr.core.events import Decided, Downloaded, Failed, Shown
from abr.core.frame_plan import Action, FramePlan, dumps_plan
from abr.core.title import Title
from abr.records import dumps
from abr.simulation.traces import constant
from abr.virtual_time import VirtualTimeLoop, run_virtual
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch
from enhancers.measurement.publish import generic_offer, plan_chunk
from enhancers.networks import catalog
from enhancers.networks.checkpoint import weights_digest
from enhancers.runtime.followed_plan import FollowedPlan
from enhancers.runtime.frames import Frame

ARCHITECTURE = catalog.architecture(4)
NAMES = ("upscale-x4", "carry-x4", "plain-m2c32x4", "plain-m5c32x4", "plain-m10c32x4")
ACTION_MS = dict(zip(NAMES, (1.0, 3.0, 45.0, 70.0, 120.0), strict=True))
"""Of a device that can run no tier on each frame of a film of 25 a second."""
NAME = "generic-plan-1"


def planned_actions(title: Title) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    """One deep exit in twelve frames, carried eight times; then three plain frames."""
    pattern = [4, *[Action.CARRY] * 8, *[Action.NOTHING] * 3]
    return tuple(np.resize(pattern, frames).astype(np.uint8) for frames in title.segment_frames)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    title, source = prepared_title()
    root = tmp_path_factory.mktemp("planned") / "library"
    folder = root / title.id
    shutil.copytree(source, folder)
    plan = FramePlan(
        weights_sha256=weights_digest(catalog.generic_chunks(ARCHITECTURE)), exits=3, actions=planned_actions(title)
    )
    plain, data = title.plain_quality["180p"], dumps_plan(plan)
    counted = tuple(points + 40 for points in plain.vmaf)
    quality = plain.__class__(
        vmaf=counted, vmaf_neg=plain.vmaf_neg, ssim=plain.ssim, psnr_y_db=plain.psnr_y_db, trusted=counted
    )
    offered = PlanOffer(
        name=NAME,
        family=Family.GENERIC,
        offer=generic_offer("180p", str(ARCHITECTURE), quality),
        file=plan_chunk("180p", NAME, data),
        shares=tuple(
            ActionShare(architecture=name, share=share) for name, share in zip(NAMES, plan.shares(), strict=True)
        ),
    )
    (folder / "enhancers").mkdir()
    (folder / offered.file.file).write_bytes(data)
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=(), plans=(offered,))
    (folder / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return root


def slow_device() -> DeviceProfile:
    return DeviceProfile(
        device=Device(name="slow", processor="slow", cores=1, memory_bytes=1 << 30),
        measurements=tuple(
            Measurement(
                architecture=name,
                width_px=320,
                height_px=180,
                backend="openvino-int8",
                threads=1,
                p50_ms=ms,
                p95_ms=ms,
            )
            for name, ms in ACTION_MS.items()
        ),
    )


def play_slowly(library: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, times: float = 1.0) -> Played:
    """Each action takes what the device said, or so many times as long; the rest of this machine hardly counts."""
    real = FollowedPlan.perform

    async def main() -> Played:
        import asyncio

        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)

        def charged(self: FollowedPlan, frame: Frame, action: int) -> tuple[Frame, int]:
            shown, done = real(self, frame, action)
            loop.charge(ACTION_MS[NAMES[done]] / 1000 * times)
            return shown, done

        monkeypatch.setattr(FollowedPlan, "perform", charged)
        request = PlayRequest(
            url="", trace=constant(3e6, 0.05), profile=slow_device(), families=(Family.GENERIC,), controller="toprung"
        )
        async with serving(str(library)) as url:
            return await watch(replace(request, url=url), folder / "shown.y")

    return run_virtual(main(), wall_rate=FAST_MACHINE)


def test_a_plan_is_decided_fetched_and_followed(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play_slowly(library, tmp_path, monkeypatch)
    decided, shown = of_kind(played.events, Decided), of_kind(played.events, Shown)
    assert NAME in {event.enhancer for event in decided}
    fetched = [event.name for event in of_kind(played.events, Downloaded) if event.kind == "weights"]
    assert [name.rpartition(".")[2] for name in fetched] == ["plan"]
    assert not of_kind(played.events, Failed)
    followed = [event for event in shown if event.enhancer == NAME]
    assert followed
    assert sum(event.enhanced_frames for event in followed) > 0.8 * sum(event.frames for event in followed)
    assert sum(event.late_frames for event in shown) <= 1


def test_where_time_runs_out_actions_are_lowered_and_the_log_says_so(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play_slowly(library, tmp_path, monkeypatch, times=4.0)
    shown = of_kind(played.events, Shown)
    assert sum(event.lowered_frames or 0 for event in shown) > 0
    assert sum(event.late_frames for event in shown) <= 3
    for event in shown:
        assert event.enhanced_frames + event.plain_frames == event.frames


def test_a_damaged_plan_is_not_followed(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "library"
    shutil.copytree(library, damaged)
    (path,) = damaged.glob("*/enhancers/*.plan")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    played = play_slowly(damaged, tmp_path, monkeypatch)
    assert sum(event.enhanced_frames for event in of_kind(played.events, Shown)) == 0
    assert any("sha256" in event.detail for event in of_kind(played.events, Failed))
    assert sum(event.late_frames for event in of_kind(played.events, Shown)) <= 1
