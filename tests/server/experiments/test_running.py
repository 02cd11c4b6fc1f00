"""An experiment on a running server: who gets which controller, and what /qoe and /metrics tell."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis_server import redis_in, running_redis

from abr.core.events import Ended, EventBatch, Shown, Stalled, Started, loads_log
from abr.core.title import Title
from abr.errors import InputError
from abr.records import dumps
from server.app import create_app
from server.context import CONTEXT
from server.experiments.intervals import LEAST
from server.settings import Settings

JSON = {"Accept": "application/json"}
CONTROLLERS = {"a": "bola", "b": "bba"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, experiment="a=bola,b=bba", secret="known")


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(create_app(settings))) as client:
        yield client


async def opened(client: TestClient, **fields: object) -> tuple[str, str, str]:
    """Path, arm and controller of a new session."""
    path = (await client.post("/sessions", json={"title": "bbb"} | fields)).headers["Location"]
    told = await (await client.get(path)).json()
    return path, told["arm"], told["controller"]


def shown(title: Title, segment: int, rendition: int = 0) -> Shown:
    frames = title.segment_frames[segment]
    return Shown(
        t_s=1.0 + segment,
        segment=segment,
        rendition=title.renditions[rendition].id,
        enhancer="none",
        frames=frames,
        enhanced_frames=0,
        plain_frames=frames,
        late_frames=0,
        buffer_s=1.0,
    )


async def report(client: TestClient, path: str, *events: object) -> None:
    body = dumps(EventBatch(events=events))  # type: ignore[arg-type]
    answer = await client.post(f"{path}/events", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 204, await answer.text()


async def told(client: TestClient) -> dict:
    answer = await client.get("/qoe", headers=JSON)
    assert answer.status == 200 and answer.content_type == "application/json"
    return (await answer.json())["experiment"]


async def test_a_viewer_is_drawn_into_an_arm_and_decided_by_its_controller(client):
    seen = [await opened(client) for _ in range(40)]
    assert {arm for _, arm, _ in seen} == {"a", "b"}
    assert all(CONTROLLERS[arm] == controller for _, arm, controller in seen)
    assert [arm["sessions"] for arm in (await told(client))["arms"]] == [
        sum(arm == name for _, arm, _ in seen) for name in "ab"
    ]


async def test_who_names_a_controller_is_in_no_arm(client, title):
    path, arm, controller = await opened(client, controller="bola")
    assert (arm, controller) == ("", "bola")
    await report(client, path, shown(title, 0))
    assert [(arm["sessions"], arm["visits"]) for arm in (await told(client))["arms"]] == [(0, 0)] * 2


async def test_a_visit_keeps_its_arm_over_sessions_and_over_servers(settings):
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(serving(settings)) for _ in range(2)]
        arms = {}
        for number in range(20):
            fields = {"visit": f"visit-{number}"}
            found = {(await opened(client, **fields))[1] for client in (one, other, one)}
            assert len(found) == 1
            arms[number] = found.pop()
        assert set(arms.values()) == {"a", "b"}
        elsewhere = await stack.enter_async_context(serving(replace(settings, experiment="a=bba,b=bola")))
        drawn = [(await opened(elsewhere, visit=f"visit-{number}"))[1] for number in range(20)]
        assert drawn != list(arms.values()), "another experiment draws anew"


async def test_a_visit_counts_once_with_all_that_its_sessions_showed(client, title):
    first, arm, _ = await opened(client, visit="mine")
    await report(client, first, shown(title, 0, 0), shown(title, 1, 1))
    second, _, _ = await opened(client, visit="mine")
    await report(client, second, shown(title, 2, 1))
    await report(client, first, Ended(t_s=3.0, reason="measured", played_s=3.0))
    (found,) = [each for each in (await told(client))["arms"] if each["name"] == arm]
    assert (found["sessions"], found["visits"]) == (2, 1)
    plain = [title.plain_quality[title.renditions[rung].id].vmaf[n] for n, rung in enumerate((0, 1, 1))]
    lasted_s = sum(title.segment_duration_s[:3])
    change = (abs(plain[1] - plain[0]) + abs(plain[2] - plain[1])) / 2
    assert found["quality"]["mean"] == pytest.approx(sum(plain) / 3, abs=1e-3)
    assert found["qoe"]["mean"] == pytest.approx(sum(plain) / 3 - change, abs=1e-3)
    assert found["switches_per_minute"]["mean"] == pytest.approx(60 / lasted_s, abs=1e-3)
    assert found["qoe"]["low"] is None, "one visit has no interval"


async def test_a_session_that_the_store_has_lost_keeps_its_arm_and_is_not_counted_twice(client, title):
    path, arm, controller = await opened(client)
    await report(client, path, shown(title, 0))
    context = client.app[CONTEXT]
    seed = context.sessions._repository._ids.read(path.removeprefix("/sessions/"))
    assert seed is not None and (seed.arm, seed.controller, seed.state().visit) == (arm, controller, b"")
    events = [shown(title, 1)]
    await context.sessions._watchers.experiment.note(seed.state(), events, lambda _: None)
    assert sum(each["visits"] for each in (await told(client))["arms"]) == 1


async def test_the_page_and_the_log_tell_the_arm_and_a_player_cannot_claim_another(client, title):
    path, arm, _ = await opened(client)
    claimed = Started(t_s=0.0, session="x", title="bbb", controller="", arm="b" if arm == "a" else "a")
    await report(client, path, claimed)
    (started,) = loads_log(await (await client.get(f"{path}/log")).read())
    assert isinstance(started, Started) and started.arm == arm
    async with client.get("/qoe/feed") as feed:
        line = await feed.content.readline()
    assert json.loads(line.removeprefix(b"data: "))["event"]["arm"] == arm


async def test_arms_that_differ_are_told_apart_with_intervals_and_shown_to_prometheus(client, title):
    for number in range(6 * LEAST):
        path, arm, _ = await opened(client, visit=str(number))
        events = [shown(title, 0), *([Stalled(t_s=2.0, duration_s=0.02 + number % 5 / 500, segment=1)] * (arm == "b"))]
        await report(client, path, *events, shown(title, 1, number % 2))
    found = await told(client)
    one, two = found["arms"]
    assert one["visits"] + two["visits"] == 6 * LEAST and found["warning"] == ""
    assert one["qoe"]["low"] < one["qoe"]["mean"] < one["qoe"]["high"]
    assert one["rebuffering"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    (difference,) = found["differences"]
    assert difference["is_shown"] is (difference["qoe"]["low"] > 0 or difference["qoe"]["high"] < 0)
    assert difference["rebuffering"]["low"] > 0, "only b ever stalls"
    assert difference["qoe"]["mean"] == pytest.approx(two["qoe"]["mean"] - one["qoe"]["mean"])
    scraped = await (await client.get("/metrics")).text()
    assert f'toprung_experiment_visits{{arm="a"}} {float(one["visits"])}' in scraped
    for bound in ("mean", "low", "high"):
        value = next(
            float(line.rpartition(" ")[2])
            for line in scraped.splitlines()
            if line.startswith(f'toprung_experiment_qoe{{arm="b",bound="{bound}"}}')
        )
        assert value == pytest.approx(two["qoe"][bound])
    assert 'toprung_experiment_qoe_difference{arm="b",bound="low"}' in scraped


async def test_browsers_get_the_page_and_programs_without_an_experiment_get_none(client, settings):
    page = await client.get("/qoe", headers={"Accept": "text/html,application/xhtml+xml"})
    assert page.content_type == "text/html" and "Accept" in page.headers["Vary"]
    async with serving(replace(settings, experiment="")) as plain:
        assert await told(plain) is None
        assert (await opened(plain, visit="mine"))[1:] == ("", "toprung")


async def test_all_who_share_a_redis_tell_the_same(settings, title):
    with running_redis() as url:
        shared = replace(settings, redis_url=url, redis_timeout_s=60.0)
        async with AsyncExitStack() as stack:
            one, other = [await stack.enter_async_context(serving(shared)) for _ in range(2)]
            path, arm, _ = await opened(one, visit="mine")
            await report(one, path, shown(title, 0))
            await report(other, path, shown(title, 1, 1))
            assert await told(one) == await told(other)
            (found,) = [each for each in (await told(one))["arms"] if each["name"] == arm]
            assert (found["sessions"], found["visits"]) == (1, 1)
            assert found["switches_per_minute"]["mean"] > 0, "it knows what the other was told before"
        async with serving(shared) as later:
            assert sum(each["visits"] for each in (await told(later))["arms"]) == 1, "it outlives the servers"


async def test_while_the_tallies_cannot_be_reached_viewers_go_on_uncounted(settings, tmp_path: Path):
    with redis_in(tmp_path) as (url, process):
        async with serving(replace(settings, redis_url=url)) as client:
            process.kill()
            process.wait()
            path, arm, controller = await opened(client)
            assert CONTROLLERS[arm] == controller
            assert (await client.get(f"{path}/video/1.m4s")).status == 200
            assert (await client.get("/metrics")).status == 200
            answer = await client.get("/qoe", headers=JSON)
            assert answer.status == 503 and "cannot be reached right now" in (await answer.json())["detail"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a=bola", "has 1 arm"), ("a=bola,b=nobody", "There is no controller named 'nobody'"), ("a", "NAME=CONTROLLER")],
)
def test_a_server_does_not_start_with_an_experiment_that_cannot_be_read(settings, text, sentence):
    with pytest.raises(InputError, match=sentence):
        create_app(replace(settings, experiment=text))
