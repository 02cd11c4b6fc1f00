"""Players tune a network over HTTP: real training, real masks, a real judge; and servers that are not what they say."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from clips import make_clip
from served import listening
from titles import prepared_library

from abr.core.enhancement import Tier
from abr.core.title import load_title
from abr.errors import FormatError, InputError, MediaError, ToprungError
from abr.federation.judging import Judged, JudgeRequest
from abr.federation.version import LocalRecipe, ModelVersion
from abr.records import dumps, loads
from client_player.federation.came import read_came
from client_player.federation.cli import join
from client_player.federation.joining import Tuner
from client_player.federation.versions import fetch_version
from client_player.private.contribution import NotOfferedError
from enhancers.federation.held_out import read_held_out
from enhancers.federation.judging import Judging
from enhancers.federation.tuned_network import generic_network
from enhancers.networks.checkpoint import digest
from enhancers.networks.derived import loads_derived
from enhancers.training.patches import TrainingPairs
from server.app import create_app
from server.context import CONTEXT
from server.federation.judge import Judge
from server.federation.plan import FederationPlan
from server.private.rounds import Pace
from server.settings import Settings

LONG_S = 1000.0
RECIPE = LocalRecipe(steps=6, batch=2, rate=3e-4, detail_weight=0.0, frames_full=4)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("film") / "clip.mp4", width_px=256, height_px=144, frames=6)


@pytest.fixture
def plan(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FederationPlan:
    """Its judge is the real one, in this process: a process of its own would load torch anew."""
    judging = Judging(generic_network(2.0, Tier.LOW), [read_held_out(clip, 2.0, 25.0)], tmp_path / "versions" / "made")

    async def ask(_judge: Judge, request: JudgeRequest) -> Judged:
        return loads(await asyncio.to_thread(judging.answer, dumps(request)), Judged, what="answer")

    monkeypatch.setattr(Judge, "ask", ask)
    return FederationPlan(
        folder=tmp_path / "versions",
        held_out=(clip,),
        scale=2.0,
        tier=Tier.LOW,
        crf=25.0,
        recipe=RECIPE,
        norm_max=1.0,
        pace=Pace(period_s=LONG_S, stage_s=LONG_S, cohort=5, members_max=5),
    )


async def test_five_players_make_a_better_version_and_have_it_afterwards(plan, clip):
    app = create_app(Settings(library=str(prepared_library().root)), federation=plan)
    async with listening(app) as url:
        tuners = [Tuner(url, lambda scale: read_came([clip], scale, 25.0), fetches_newest=True) for _ in range(5)]
        results = await asyncio.gather(*(tuner.take_part(1) for tuner in tuners))
        version = app[CONTEXT].contributions.tuning.version
    assert [(each.rounds, each.survivors, each.problem) for each in results] == [(1, 5, "")] * 5
    assert [each.version for each in results] == [1] * 5, "all learnt from the clip that it is judged by"
    assert digest(tuners[0].newest.network.dumps()) == version.sha256
    assert (
        loads_derived(tuners[0].newest.network.dumps()).architecture == generic_network(2.0, Tier.LOW).architecture
    ), "import-model takes it"
    assert results[0].sent_bytes > 4 * version.values and results[0].received_bytes > version.size_bytes


async def test_a_player_that_leaves_while_it_trains_holds_nobody_up(plan, clip):
    """Training comes before joining: the round of the others is full without it."""

    def leave(_scale: float) -> list[object]:
        raise MediaError("gone")

    app = create_app(Settings(library=str(prepared_library().root)), federation=plan)
    async with listening(app) as url:
        gone = asyncio.create_task(Tuner(url, leave).take_part(1))
        tuners = [Tuner(url, lambda scale: read_came([clip], scale, 25.0)) for _ in range(5)]
        results = await asyncio.gather(*(tuner.take_part(1) for tuner in tuners))
        with pytest.raises(MediaError, match="gone"):
            await gone
    assert [each.rounds for each in results] == [1] * 5


async def test_who_leaves_while_it_trains_is_let_go_at_once(plan, clip):
    began = threading.Event()

    def came(scale: float) -> list[TrainingPairs]:
        began.set()
        return read_came([clip], scale, 25.0)

    long = replace(plan, recipe=msgspec.structs.replace(RECIPE, steps=10_000, batch=16))
    app = create_app(Settings(library=str(prepared_library().root)), federation=long)
    async with listening(app) as url:
        leaving = asyncio.create_task(Tuner(url, came).take_part(1))
        await asyncio.to_thread(began.wait)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    async with asyncio.timeout(120):
        await asyncio.get_running_loop().shutdown_default_executor()


class Telling:
    """A server that answers what it was given to."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.answers = answers

    async def get(self, path: str, bytes_max: int = 1 << 20) -> bytes | None:
        return self.answers.get(path)


