"""Federated tuning over real sockets: what makes a version, what does not, and what players can fetch.

The judge is a small process of the test's own, so that no torch is needed: it says of a network of ten numbers that it
is the better, the nearer its numbers are to 1.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from private_players import Player

from abr.core.enhancement import Tier
from abr.errors import FormatError, InputError
from abr.federation.update import UpdateCodec
from abr.federation.version import LocalRecipe, ModelVersion
from abr.records import loads
from server.app import create_app
from server.context import CONTEXT
from server.federation import judge
from server.federation.plan import FederationPlan
from server.federation.versions import VersionStore
from server.private.rounds import Pace
from server.settings import Settings

PERIOD_S, STAGE_S, VALUES = 60.0, 5.0, 10

JUDGE = """
import hashlib, json, os, struct, sys
out = sys.argv[sys.argv.index("--out") + 1]
for line in sys.stdin:
    asked = json.loads(line)
    body = open(asked["current"], "rb").read() if asked.get("current") else bytes(80)
    if asked.get("update"):
        moves = struct.unpack("<10d", open(asked["update"], "rb").read())
        if moves[0] > 0.9:
            sys.exit(1)
        body = struct.pack("<10d", *(a + b for a, b in zip(struct.unpack("<10d", body), moves)))
    sha256 = hashlib.sha256(body).hexdigest()
    open(os.path.join(out, "made"), "wb").write(body if os.environ.get("HONEST", "1") == "1" else body + b"x")
    far = sum((value - 1) ** 2 for value in struct.unpack("<10d", body))
    score = {"clip": "c", "psnr_y_db": 40.0, "vmaf_neg": 80 - far}
    print(json.dumps({"file": "made", "sha256": sha256, "size_bytes": len(body), "values": 10,
                      "architecture": "plain-m2c32x2d2", "scores": [score]}), flush=True)
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FederationPlan:
    script = tmp_path / "judge.py"
    script.write_text(JUDGE)
    monkeypatch.setattr(judge.Judge.__init__, "__defaults__", ((sys.executable, str(script)),))
    return FederationPlan(
        folder=tmp_path / "versions",
        held_out=(),
        scale=2.0,
        tier=Tier.LOW,
        crf=25.0,
        recipe=LocalRecipe(steps=1, batch=1, rate=1e-3, detail_weight=0.0, frames_full=48),
        norm_max=2.0,
        pace=Pace(period_s=PERIOD_S, stage_s=STAGE_S, cohort=5, members_max=6),
    )


@pytest.fixture
async def client(plan: FederationPlan, settings: Settings, clock) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(create_app(settings, clock=clock, federation=plan))) as client:
        yield client


async def version_of(client: TestClient) -> ModelVersion:
    return loads(await (await client.get("/federation/version")).read(), ModelVersion, what="version")


async def metrics(client: TestClient) -> dict[str, float]:
    lines = (await (await client.get("/metrics")).text()).splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("toprung_federation")
    }


async def hold_round(client: TestClient, updates: list[np.ndarray], poison: np.ndarray | None = None) -> None:
    """A round in which so many hand in, and others have joined until it is full and then say nothing."""
    codec = UpdateCodec(VALUES, 2.0, 6)
    words = [codec.encode(update, 0.5) for update in updates]
    words += [] if poison is None else [poison]
    players = [Player(client, vector, "federation") for vector in [*words, *[words[0]] * (6 - len(words))]]
    for player in players:
        await player.join()
    for player in players:
        await player.answer()
    for player in players[: len(words)]:
        await player.answer()
    if len(words) < len(players):
        client.server.app[CONTEXT].contributions.tuning.rounds._clock.now_s += STAGE_S
    for player in players[:4]:
        await player.answer()
    ending = await players[0].ending()
    assert ending == {"stage": "summed", "survivors": len(words)}


