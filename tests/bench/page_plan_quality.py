"""What frames are worth that the page makes by a frame plan, beside those of the Python runtime.

    python tests/bench/page_plan_quality.py LIBRARY TITLE SOURCE [--plan content-plan-1] [--segments 2] [--late 0 6 12]

The page has no motion of the codec and finds its own; what takes it longer than a frame is carried from when it is done
(`--late`: so many frames after its own). The page's own modules say in a real browser what becomes of each frame: which
anchor's gain it gets, moved how, and how much of it. The pictures are then made here, as its shaders make them
(tests/browser/test_page_plans.py holds them to that), since a software adapter would take minutes. One frame in
`--every` is scored. Prints a line for each way.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from browser import Watched, chromium
from served import serving

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, PlanOffer
from abr.core.frame_plan import Action, FramePlan, loads_plan
from abr.core.title import Rendition
from abr.media.planes import planes_of
from abr.records import load
from enhancers.bench.plan import first_segments
from enhancers.measurement.quality import (
    Measured,
    cut_into_blocks,
    join_scores,
    kept_frames,
    measure_shown,
    read_references,
)
from enhancers.networks import catalog
from enhancers.networks.plain import parse
from enhancers.planning.planned_frames import PlannedFrames
from enhancers.prepared_title import PreparedTitle, open_title
from enhancers.runtime.frames import Frame
from enhancers.runtime.loader import load_exits, open_network, open_planned
from enhancers.runtime.network_enhancer import NetworkEnhancer

Shown = Callable[[int], Frame]
Gains = list[npt.NDArray[np.int16]]

FOLLOW = """async ([actions, exits, late, lumas, widthPx, heightPx]) => {
  const { Carrier } = await import("/web/player/plans/carrier.js");
  const { Follower } = await import("/web/player/plans/follower.js");
  const carrier = new Carrier();
  const follower = new Follower(Uint8Array.from(actions));
  const told = [];
  let [ready, dueAt, made] = [null, -1, null];
  const networks = Array.from({ length: exits }, (_, exit) => ({ widthPx, heightPx,
    async run() { Object.assign(this, { held: this.next }); made = { exit, from: this.next }; },
    runBeside() { const from = this.next;
      return new Promise((done) => (ready = done)).then(() => (this.held = from)); },
    async carry(_, motion, share) { made = motion && { exit, from: this.held, share, motion: [...motion] }; } }));
  for (const [number, text] of lumas.entries()) {
    const y = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    if (ready && number >= dueAt) {
      ready();
      ready = null;
      while (carrier.busy) await new Promise((resolve) => setTimeout(resolve));
    }
    const { action, exit } = follower.asked(number);
    for (const network of networks) network.next = number;
    made = null;
    const { done, begun } = await carrier.make({ picture: { widthPx, heightPx, y }, number, action,
      begin: networks[exit], inTime: () => late === 0, plain: networks[0] });
    if (begun && late) dueAt = number + late;
    follower.heard(number, { begun, done, idle: !carrier.busy });
    told.push(made);
  }
  return told;
}"""
"""With networks that compute nothing: what becomes of each frame, and after how many frames an anchor is done."""


class Opened(NamedTuple):
    """A plan's title and rendition, its exits opened, and its plan cut to the title."""

    prepared: PreparedTitle
    rendition: Rendition
    exits: Sequence[NetworkEnhancer]
    scale: float
    plan: FramePlan
    frames: Sequence[Frame]


def open_exits(given: argparse.Namespace) -> tuple[Opened, tuple[bytes, ...], float]:
    prepared = open_title(given.library, given.title, given.source)
    offered = load(prepared.folder / ENHANCEMENTS_FILE, EnhancementTable).plan(given.plan, given.rung)
    assert offered is not None, f"there is no {given.plan} for {given.rung}"
    whole = loads_plan((prepared.folder / offered.file.file).read_bytes(), prepared.title.segment_frames)
    prepared = first_segments(prepared, given.segments)
    rendition = prepared.title.rendition(given.rung)
    chunks = chunks_of(prepared.folder, offered)
    size_px = rendition.width_px, rendition.height_px
    networks = load_exits(chunks, offered.offer.strength)
    plan = FramePlan(weights_sha256=whole.weights_sha256, exits=whole.exits, actions=whole.actions[: given.segments])
    opened = Opened(
        prepared=prepared,
        rendition=rendition,
        exits=[open_network(each, "", size_px=size_px, display_px=prepared.display_px) for each in networks],
        scale=parse(offered.offer.architecture).scale,
        plan=plan,
        frames=[frame for part in range(given.segments) for frame in prepared.frames(rendition, part, motion=True)],
    )
    return opened, chunks, offered.offer.strength


def chunks_of(folder: Path, plan: PlanOffer) -> tuple[bytes, ...]:
    own = tuple((folder / chunk.file).read_bytes() for chunk in plan.offer.chunks)
    return own or catalog.generic_chunks(parse(plan.offer.architecture))


