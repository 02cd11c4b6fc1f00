"""Frame plans in the page: read as Python writes them, carried as Python carries, and followed while a film plays."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from browser import Watched, chromium
from lifted import PLAN_EXITS, PLAN_NAME, network, planned_library
from networks import with_chroma
from player_page import claim, log_of_ended, played, ready, until
from served import serving
from viewers import EAGER, of_kind

from abr.core.events import Decided, Downloaded, Failed, Shown, Stalled
from abr.core.frame_plan import FramePlan, dumps_plan
from enhancers.networks.checkpoint import dumps_chunks

READ = """async ([text, segmentFrames, weights, exits]) => {
  const { readPlan } = await import("/web/player/plans/plan_file.js");
  const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const read = readPlan(data, { segmentFrames, weights, exits });
  return read.then((actions) => [...actions], (problem) => problem.message);
}"""

FOLLOW = """async ([actions, answers]) => {
  const { Follower } = await import("/web/player/plans/follower.js");
  const follower = new Follower(Uint8Array.from(actions));
  return answers.map(([number, answer]) => {
    const asked = follower.asked(number);
    return { ...asked, ...follower.heard(number, answer) };
  });
}"""

CARRY = """async ([chunks, kind]) => {
  const { MotionTracker } = await import("/web/network/motion.js");
  const { readChunks } = await import("/web/network/weights.js");
  const opener = { WebGPU: "openWebGpu", WebGL2: "openWebGl2" }[kind];
  const open = (await import(`/web/network/${kind.toLowerCase()}.js`))[opener];
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const [widthPx, heightPx] = [160, 90];
  const soft = (x, y) => 128 + 60 * Math.sin(x / 3 + y / 7) * Math.cos(y / 5 - x / 11) + 30 * Math.sin(x * y / 90);
  const plane = (width, height, at) => Uint8Array.from({ length: width * height },
    (_, i) => at(i % width, Math.floor(i / width)));
  const shot = (right, down) => ({ widthPx, heightPx,
    y: plane(widthPx, heightPx, (x, y) => soft(x + right, y + down)),
    u: plane(80, 45, (x, y) => 128 + 0.3 * (soft(2 * x + right, 2 * y + down) - 128)),
    v: plane(80, 45, (x, y) => 128 - 0.3 * (soft(2 * x + right, 2 * y + down) - 128)) });
  const opened = await (await open()).open(readChunks(chunks.map(bytes)), widthPx, heightPx);
  const seen = async () => {
    const { lifted, plain } = await opened.luma();
    return { gain: [...lifted].map((code, i) => code - plain[i]), lifted: [...lifted],
      chroma: (await opened.chromaPlanes())?.map((codes) => [...codes]) ?? null };
  };
  const first = shot(0, 0), moved = shot(-2, 3);
  const found = { width: opened.outWidthPx };
  await opened.run(first);
  found.run = await seen();
  const tracker = new MotionTracker(first);
  await opened.carry(first, tracker.follow(first), 1);
  found.same = await seen();
  found.still = [...tracker.vectors].every((part) => part === 0);
  await opened.runBeside(shot(40, 20), 1);
  const beside = opened.runBeside(first, 1);
  await opened.carry(moved, null, 0);
  await beside;
  await opened.carry(first, tracker.follow(first), 1);
  found.beside = await seen();
  await opened.carry(moved, tracker.follow(moved), 1);
  found.moved = await seen();
  await opened.carry(moved, tracker.follow(moved), 0.5);
  found.half = await seen();
  tracker.follow(shot(5000, 900));
  found.unknown = tracker.unknown;
  opened.close();
  return JSON.stringify(found);
}"""

MEASURE = """async ([title, table, adapter]) => {
  const { jobs, keptUp, measure, settled } = await import("/web/player/profile.js");
  localStorage.clear();
  const timed = [];
  const thread = { async ask(task, { kind, name } = {}) {
    if (task === "kinds") return [{ kind: "WebGPU", adapter }, { kind: "WebGL2", adapter }];
    timed.push(`${name} by ${kind}`);
    return { openMs: 3000, timesMs: [300, 300], carryMs: [20, 20], plainMs: [9, 9] };
  } };
  const wanted = jobs(title, table);
  const measured = await measure(thread, wanted, 40, () => {});
  const ms = Object.fromEntries(measured.measurements.map((each) => [each.architecture, each.p95_ms]));
  await measure(thread, wanted, 40, () => {});
  const { lifts } = settled(measured, { title, table, wanted, frameMs: 40 });
  return { timed, ms, lifts, plans: keptUp(title, table, measured, 40).map(({ name }) => name) };
}"""
"""By a worker that says 300 ms for every network: what the page has timed, and what it makes of it."""

VISITS = """async () => {
  const { jobFor, measure } = await import("/web/player/profile.js");
  localStorage.clear();
  const timed = [];
  let nowMs = 0;
  const thread = { async ask(task, { name } = {}) {
    if (task === "kinds") return [{ kind: "WebGPU", adapter: "a GPU" }];
    timed.push(name);
    nowMs += 15_000;
    return { openMs: 9000, timesMs: [5, 5] };
  } };
  const wanted = [2, 5, 10].map((depth) => jobFor(`plain-m${depth}c32x2`, 160, 90));
  const visits = [];
  for (let visit = 0; visit < 3; visit++) {
    const { measurements } = await measure(thread, wanted, 40, () => {}, () => nowMs);
    visits.push([timed.splice(0).length, measurements.length]);
  }
  return visits;
}"""
"""Trials that take 15 s each: how many are made at each visit, and how many networks are known after it."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned_library(tmp_path_factory.mktemp("planned"))