async def test_a_sum_that_is_better_is_the_next_version_and_another_is_not(client, clock, plan):
    first = await version_of(client)
    assert (first.number, first.values) == (0, VALUES)
    await hold_round(client, [np.full(VALUES, 0.25)] * 4 + [np.full(VALUES, 0.5)])
    second = await version_of(client)
    assert (second.number, second.survivors) == (1, 5)
    body = await (await client.get(f"/federation/weights/{second.sha256}")).read()
    assert hashlib.sha256(body).hexdigest() == second.sha256
    assert np.frombuffer(body, "<f8") == pytest.approx(np.full(VALUES, 0.3), abs=1e-6)
    assert (await client.get(f"/federation/weights/{first.sha256}")).status == 200, "some have just asked for it"
    assert (await (await client.get("/federation/round")).json())["layout"] == second.layout
    await hold_round(client, [np.full(VALUES, -0.25)] * 5)
    assert await version_of(client) == second
    told = await metrics(client)
    assert told['toprung_federation_candidates_total{verdict="kept"}'] == 1
    assert told['toprung_federation_candidates_total{verdict="worse"}'] == 1
    assert told["toprung_federation_version"] == 1
    assert (await client.get(f"/federation/weights/{'0' * 64}")).status == 404
    assert await asyncio.to_thread(VersionStore(plan.folder).newest) == (second, body)


@pytest.mark.parametrize("words", [1 << 30, (1 << 32) - (1 << 29)])
async def test_what_is_no_update_does_not_get_in_and_rounds_go_on(client, words: int):
    before = await version_of(client)
    poison = np.full(VALUES + 1, words, np.uint32)
    await hold_round(client, [np.full(VALUES, 0.25)] * 5, poison)
    assert await version_of(client) == before
    assert (await metrics(client))['toprung_federation_candidates_total{verdict="refused"}'] == 1
    await hold_round(client, [np.full(VALUES, 0.25)] * 5)
    assert (await version_of(client)).number == 1


async def test_a_judge_that_dies_costs_its_round_alone(client):
    await hold_round(client, [np.append(2.0, np.zeros(VALUES - 1))] * 5)  # at which this judge ends
    assert (await metrics(client))['toprung_federation_candidates_total{verdict="failed"}'] == 1
    await hold_round(client, [np.full(VALUES, 0.25)] * 5)
    assert (await version_of(client)).number == 1


async def test_what_the_judge_has_not_made_as_it_says_is_not_kept(client, monkeypatch):
    monkeypatch.setenv("HONEST", "0")
    before = await version_of(client)
    await hold_round(client, [np.append(2.0, np.zeros(VALUES - 1))] * 5)  # begins it anew
    await hold_round(client, [np.full(VALUES, 0.25)] * 5)
    assert (await metrics(client))['toprung_federation_candidates_total{verdict="failed"}'] == 2
    assert await version_of(client) == before


async def test_a_server_goes_on_with_the_version_that_it_had(plan, settings, clock):
    async with TestClient(TestServer(create_app(settings, clock=clock, federation=plan))) as client:
        await hold_round(client, [np.full(VALUES, 0.25)] * 5)
        kept = await version_of(client)
    other = replace(plan, recipe=replace_steps(plan.recipe))
    async with TestClient(TestServer(create_app(settings, clock=clock, federation=other))) as client:
        again = await version_of(client)
    assert (again.number, again.sha256, again.recipe.steps) == (1, kept.sha256, 7)


def replace_steps(recipe: LocalRecipe) -> LocalRecipe:
    return LocalRecipe(
        steps=7,
        batch=recipe.batch,
        rate=recipe.rate,
        detail_weight=recipe.detail_weight,
        frames_full=recipe.frames_full,
    )


async def test_two_servers_do_not_tune_in_one_folder(client, plan, settings, clock):
    with pytest.raises(InputError, match="Another server"):
        async with TestClient(TestServer(create_app(settings, clock=clock, federation=plan))):
            pass
    assert (await client.get("/federation/version")).status == 200


async def test_damaged_weights_are_not_served(plan, settings, clock):
    async with TestClient(TestServer(create_app(settings, clock=clock, federation=plan))):
        pass
    store = VersionStore(plan.folder)
    version, _ = await asyncio.to_thread(store.newest)
    await asyncio.to_thread(store.path(version).write_bytes, b"x" * version.size_bytes)
    with pytest.raises(FormatError, match="damaged"):
        async with TestClient(TestServer(create_app(settings, clock=clock, federation=plan))):
            pass


async def test_a_server_that_tunes_nothing_says_so(settings, clock):
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        for path in ("version", "round", f"weights/{'0' * 64}", f"rounds/{'A' * 16}/message"):
            answer = await client.get(f"/federation/{path}")
            assert (answer.status, (await answer.json())["detail"]) == (404, "Federated tuning is off here.")
