"""Federated tuning over real sockets: what makes a version, what does not, and what players can fetch.

The judge is that of `tuning`, in the tests' support: a network has ten numbers, best at 1.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tuning
from aiohttp.test_utils import TestClient, TestServer
from tuning import STAGE_S, VALUES, judge_command, plan_of

from abr.errors import FormatError, InputError
from abr.federation.version import LocalRecipe, ModelVersion
from abr.records import loads
from server.app import create_app
from server.context import CONTEXT
from server.federation import judge
from server.federation.plan import FederationPlan
from server.federation.versions import VersionStore
from server.settings import Settings


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FederationPlan:
    monkeypatch.setattr(judge.Judge.__init__, "__defaults__", (judge_command(tmp_path),))
    return plan_of(tmp_path)


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
    def let_pass() -> None:
        client.server.app[CONTEXT].contributions.tuning.rounds._clock.now_s += STAGE_S

    await tuning.hold_round(client, updates, poison, let_pass=let_pass)


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
    assert told["toprung_federation_vmaf_neg"] == pytest.approx(80 - VALUES * 0.7**2)
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
    with pytest.raises(FormatError, match=r"damaged\. Put .* back, or take .*version\.json away"):
        async with TestClient(TestServer(create_app(settings, clock=clock, federation=plan))):
            pass


async def test_a_server_that_tunes_nothing_says_so(settings, clock):
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        for path in ("version", "round", f"weights/{'0' * 64}", f"rounds/{'A' * 16}/message"):
            answer = await client.get(f"/federation/{path}")
            assert (answer.status, (await answer.json())["detail"]) == (404, "Federated tuning is off here.")