@pytest.fixture
async def page() -> AsyncIterator[Watched]:
    """A page that may import the modules, without a GPU."""
    async with serving(str(Path(__file__).parent)) as url, chromium() as browser:
        yield await browser.open(f"{url}qoe")


async def test_the_page_reads_plans_as_python_writes_them(page: Watched) -> None:
    frames = [5, 4]
    actions = (np.array([2, 1, 1, 0, 3], np.uint8), np.array([0, 3, 1, 1], np.uint8))
    data = dumps_plan(FramePlan(weights_sha256="ab" * 32, exits=2, actions=actions))

    async def read(data: bytes, frames: list[int] = frames, weights: str = "ab" * 32, exits: int = 2) -> object:
        return await page.tab.evaluate(READ, [base64.b64encode(data).decode(), frames, weights, exits])

    assert await read(data) == [2, 1, 1, 0, 3, 0, 3, 1, 1]
    assert "has 8" in str(await read(data, frames=[4, 4]))
    assert "other weights" in str(await read(data, weights="cd" * 32))
    assert "other weights" in str(await read(data, exits=3))
    assert "carries into segment 1" in str(await read(data, frames=[2, 7]))
    for damaged in (data[:20], b"x" + data[1:], data[:-3], data[:45] + b"!" + data[46:]):
        assert isinstance(await read(damaged), str), "what is damaged is refused"


async def test_a_viewer_waits_no_longer_for_many_slow_trials_than_for_one_or_two(page: Watched) -> None:
    assert await page.tab.evaluate(VISITS) == [[2, 1], [2, 3], [0, 3]], "of the first, one says whether it runs at all"


async def test_an_exit_that_was_missed_is_begun_with_the_next_frame_that_needs_it(page: Watched) -> None:
    actions = [2, 1, 1, 1, 0, 3, 1, 0, 0, 0, 0, 0]
    carried, busy = {"done": 1}, {"done": 0, "idle": False}
    answers = [
        (0, {}),  # not shown, and nothing begun
        (1, {**busy, "begun": True}),
        (2, busy),
        (3, carried),
        (4, {"done": 0, "idle": True}),
        (5, {"done": 3, "begun": True}),
        (6, {"done": 0, "idle": True}),  # a cut: nothing could be carried
        (6, carried),
        (7, carried),
        (8, carried),
        (9, {"done": 0, "idle": True}),
        (10, {"done": 0, "idle": True}),
    ]
    told = await page.tab.evaluate(FOLLOW, [actions, answers])
    assert [each["exit"] for each in told] == [0, 0, -1, -1, -1, 1, -1, 1, -1, -1, -1, -1]
    assert [each["lowered"] for each in told] == [True, True, True, False, False, False, True, *[False] * 5]
    assert [each["enhanced"] for each in told] == [False, False, False, True, True, True, False, *[True] * 5]
    asked = [each["action"] for each in told]
    assert asked[:4] + asked[5:8] == [2, 1, 1, 1, 3, 1, 1]
    assert [asked[4], *asked[8:]] == [1, 1, 1, 1, 0], "four frames stayed plain: four more are carried"