def offered(**over: object) -> Telling:
    body = generic_network(2.0, Tier.LOW).dumps()
    version = ModelVersion(
        number=3,
        architecture="plain-m2c32x2d2",
        sha256=digest(body),
        size_bytes=len(body),
        values=24304,
        norm_max=1.0,
        members_max=20,
        recipe=RECIPE,
    )
    told = json.loads(dumps(version)) | over
    return Telling({"version": json.dumps(told).encode(), f"weights/{told['sha256']}": body})


async def test_a_version_is_taken_as_it_was_made():
    fetched = await fetch_version(offered())
    assert fetched.version.number == 3
    assert await fetch_version(offered(), fetched) is fetched, "nothing is fetched twice"


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"architecture": "plain-m64c256x4"}, "no such network"),
        ({"values": 7}, "no such network"),
        ({"values": 1 << 40}, "not valid"),
        ({"size_bytes": 1 << 40}, "not valid"),
        ({"norm_max": 1e308}, "not valid"),
        ({"recipe": {"steps": 1 << 40, "batch": 1, "rate": 1e-3, "detail_weight": 0.0, "frames_full": 1}}, "not valid"),
        ({"recipe": {"steps": 1, "batch": 1 << 30, "rate": 1e-3, "detail_weight": 0.0, "frames_full": 1}}, "not valid"),
    ],
)
async def test_a_version_that_no_honest_server_offers_is_refused(over: dict[str, object], why: str):
    with pytest.raises(FormatError, match=why):
        await fetch_version(offered(**over))


async def test_a_server_without_tuning_is_told_apart_from_one_that_fails():
    with pytest.raises(NotOfferedError, match="tunes no network"):
        await fetch_version(Telling({}))


def test_a_rendition_s_folder_is_read_as_it_came_by_the_settings_of_its_title(tmp_path: Path):
    prepared = prepared_library()
    rendition = load_title(prepared.root / "bbb").renditions[-1]
    folder = prepared.root / "bbb" / "video" / rendition.id
    pairs = read_came([folder], 2.0, None)
    assert len(pairs) == 1
    assert pairs[0].target.shape[1:] == (rendition.height_px // 4 * 4, rendition.width_px // 4 * 4)


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"#EXTM3U\nfile:///etc/passwd"), lambda path: path.mkdir()]
)
def test_what_is_no_film_is_refused(make: Callable[[Path], object], tmp_path: Path):
    make(tmp_path / "came")
    with pytest.raises((InputError, ToprungError)):
        read_came([tmp_path / "came"], 2.0, 25.0)


def test_what_is_no_url_is_refused_at_once(clip: Path):
    done = CliRunner().invoke(join, ["localhost:8080", "--came", str(clip)])
    assert isinstance(done.exception, InputError)
    assert "http://" in str(done.exception)


async def test_a_player_whose_update_is_in_a_sum_has_taken_part_though_the_server_goes_away(plan, clip, monkeypatch):
    said: list[str] = []

    async def gone(_server: object, _held: object = None) -> None:
        raise NotOfferedError("the server tunes no network")

    app = create_app(Settings(library=str(prepared_library().root)), federation=plan)
    async with listening(app) as url:
        tuners = [Tuner(url, lambda scale: read_came([clip], scale, 25.0), said.append) for _ in range(5)]
        monkeypatch.setattr("client_player.federation.joining.show_version", gone)
        results = await asyncio.gather(*(tuner.take_part(1) for tuner in tuners))
    assert [(each.rounds, each.problem) for each in results] == [(1, "")] * 5
    assert any("not known" in each for each in said)


def test_segments_of_any_part_of_a_film_are_learnt_from(tmp_path: Path):
    prepared = prepared_library()
    rendition = load_title(prepared.root / "bbb").renditions[-1]
    folder = prepared.root / "bbb" / "video" / rendition.id
    for name in ("init.mp4", "seg-00002.m4s"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (pairs,) = read_came([tmp_path], 2.0, 0.0)
    assert len(pairs.low) > 0


def test_the_command_says_that_nobody_answers(clip: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("client_player.federation.joining._FAILURES_MAX", 1)
    monkeypatch.setattr("client_player.federation.joining._AGAIN_S", 0.0)
    done = CliRunner().invoke(join, ["http://127.0.0.1:9/", "--came", str(clip), "--json"], standalone_mode=False)
    assert done.return_value == 1
    assert json.loads(done.stdout)["rounds"] == 0
    said = [line for line in done.stderr.splitlines() if line]
    assert "Trying again in 0 s." in said[0], "told while it waits"
    assert "Cannot connect" in said[-1]
