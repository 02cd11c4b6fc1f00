"""What frames are worth that the page makes by a frame plan, beside those of the Python runtime.

    python tests/bench/page_plan_quality.py LIBRARY TITLE SOURCE [--plan content-plan-1] [--segments 2] [--late 0 4 8]

The page has no motion of the codec and finds its own; an anchor that takes it longer than a frame is carried from when
it is done (`--late`: so many frames after its own). All frames of the title's first segments are made in Chromium with
the page's own modules, one frame in `--every` is scored. Prints a line for each way: VMAF-NEG, VMAF, PSNR.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import sys
from pathlib import Path

import numpy as np

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from browser import Watched, chromium
from served import serving

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, PlanOffer
from abr.core.frame_plan import Action, FramePlan, loads_plan
from abr.core.title import Rendition
from abr.records import load
from enhancers.bench.plan import first_segments
from enhancers.measurement.quality import cut_into_blocks, join_scores, kept_frames, measure_shown, read_references
from enhancers.networks import catalog
from enhancers.networks.plain import parse
from enhancers.planning.planned_frames import PlannedFrames
from enhancers.prepared_title import PreparedTitle, open_title
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, frame_of
from enhancers.runtime.loader import load_exits, open_planned

OPEN = """async ([kind, exits, strength, actions, widthPx, heightPx]) => {
  const { Carrier } = await import("/web/player/plans/carrier.js");
  const { Follower } = await import("/web/player/plans/follower.js");
  const { readChunks } = await import("/web/network/weights.js");
  const opener = { WebGPU: "openWebGpu", WebGL2: "openWebGl2" }[kind];
  const backend = await (await import(`/web/network/${kind.toLowerCase()}.js`))[opener]();
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  window.bytes = bytes;
  window.networks = [];
  for (const chunks of exits) {
    const real = await backend.open(readChunks(chunks.map(bytes), strength), widthPx, heightPx);
    real.beside = real.runBeside.bind(real);
    real.runBeside = (picture) => new Promise((ready) => (window.ready = ready)).then(() => real.beside(picture, 50));
    window.networks.push(real);
  }
  window.begin = (late) => Object.assign(window, { late, dueAt: -1, ready: null, carrier: new Carrier(),
    follower: new Follower(Uint8Array.from(actions)) });
}"""
"""`runBeside` is held back until a frame comes that is late enough: the device is as slow as it is told to be."""
MAKE = """async ([number, y, u, v, widthPx, heightPx]) => {
  const picture = { widthPx, heightPx, ...Object.fromEntries(
    Object.entries({ y, u, v }).map(([name, text]) => [name, new Uint8Array(bytes(text))])) };
  const text = (data) => {
    let letters = "";
    for (let at = 0; at < data.length; at += 8192) letters += String.fromCharCode(...data.subarray(at, at + 8192));
    return btoa(letters);
  };
  if (ready && number >= dueAt) {
    ready();
    ready = null;
    while (carrier.busy) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const { action, exit } = follower.asked(number);
  const { network, done, begun } = await carrier.make({ picture, number, action,
    begin: exit < 0 ? undefined : networks[exit], inTime: () => late === 0, plain: networks[0] });
  if (begun && late) dueAt = number + late;
  follower.heard(number, { begun, done, idle: !carrier.busy });
  return [text((await network.luma()).lifted), ...((await network.chromaPlanes()) ?? []).map(text), done];
}"""


def text(plane: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(plane).tobytes()).decode()


class PageFrames:
    """Frames of the display's size by their number, made in the page beforehand."""

    def __init__(self) -> None:
        self.made: dict[int, Frame] = {}
        self.done: list[int] = []

    def __call__(self, index: int) -> Frame:
        return self.made[index]

    async def make(self, page: Watched, frames: list[Frame]) -> None:
        for number, frame in enumerate(frames):
            planes = [text(plane) for plane in frame.planes()]
            luma, *chroma, done = await page.tab.evaluate(MAKE, [number, *planes, frame.width_px, frame.height_px])
            self.done.append(done)
            y = np.frombuffer(base64.b64decode(luma), np.uint8).reshape(-1, 4 * frame.width_px)
            scaled = PlainScaler(frame.width_px, frame.height_px, y.shape[1], y.shape[0]).enhance(frame)
            u, v = scaled.u, scaled.v
            if chroma:
                u, v = (np.frombuffer(base64.b64decode(each), np.uint8).reshape(u.shape) for each in chroma)
            self.made[number] = frame_of(y, u, v)


def exits_chunks(folder: Path, plan: PlanOffer) -> tuple[bytes, ...]:
    own = tuple((folder / chunk.file).read_bytes() for chunk in plan.offer.chunks)
    return own or catalog.generic_chunks(parse(plan.offer.architecture))


def score(prepared: PreparedTitle, shown: dict[str, object], every: int) -> None:
    parts = cut_into_blocks(prepared, every)
    measured: dict[str, list] = {name: [] for name in shown}  # type: ignore[type-arg]
    kept: list[bool] = []
    for block, truth in read_references(prepared, parts):
        kept += kept_frames(truth, block)
        for name, frames in shown.items():
            measured[name].append(measure_shown(prepared, block, truth, frames))  # type: ignore[arg-type]
    for name, found in measured.items():
        scores = join_scores([part.scores for part in found])
        means = [float(np.mean(np.asarray(getattr(scores, key))[kept])) for key in ("vmaf_neg", "vmaf", "psnr_y_db")]
        print(f"{name:<24}NEG {means[0]:6.2f}  VMAF {means[1]:6.2f}  PSNR {means[2]:6.2f}", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("title")
    parser.add_argument("source", type=Path)
    parser.add_argument("--plan", default="content-plan-1")
    parser.add_argument("--rung", default="180p")
    parser.add_argument("--kind", default="WebGPU")
    parser.add_argument("--segments", type=int, default=2)
    parser.add_argument("--every", type=int, default=7)
    parser.add_argument("--late", type=int, nargs="*", default=[0, 4, 8])
    given = parser.parse_args()
    prepared = open_title(given.library, given.title, given.source)
    table = load(prepared.folder / ENHANCEMENTS_FILE, EnhancementTable)
    offered = table.plan(given.plan, given.rung)
    assert offered is not None, f"there is no {given.plan} for {given.rung}"
    whole = loads_plan((prepared.folder / offered.file.file).read_bytes(), prepared.title.segment_frames)
    prepared = first_segments(prepared, given.segments)
    plan = FramePlan(weights_sha256=whole.weights_sha256, exits=whole.exits, actions=whole.actions[: given.segments])
    rendition = prepared.title.rendition(given.rung)
    chunks = exits_chunks(prepared.folder, offered)
    shown = python_ways(prepared, rendition, chunks, offered.offer.strength, plan)
    frames = [f for s in range(given.segments) for f in prepared.frames(rendition, s, motion=False)]
    async with serving(str(given.library)) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        encoded = [base64.b64encode(chunk).decode() for chunk in chunks]
        exits = [encoded[:count] for count in range(1, len(encoded) + 1)]
        actions = np.concatenate(plan.actions).tolist()
        size = [rendition.width_px, rendition.height_px]
        await page.tab.evaluate(OPEN, [given.kind, exits, offered.offer.strength, actions, *size])
        for late in given.late:
            await page.tab.evaluate("(late) => window.begin(late)", late)
            shown[f"page, {late} frames late"] = made = PageFrames()
            await made.make(page, frames)
            counts = np.bincount(made.done, minlength=2)
            print(f"late {late}: actions {counts.tolist()}", file=sys.stderr, flush=True)
    score(prepared, shown, given.every)


def python_ways(
    prepared: PreparedTitle, rendition: Rendition, chunks: tuple[bytes, ...], strength: float, plan: FramePlan
) -> dict[str, object]:
    """Plain, by the plan with the codec's motion, and every frame through the plan's first and last exit."""
    exits = len(chunks)
    always = {"plain": 0, "first exit": Action.FIRST_EXIT, "last exit": Action.FIRST_EXIT + exits - 1}
    ways = {name: tuple(np.full_like(part, action) for part in plan.actions) for name, action in always.items()}
    ways["runtime, by plan"] = plan.actions
    found: dict[str, object] = {}
    for name, actions in ways.items():
        enhancer = open_planned(
            load_exits(chunks, strength),
            "",
            size_px=(rendition.width_px, rendition.height_px),
            display_px=prepared.display_px,
        )
        one = FramePlan(weights_sha256=plan.weights_sha256, exits=exits, actions=actions)
        found[name] = PlannedFrames(prepared, rendition, enhancer, one)
    return found


if __name__ == "__main__":
    asyncio.run(main())