@pytest.mark.parametrize("kind", ["WebGPU", "WebGL2"])
async def test_what_a_frame_was_given_moves_with_the_picture(kind: str) -> None:
    weights = with_chroma(network("plain-m2c8x4"), name="m1c8", ready=False)
    chunks = [base64.b64encode(chunk).decode() for chunk in dumps_chunks(weights)]
    async with serving(str(Path(__file__).parent)) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        found = json.loads(await page.tab.evaluate(CARRY, [chunks, kind]))
        assert page.complaints == []
    assert found["still"], "a picture has not moved against itself"
    for way in ("same", "beside"):
        assert found[way]["lifted"] == found["run"]["lifted"], f"{way}: carried nowhere, it is what the network gave"
        assert found[way]["chroma"] == found["run"]["chroma"]
    given, moved, half = (
        np.array(found[name]["gain"]).reshape(-1, found["width"]) for name in ("run", "moved", "half")
    )
    there = np.roll(given, (-12, 8), (0, 1))[40:-40, 40:-40]
    here = moved[40:-40, 40:-40]
    assert np.abs(there).mean() > 2, "a network that does nothing would prove nothing"
    assert np.abs(here - there).mean() < 0.2 * np.abs(given[40:-40, 40:-40] - there).mean()
    assert np.abs(2 * half[40:-40, 40:-40] - here).mean() < 1
    assert found["unknown"] > 0.5, "another picture is new"


async def test_a_network_too_slow_for_every_frame_is_timed_where_a_plan_needs_it_on_few(page: Watched) -> None:
    title = {"renditions": [{"id": "180p", "width_px": 320, "height_px": 180}]}
    low = {"architecture": "plain-m2c32x4", "rendition": "180p"}
    shares = [("upscale-x4", 0.35), ("carry-x4", 0.6), ("plain-m2c32x4", 0.05), ("plain-m5c32x4", 0.0)]
    plan = {
        "name": "content-plan-1",
        "offer": {"rendition": "180p"},
        "shares": [{"architecture": name, "share": share} for name, share in shares],
    }
    table = {"enhancers": [{"name": "content-low", "offers": [low]}], "plans": [plan]}
    found = await page.tab.evaluate(MEASURE, [title, table, "SwiftShader"])
    assert found["timed"] == ["plain-m2c32x4 by WebGPU"], "once, and by what does not hold the page up"
    assert found["ms"] == {"plain-m2c32x4": 300, "carry-x4": 20, "upscale-x4": 0.01}, (
        "plain frames are the video itself"
    )
    assert found["plans"] == ["content-plan-1"] and found["lifts"]
    found = await page.tab.evaluate(MEASURE, [title, {**table, "plans": []}, "SwiftShader"])
    assert found["timed"] == [] and not found["lifts"]


async def test_a_film_is_lifted_by_a_plan_on_a_device_that_no_tier_is_for(library: Path) -> None:
    costs = [(PLAN_EXITS[0], 100.0), (PLAN_EXITS[1], 150.0), ("carry-x1.5", 4.0), ("upscale-x1.5", 2.0)]
    async with serving(str(library), EAGER) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        await claim(page, costs)
        await page.tab.goto(url)
        await ready(page)
        assert "a frame plan" in await page.tab.inner_text("#device")
        slowly = "document.getElementById('video').defaultPlaybackRate = 0.25"  # a busy machine has time
        await page.tab.evaluate(slowly)
        await page.tab.click("#begin")
        await until(page, "!document.getElementById('canvas').hidden")
        assert PLAN_NAME in await page.tab.inner_text("#badge")
        await played(page, 0.3)
        await page.tab.evaluate("document.getElementById('video').currentTime = 2.5")
        await played(page, 2.6)  # what was shown of a segment is told when the next one is on the screen
        events = await log_of_ended(page)
        assert page.complaints == []
    assert {event.enhancer for event in of_kind(events, Decided)} == {PLAN_NAME}
    weights = [event.name for event in of_kind(events, Downloaded) if event.kind == "weights"]
    assert [name.rpartition(".")[2] for name in weights] == ["safetensors", "safetensors", "plan"]
    assert not of_kind(events, Stalled) and not of_kind(events, Failed)
    shown = of_kind(events, Shown)
    assert sum(event.enhanced_frames for event in shown) > 0
    assert all(event.frames == event.enhanced_frames + event.plain_frames for event in shown)
    assert sum(event.late_frames for event in shown) == 0
