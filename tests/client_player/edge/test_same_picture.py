"""A node's pictures, before it encodes them, are those of a player that lifts by itself, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from edge_nodes import StockViewer, edge
from film import own_device, small_film_library
from lifted import PLAN_EXITS, PLAN_NAME, planned_library
from served import serving
from viewers import EAGER, FAST_MACHINE, of_kind

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.events import Shown
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.edge.lifts.lifting import LiftJob, lift_frames, open_for
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch


def planning_device() -> DeviceProfile:
    names = ("upscale-x1.5", "carry-x1.5", *PLAN_EXITS)
    return DeviceProfile(
        device=Device(name="test device", processor="any", cores=2, memory_bytes=4 << 30),
        measurements=tuple(
            Measurement(
                architecture=name,
                width_px=320,
                height_px=180,
                backend="openvino-fp32",
                threads=1,
                p50_ms=1.0,
                p95_ms=1.0,
            )
            for name in names
        ),
    )


def lumas(path: Path) -> list[np.ndarray]:  # type: ignore[type-arg]
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["tier", "plan"])
def test_node_and_device_make_the_same_pictures(tmp_path: Path, kind: str) -> None:
    library, title, name, profile = (
        (small_film_library(tmp_path), "film", "generic-low", own_device())
        if kind == "tier"
        else (planned_library(tmp_path), "bbb", PLAN_NAME, planning_device())
    )

    async def at_the_edge() -> list[LiftJob]:
        async with serving(str(library)) as origin, edge(origin, tmp_path / "cache", profile=profile) as node:
            viewer = await StockViewer(node, title).play()
            assert name in viewer.enhancers
            return node.lifters.jobs

    async def on_the_device() -> Played:
        request = PlayRequest(url="", trace=constant(8e6, 0.05), profile=profile, sink=f"y4m:{tmp_path / 'shown.y4m'}")
        async with serving(str(library), EAGER) as url:
            return await watch(replace(request, url=url), tmp_path / "shown.y")

    jobs = run_virtual(at_the_edge(), wall_rate=FAST_MACHINE)
    played = run_virtual(on_the_device(), wall_rate=FAST_MACHINE)
    seen = {event.segment: event for event in of_kind(played.events, Shown) if event.enhancer == name}
    shown = lumas(tmp_path / "shown.y4m")
    compared = [job for job in jobs if job.segment in seen and seen[job.segment].enhanced_frames == job.frames]
    assert compared
    for job in compared:
        made = [frame.picture.to_ndarray() for frame in lift_frames(job, open_for(job))]
        there = shown[job.first_frame : job.first_frame + job.frames]
        assert len(made) == len(there) == job.frames
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(made, there, strict=True))