class PageFrames:
    """Frames by their number, made as the page was told to make each."""

    def __init__(self, opened: Opened, told: Sequence[dict[str, object] | None]) -> None:
        self._opened, self._told = opened, told
        self._gains: dict[tuple[int, int], Gains] = {}

    def __call__(self, index: int) -> Frame:
        network, made = self._opened.exits[0], self._told[index]
        picture = network.upscale(self._opened.frames[index])
        if made is not None:
            gains = self._given(int(str(made["exit"])), int(str(made["from"])))
            for number, (plane, gain) in enumerate(zip(planes_of(picture), gains, strict=False)):
                added = (
                    gain if "motion" not in made else self._moved(gain, made, self._opened.scale / (1 + (number > 0)))
                )
                plane[:] = np.clip(plane + added, 0, 255)
        return network.scale_to_display(picture)

    def _given(self, exit_: int, number: int) -> Gains:
        key = exit_, number
        if key not in self._gains:
            network, frame = self._opened.exits[exit_], self._opened.frames[number]
            picture = network.upscale(frame)
            planes = planes_of(picture)[: 3 if network.lifts_chroma else 1]
            before = [plane.astype(np.int16) for plane in planes]
            network.lift(frame, planes[0])
            network.lift_chroma(frame, picture)
            self._gains[key] = [plane - plain for plane, plain in zip(planes, before, strict=True)]
        return self._gains[key]

    def _moved(self, gain: npt.NDArray[np.int16], made: dict[str, object], scale: float) -> npt.NDArray[np.int16]:
        """As server/web/network/webgpu_carry.js: each block from where it was, rounded to whole pixels."""
        side, (height, width) = round(8 * scale), gain.shape
        columns = -(-self._opened.rendition.width_px // 8)
        vectors = np.array(made["motion"]).reshape(-1, columns, 2)
        known = vectors[..., 0] != 1 << 20
        shift = np.rint(vectors * (scale / 4)).astype(int)
        whole = [
            np.kron(part, np.ones((side, side), int))[:height, :width] for part in (shift[..., 0], shift[..., 1], known)
        ]
        y, x = np.mgrid[:height, :width]
        there = gain[np.clip(y + whole[1], 0, height - 1), np.clip(x + whole[0], 0, width - 1)]
        return np.where(whole[2] > 0, np.rint(there * float(str(made["share"]))), 0).astype(np.int16)


async def ask_page(page: Watched, opened: Opened, late: int) -> list[dict[str, object] | None]:
    lumas = [base64.b64encode(np.ascontiguousarray(frame.y).tobytes()).decode() for frame in opened.frames]
    actions = np.concatenate(opened.plan.actions).tolist()
    size = [opened.rendition.width_px, opened.rendition.height_px]
    told: list[dict[str, object] | None] = await page.tab.evaluate(
        FOLLOW, [actions, len(opened.exits), late, lumas, *size]
    )
    return told


def runtime_ways(opened: Opened, chunks: tuple[bytes, ...], strength: float) -> dict[str, Shown]:
    """Plain, every frame through the first exit, and by the plan with the codec's motion."""
    plan, found = opened.plan, dict[str, Shown]()
    always = {"plain": Action.NOTHING, "first exit, every frame": Action.FIRST_EXIT}
    ways = {name: tuple(np.full_like(part, action) for part in plan.actions) for name, action in always.items()}
    size_px = opened.rendition.width_px, opened.rendition.height_px
    for name, actions in (ways | {"runtime, by the plan": plan.actions}).items():
        networks = load_exits(chunks, strength)
        enhancer = open_planned(networks, "", size_px=size_px, display_px=opened.prepared.display_px)
        one = FramePlan(weights_sha256=plan.weights_sha256, exits=len(networks), actions=actions)
        found[name] = PlannedFrames(opened.prepared, opened.rendition, enhancer, one)
    return found


def score(prepared: PreparedTitle, shown: dict[str, Shown], every: int) -> None:
    measured: dict[str, list[Measured]] = {name: [] for name in shown}
    kept: list[bool] = []
    for block, truth in read_references(prepared, cut_into_blocks(prepared, every)):
        kept += kept_frames(truth, block)
        for name, frames in shown.items():
            measured[name].append(measure_shown(prepared, block, truth, frames))
    for name, found in measured.items():
        scores = join_scores([part.scores for part in found])
        means = [float(np.mean(getattr(scores, key)[kept])) for key in ("vmaf_neg", "vmaf", "psnr_y_db")]
        print(f"{name:<26}NEG {means[0]:6.2f}  VMAF {means[1]:6.2f}  PSNR {means[2]:6.2f}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("title")
    parser.add_argument("source", type=Path)
    parser.add_argument("--plan", default="content-plan-1")
    parser.add_argument("--rung", default="180p")
    parser.add_argument("--segments", type=int, default=2)
    parser.add_argument("--every", type=int, default=7)
    parser.add_argument("--late", type=int, nargs="*", default=[0, 6, 12])
    given = parser.parse_args()
    opened, chunks, strength = open_exits(given)
    shown = runtime_ways(opened, chunks, strength)
    async with serving(str(given.library)) as url, chromium() as browser:
        page = await browser.open(f"{url}qoe")
        for late in given.late:
            told = await ask_page(page, opened, late)
            lifted = sum(made is not None for made in told)
            print(f"{late} frames late: {lifted} of {len(told)} frames lifted", file=sys.stderr, flush=True)
            shown[f"page, {late} frames late"] = PageFrames(opened, told)
    score(opened.prepared, shown, given.every)


if __name__ == "__main__":
    asyncio.run(main())
