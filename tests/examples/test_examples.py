"""Each example does what its first lines say, run as a reader would run it, against the real thing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from browser import Watched, chromium
from serve_process import ask, counted, served
from served import listening
from serving import device_profile, enhanced_library
from titles import CLIP, TITLE_ID, prepared_library, prepared_title

from abr.core.events import Decided, loads_log
from abr.records import dumps
from abr.simulation.trace_formats import read_trace

ENDS_WITHIN_MS = 60_000
"""A film of five seconds. dash.js now and then never tells that one has ended, as in tests/browser."""
EXAMPLES = Path(__file__).parents[2] / "examples"
EAGER = """
from abr.core.control import Decision

class Eager:
    def decide(self, seen):
        lowest = [index for index, choice in enumerate(seen.menu.choices) if choice.rendition == 0]
        best = max(lowest, key=lambda index: seen.menu.quality[0, index])
        return Decision(option=best, reason="the best of the lowest")
"""


def python(*command: object) -> str:
    """What `python …` prints."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def toprung(*command: object) -> str:
    return python("-m", "abr", *command)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace that examples/own_trace.py writes."""
    path = tmp_path_factory.mktemp("traces") / "train.csv"
    python(EXAMPLES / "own_trace.py", path)
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enhanced_library(tmp_path_factory.mktemp("served") / "library")


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[str]:
    """A server that always chooses the lowest rung, and the best enhancer for it."""
    file = library.parent / "eager.py"
    file.write_text(EAGER)
    with served("--library", str(library), "--add-controller", f"{file}:Eager", "--controller", "Eager") as url:
        yield url.rstrip("/")


@asynccontextmanager
async def dashjs_page(server: str, title: str) -> AsyncIterator[Watched]:
    """The page as `python -m http.server` would serve it: from another origin than the media's."""
    app = web.Application()
    app.router.add_static("/", EXAMPLES)
    async with listening(app) as url, chromium() as browser:
        yield await browser.open(f"{url}dashjs_player.html?server={server}&title={title}")


def test_every_example_is_listed_and_says_how_to_run_it() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    examples = [path for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md"]
    assert len(examples) >= 6
    for path in examples:
        assert f"({path.name})" in listed
        assert path.name in path.read_text()[:1500], f"{path.name} does not say how it is run"


def test_own_controller_decides_every_segment_and_beats_the_lowest_rung(train: Path) -> None:
    mine, title = f"{EXAMPLES / 'own_controller.py'}:Mine", prepared_title()[1]
    told = json.loads(toprung("compare", title, "--traces", train, "--controller", mine, "--json"))
    assert told["means"][mine]["qoe"] > told["means"]["lowest"]["qoe"]
    log = train.with_name("log.jsonl")
    toprung("simulate", title, "--trace", train, "--controller", mine, "--log", log)
    reasons = [event.reason for event in loads_log(log.read_bytes()) if isinstance(event, Decided)]
    assert len(reasons) == 3 and all(reason.startswith("mine: ") for reason in reasons)


def test_own_trace_is_the_ride_that_it_prints(tmp_path: Path) -> None:
    said = python(EXAMPLES / "own_trace.py", tmp_path / "train.csv")
    trace = read_trace(tmp_path / "train.csv")
    ((length_s, mean_kbps),) = re.findall(r": (\d+) s, (\d+) kbit/s", said)
    assert trace.length_s == int(length_s)
    assert round(trace.mean_bps / 1000) == int(mean_kbps)
    assert trace.bytes_between(24, 30) == 0, "the tunnel"


def test_api_client_watches_a_title_and_is_told_why(server: str, library: Path, tmp_path: Path) -> None:
    profile = tmp_path / "device.json"
    profile.write_bytes(dumps(device_profile(prepared_title()[0])))
    before = counted(f"{server}/", "toprung_viewer_events_total")
    lines = python(EXAMPLES / "api_client.py", server, "bbb", "--profile", profile).splitlines()
    sizes = [(library / "bbb" / "video" / "180p" / f"seg-{number:05}.m4s").stat().st_size for number in (1, 2, 3)]
    chosen = [line.split() for line in lines[:3]]
    assert chosen == [[str(n), "180p", "content-low", str(size), "bytes"] for n, size in enumerate(sizes)]
    assert [line.split(maxsplit=1)[1] for line in lines[3:]] == ["the best of the lowest"] * 3
    assert counted(f"{server}/", "toprung_viewer_events_total") - before == 5, "three downloads, start and end"


def test_api_client_without_a_profile_is_offered_plain_renditions(server: str) -> None:
    assert " none " in python(EXAMPLES / "api_client.py", server, "bbb").splitlines()[0]


@pytest.mark.flaky(reruns=2)  # a film plays in real time, on a processor that others use
async def test_the_dashjs_page_plays_a_session_to_its_end(server: str) -> None:
    async with dashjs_page(server, "bbb") as page:
        await page.tab.wait_for_function("document.title === 'ended'", timeout=ENDS_WITHIN_MS)
        played_s, height_px = await page.tab.evaluate("[video.currentTime, video.videoHeight]")
        decisions = await page.tab.locator("#decisions li").all_inner_texts()
    assert page.complaints == [] and page.refused == []
    assert decisions == ["180p, plain: the best of the lowest"] * 3
    assert played_s == pytest.approx(prepared_title()[0].duration_s, abs=0.2) and height_px == 180


async def test_the_dashjs_page_shows_what_the_server_refuses(server: str) -> None:
    refusal = json.loads(ask(f"{server}/sessions", b'{"title": "nothing"}')[1])["detail"]
    async with dashjs_page(server, "nothing") as page:
        await page.tab.locator("#state", has_text=refusal).wait_for(timeout=120_000)


@pytest.mark.slow
def test_the_onnx_network_pays_on_the_film_it_was_fitted_to(tmp_path: Path) -> None:
    shutil.copytree(prepared_library().root, tmp_path / "titles")
    network = tmp_path / "film-x2.onnx"
    python(EXAMPLES / "onnx_network.py", CLIP, tmp_path / "titles" / TITLE_ID / "video" / "360p", network)
    options = ["--library", tmp_path / "titles", "--source", CLIP, "--vmaf-every", 29, "--json"]
    (rung,) = json.loads(toprung("import-model", network, TITLE_ID, *options))["rungs"]
    assert rung["rendition"] == "360p" and rung["offered"]
    assert rung["enhanced"]["vmaf"] > rung["plain"]["vmaf"] + 1


def test_the_session_log_in_pandas_agrees_with_the_players_summary(server: str, tmp_path: Path) -> None:
    trace = tmp_path / "halting.csv"
    trace.write_text("duration_ms,bandwidth_kbps,latency_ms\n1000,800,50\n6000,0,50\n60000,800,50\n")
    options = ["--trace", trace, "--families", "none", "--speed", "max", "--out", tmp_path / "seen", "--json"]
    player = json.loads(toprung("play", server, "--title", "bbb", *options))
    table, _, numbers = python(EXAMPLES / "session_log.py", tmp_path / "seen" / "session.jsonl").partition("\n\n")
    told = {name.strip(): float(value) for name, value in (line.rsplit(maxsplit=1) for line in numbers.splitlines())}
    assert player["stalls"] > 0, "else it proves little"
    assert (told["stalls"], told["switches"]) == (player["stalls"], player["switches"])
    assert told["stalled, s"] == pytest.approx(player["stall_s"], abs=0.01)
    assert told["segments"] == len(table.splitlines()) - 2 == 3
