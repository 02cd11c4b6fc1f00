"""Sessions over the wire: opened, driven segment by segment, reported on and ended."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from dataclasses import replace

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from mpegdash.parser import MPEGDASHParser
from serving import CHUNK, CHUNK_SHA256, device_profile, enhancements, logged

from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.plan_library import PlanLibrary
from abr.core.control import Download
from abr.core.events import Decided, Ended, EventBatch, Failed, Shown, Stalled, Started, loads_log
from abr.core.pricing import price
from abr.protocols import cmcd
from abr.protocols.cmcd import ViewerState, from_viewer
from abr.protocols.cmsd import loads_dynamic, read_chosen
from abr.records import dumps
from abr.simulation.replay import replay
from server.app import create_app
from server.sessions.memory_store import MemoryStore
from server.settings import Settings


def told(**over: object) -> dict[str, str]:
    """CMCD headers of a Toprung player in the middle of a session."""
    fields: dict[str, object] = {
        "buffer_s": 1.5,
        "backlog_s": 0.25,
        "now_s": 12.345,
        "playing": True,
        "download": Download(started_s=10.0, duration_s=2.0, latency_s=0.05, size_bytes=100_000),
        "owned": (),
    }
    return cmcd.to_headers(from_viewer(ViewerState(**fields | over)))


async def test_opening_a_session_tells_where_everything_is(client, title):
    answer = await client.post("/sessions", json={"title": "bbb"})
    assert answer.status == 201
    opened = await answer.json()
    assert re.fullmatch(r"[A-Za-z0-9_-]{40,256}", opened["id"])
    assert answer.headers["Location"] == f"/sessions/{opened['id']}"
    assert opened["manifest_url"] == f"/sessions/{opened['id']}/manifest.mpd"
    assert (await client.get(opened["title_url"])).status == 200
    assert opened["expires_s"] > 0


async def test_the_manifest_of_a_session_leads_to_segments_that_are_there(client, opened, title):
    path = await opened()
    answer = await client.get(f"{path}/manifest.mpd")
    assert answer.content_type == "application/dash+xml"
    video, audio, *_surround, images = MPEGDASHParser.parse(await answer.text()).periods[0].adaptation_sets
    assert len(video.representations) == 1
    template = video.segment_templates[0]
    assert (await client.get(f"{path}/{template.initialization}")).content_type == "video/mp4"
    for number in range(1, len(title.segment_frames) + 1):
        assert (await client.get(f"{path}/{template.media.replace('$Number$', str(number))}")).status == 200
    base = audio.base_urls[0].base_url_value
    sound = audio.segment_templates[0].initialization.replace("$RepresentationID$", audio.representations[0].id)
    assert (await client.get(f"{path}/{base}{sound}")).content_type == "audio/mp4"
    sheet = images.base_urls[0].base_url_value + images.segment_templates[0].media.replace("$Number%05d$", "00001")
    answer = await client.get(f"{path}/{sheet}")
    assert answer.content_type == "image/jpeg" and "immutable" in answer.headers["Cache-Control"]


async def test_a_decided_segment_is_the_chosen_file_and_says_what_was_chosen(client, opened, title, library):
    path = await opened()
    answer = await client.get(f"{path}/video/2.m4s", headers=told())
    body = await answer.read()
    rendition, enhancer = read_chosen(answer.headers["CMSD-Dynamic"])
    assert (answer.headers["Toprung-Rendition"], answer.headers["Toprung-Enhancer"]) == (rendition, enhancer)
    assert body == (library / "bbb" / "video" / rendition / "seg-00002.m4s").read_bytes()
    assert answer.content_type == "video/iso.segment"
    assert "no-store" in answer.headers["Cache-Control"]
    assert float(answer.headers["Toprung-Wait-S"]) >= 0
    assert answer.headers["Toprung-Reason"]
    prices = price(title, enhancements(title), device_profile(title))
    names = [(prices.rendition_ids[choice.rendition], choice.enhancer) for choice in prices.choices]
    option = names.index((rendition, enhancer))
    assert float(answer.headers["Toprung-Promised-VMAF"]) == pytest.approx(prices.vmaf[1, option], abs=0.01)
    assert float(answer.headers["Toprung-Promised-Quality"]) == pytest.approx(prices.quality[1, option], abs=0.01)


async def test_a_viewer_who_chooses_gets_what_it_asks_for_and_advice(client, opened, title, library):
    path = await opened()
    for name, kind in (("manifest.mpd", "application/dash+xml"), ("master.m3u8", "application/vnd.apple.mpegurl")):
        answer = await client.get(f"{path}/title/{name}")
        assert answer.content_type == kind and await answer.read() == (library / "bbb" / name).read_bytes()
    sound = title.audio[0]
    assert (await client.get(f"{path}/title/audio/{sound.id}/init.mp4")).content_type == "audio/mp4"
    advised = []
    for segment, asked in enumerate(("720p", "180p", "360p")):
        file = f"video/{asked}/seg-{segment + 1:05d}.m4s"
        answer = await client.get(f"{path}/title/{file}", headers=told(download=None, now_s=2.0 * segment))
        assert await answer.read() == (library / "bbb" / file).read_bytes()
        assert answer.headers["Toprung-Rendition"] == asked and "no-store" in answer.headers["Cache-Control"]
        (hop,) = loads_dynamic(answer.headers["CMSD-Dynamic"])
        limit_bps = 1000 * hop.keys["mb"]
        reachable = [each.id for each in title.renditions if each.bandwidth_bps + sound.bandwidth_bps <= limit_bps]
        advised.append(reachable[-1])
    log = await logged(client, path, Decided)
    assert [event.rendition for event in log] == ["720p", "180p", "360p"]
    assert [event.advised or event.rendition for event in log] == advised and advised[0] != "720p"
    assert (
        replay(log, price(title, enhancements(title), device_profile(title)), Toprung(plans=PlanLibrary())).differences
        == ()
    )


async def test_advice_is_the_same_for_each_rendition_of_a_segment_and_none_is_given_for_what_is_not_there(
    client, opened
):
    path = await opened()
    told_mb = set()
    for rendition in ("720p", "180p", "720p"):
        answer = await client.get(f"{path}/title/video/{rendition}/seg-00001.m4s", headers=told())
        told_mb.add(loads_dynamic(answer.headers["CMSD-Dynamic"])[0].keys["mb"])
    assert len(told_mb) == 1 and len(await logged(client, path, Decided)) == 1
    for missing in ("video/999p/seg-00001.m4s", "video/180p/seg-00099.m4s", "video/180p/seg-00000.m4s", "nothing"):
        assert (await client.get(f"{path}/title/{missing}", headers=told())).status == 404
    assert len(await logged(client, path, Decided)) == 1


async def test_asked_again_the_answer_is_the_same_whatever_the_viewer_tells_now(client, opened):
    path = await opened()
    first = await client.get(f"{path}/video/1.m4s", headers=told(buffer_s=0.0))
    for buffer_s in (0.0, 50.0):
        again = await client.get(f"{path}/video/1.m4s", headers=told(buffer_s=buffer_s, now_s=99.0))
        assert await again.read() == await first.read()
        assert again.headers["Toprung-Rendition"] == first.headers["Toprung-Rendition"]
        assert again.headers["Toprung-Promised-VMAF"] == first.headers["Toprung-Promised-VMAF"]
    assert len(await logged(client, path, Decided)) == 1
    ranged = await client.get(f"{path}/video/1.m4s", headers=told() | {"Range": "bytes=0-9"})
    assert (ranged.status, await ranged.read()) == (206, (await first.read())[:10])
    head = await client.head(f"{path}/video/1.m4s")
    assert head.headers["Toprung-Rendition"] == first.headers["Toprung-Rendition"]


async def test_many_requests_at_once_lose_no_decision(client, opened, title):
    path = await opened()
    numbers = [number for number in range(1, len(title.segment_frames) + 1) for _ in range(20)]
    answers = await asyncio.gather(*(client.get(f"{path}/video/{n}.m4s", headers=told()) for n in numbers))
    chosen: dict[int, set[tuple[str, str] | None]] = {}
    for number, answer in zip(numbers, answers, strict=True):
        chosen.setdefault(number, set()).add(read_chosen(answer.headers["CMSD-Dynamic"]))
    assert all(len(each) == 1 for each in chosen.values())
    shown = await (await client.get(path)).json()
    assert [each["segment"] + 1 for each in shown["choices"]] == sorted(chosen)
    assert sorted(event.segment + 1 for event in await logged(client, path, Decided)) == sorted(chosen)


class Distant(MemoryStore):
    """A store that answers a little later, as one behind a network does."""

    async def load(self, session_id):
        await asyncio.sleep(0)
        return await super().load(session_id)

    async def save(self, session_id, state, *, version, lines=()):
        await asyncio.sleep(0)
        return await super().save(session_id, state, version=version, lines=lines)


async def test_requests_of_one_session_take_turns_rather_than_collide(settings, clock, title):
    store = Distant(clock, ttl_s=999, sessions_max=9, log_events_max=99, log_bytes_max=1 << 20)
    async with TestClient(TestServer(create_app(settings, store=store, clock=clock))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        numbers = [1, 2, 3] * 20
        answers = await asyncio.gather(*(client.get(f"{path}/video/{n}.m4s", headers=told()) for n in numbers))
        assert {answer.status for answer in answers} == {200}
        assert len(await logged(client, path, Decided)) == 3
        assert "toprung_decision_conflicts_total 0.0" in await (await client.get("/metrics")).text()


class Contested(MemoryStore):
    """A store that another server writes to as well: it decides segment 2 just before our first save."""

    contested = False

    async def save(self, session_id, state, *, version, lines=()):
        if version == 1 and not self.contested:
            self.contested = True
            found = await self.load(session_id)
            theirs = found.state.with_choice(1, 0)
            await super().save(
                session_id, msgspec.structs.replace(theirs, menu=state.menu), version=1, lines=[b'{"other":1}\n']
            )
        return await super().save(session_id, state, version=version, lines=lines)


async def test_a_decision_that_another_server_took_in_between_is_kept(settings, clock):
    store = Contested(clock, ttl_s=999, sessions_max=9, log_events_max=99, log_bytes_max=1 << 20)
    async with TestClient(TestServer(create_app(settings, store=store, clock=clock))) as client:
        path = (await client.post("/sessions", json={"title": "bbb", "controller": "fixed"})).headers["Location"]
        assert (await client.get(f"{path}/video/1.m4s")).headers["Toprung-Rendition"] == "720p"
        assert (await client.get(f"{path}/video/2.m4s")).headers["Toprung-Rendition"] == "180p", "as the other decided"
        lines = (await (await client.get(f"{path}/log")).read()).splitlines()
        assert len(lines) == 2, "what was refused was not logged"
        assert "toprung_decision_conflicts_total 1.0" in await (await client.get("/metrics")).text()


async def test_the_log_holds_what_was_known_and_replays_to_the_same_decisions(client, opened, title):
    path = await opened()
    owned: tuple[str, ...] = ()
    for number in range(1, len(title.segment_frames) + 1):
        download = Download(started_s=3.0 * number, duration_s=2.2, latency_s=0.07, size_bytes=41_000 * number)
        viewer = told(now_s=3.0 * number + 2.2, buffer_s=1.1 * number, download=download, owned=owned)
        answer = await client.get(f"{path}/video/{number}.m4s", headers=viewer)
        if answer.headers["Toprung-Enhancer"].startswith("content"):
            owned = (CHUNK_SHA256,)
    log = loads_log(await (await client.get(f"{path}/log")).read())
    seen = log[1].seen
    assert log[1].size_bytes == title.rendition(log[1].rendition).segment_bytes[1]
    assert (log[1].t_s, seen.buffer_s, seen.backlog_s, seen.playing) == (8.2, 2.2, 0.25, True)
    assert seen.downloads == ((3.0, 2.2, 0.07, 41_000), (6.0, 2.2, 0.07, 82_000))
    prices = price(title, enhancements(title), device_profile(title))
    again = replay(log, prices, Toprung(plans=PlanLibrary()))
    assert (again.decisions, again.differences) == (len(title.segment_frames), ())


async def test_weights_already_owned_are_not_priced_again(client, opened):
    """On a network too slow for the chunk, content-aware enhancement is chosen only once the device has it."""
    slow = Download(started_s=0.0, duration_s=10.0, latency_s=0.0, size_bytes=len(CHUNK) * 4)
    without = await opened(controller="toprung")
    having = await opened(controller="toprung")
    for path, owned in ((without, ()), (having, (CHUNK_SHA256,))):
        await client.get(f"{path}/video/1.m4s", headers=told(owned=owned, download=slow, now_s=11.0))
    assert (await logged(client, without, Decided))[0].seen.owned == ()
    assert (await logged(client, having, Decided))[0].seen.owned == (CHUNK_SHA256,)


async def test_a_device_without_profile_gets_plain_playback(client, opened):
    plain, able = await opened(profile=None), await opened()
    assert (await (await client.get(plain)).json())["options"] == 4
    assert (await (await client.get(able)).json())["options"] == 7
    generic = await opened(families=["generic"])
    assert (await (await client.get(generic)).json())["options"] == 6


async def test_each_session_has_its_own_controller(client, opened):
    lowest, highest = await opened(controller="lowest"), await opened(controller="fixed")
    for path, rendition in ((lowest, "180p"), (highest, "720p")):
        answer = await client.get(f"{path}/video/1.m4s", headers=told(buffer_s=30.0))
        assert answer.headers["Toprung-Rendition"] == rendition


async def test_events_join_the_log_and_the_players_word_on_decisions_does_not(client, opened):
    path = await opened()
    await client.get(f"{path}/video/1.m4s", headers=told())
    events = (
        Started(t_s=0.0, session="x", title="bbb", controller="toprung"),
        Decided(t_s=1.0, segment=7, rendition="x", enhancer="y", wait_s=0, reason="", promised_vmaf=1, size_bytes=1),
        Stalled(t_s=2.0, duration_s=0.5, segment=1),
    )
    answer = await client.post(
        f"{path}/events", data=dumps(EventBatch(events=events)), headers={"Content-Type": "application/json"}
    )
    assert (answer.status, await answer.read()) == (204, b"")
    answer = await client.get(f"{path}/log")
    assert answer.content_type == "application/x-ndjson"
    log = loads_log(await answer.read())
    assert [type(event) for event in log] == [Decided, Started, Stalled]
    assert log[0].segment == 0


async def test_a_session_ends_when_it_is_deleted(client, opened):
    path = await opened()
    assert (await client.delete(path)).status == 204
    for answer in (
        await client.get(path),
        await client.get(f"{path}/video/1.m4s"),
        await client.get(f"{path}/video/init.mp4"),
        await client.get(f"{path}/manifest.mpd"),
        await client.get(f"{path}/log"),
        await client.delete(path),
        await client.post(f"{path}/events", json={"events": []}),
    ):
        assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_a_session_expires_when_nothing_is_heard_of_it(client, opened, clock, settings):
    path = await opened()
    clock.now_s += settings.session_ttl_s - 1
    assert (await client.get(f"{path}/video/1.m4s")).status == 200
    clock.now_s += settings.session_ttl_s - 1
    assert (await client.get(f"{path}/video/1.m4s")).status == 200, "asking again keeps it alive"
    clock.now_s += settings.session_ttl_s + 1
    assert (await client.get(f"{path}/video/1.m4s")).status == 404


@pytest.mark.parametrize("number", ["0", "4", "99999999", "-1", "1.5", "x"])
async def test_segments_that_do_not_exist(client, opened, number):
    path = await opened()
    assert (await client.get(f"{path}/video/{number}.m4s")).status == 404


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"title": "nope"}, 404, "no title named 'nope'"),
        ({"title": "../etc"}, 400, "title"),
        ({}, 400, "title"),
        ({"title": "bbb", "controller": "toprun"}, 422, "no controller named 'toprun'"),
        ({"title": "bbb", "controller": "/tmp/evil.py:Evil"}, 422, "no controller named"),
        ({"title": "bbb", "controllr": "toprung"}, 400, "controllr"),
        ({"title": "bbb", "families": ["magic"]}, 400, "magic"),
        ({"title": "bbb", "buffer_max_s": -1}, 400, "buffer_max_s"),
        ({"title": "bbb", "profile": {}}, 400, "device"),
        ([], 400, "array"),
    ],
)
async def test_a_session_request_that_cannot_be_met_says_why(client, body, status, said):
    answer = await client.post("/sessions", json=body)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    problem = await answer.json()
    assert problem["status"] == status
    assert said in problem["detail"]


BROKEN = """
class Own:
    def decide(self, seen):
        raise RuntimeError('boom')
"""
SLY = """
from abr.core.control import Decision
class Own:
    def decide(self, seen):
        return Decision(option=0, reason='ok\\r\\nSet-Cookie: a=b é ' + 'x' * 3000)
"""


@pytest.fixture
def app_with_own_controller(request, settings, clock, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(request.param)
    return create_app(replace(settings, controllers=(f"{file}:Own",)), clock=clock)


@pytest.mark.parametrize("app_with_own_controller", [BROKEN], indirect=True)
async def test_a_controller_that_fails_leaves_the_viewer_the_lowest_rung(app_with_own_controller):
    async with TestClient(TestServer(app_with_own_controller)) as client:
        path = (await client.post("/sessions", json={"title": "bbb", "controller": "Own"})).headers["Location"]
        answer = await client.get(f"{path}/video/1.m4s")
        assert answer.status == 200
        assert answer.headers["Toprung-Rendition"] == "180p"
        assert "boom" in answer.headers["Toprung-Reason"]
        metrics = await (await client.get("/metrics")).text()
        assert 'toprung_controller_failures_total{controller="Own"} 1.0' in metrics


@pytest.mark.parametrize("app_with_own_controller", [SLY], indirect=True)
async def test_a_reason_cannot_smuggle_headers(app_with_own_controller):
    async with TestClient(TestServer(app_with_own_controller)) as client:
        path = (await client.post("/sessions", json={"title": "bbb", "controller": "Own"})).headers["Location"]
        answer = await client.get(f"{path}/video/1.m4s")
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Toprung-Reason"].startswith("ok Set-Cookie: a=b ? xxx")
        assert len(answer.headers["Toprung-Reason"]) <= 400


async def test_a_title_trained_again_under_a_running_session_goes_on(library, clock, tmp_path, title):
    shutil.copytree(library / "bbb", tmp_path / "bbb")
    table = tmp_path / "bbb" / "enhancements.json"
    table.rename(tmp_path / "later.json")
    async with TestClient(TestServer(create_app(Settings(library=str(tmp_path)), clock=clock))) as client:
        body = json.loads(dumps({"title": "bbb", "profile": device_profile(title)}))
        path = (await client.post("/sessions", json=body)).headers["Location"]
        await client.get(f"{path}/video/1.m4s", headers=told())
        assert (await (await client.get(path)).json())["options"] == 4
        (tmp_path / "later.json").rename(table)
        clock.now_s += 2
        assert (await client.get(f"{path}/video/2.m4s", headers=told(buffer_s=9.0))).status == 200
        shown = await (await client.get(path)).json()
        assert shown["options"] == 7
        assert [each["segment"] for each in shown["choices"]] == [1], "indices into the old list mean nothing now"


async def test_a_profile_the_store_lost_costs_enhancement_until_it_is_back(settings, clock, title, caplog):
    class Forgetful(MemoryStore):
        forgotten = False

        async def profile(self, key):
            return None if self.forgotten else await super().profile(key)

    store = Forgetful(clock, ttl_s=999, sessions_max=9, log_events_max=9, log_bytes_max=9)
    async with TestClient(TestServer(create_app(settings, store=store, clock=clock))) as client:
        store.forgotten = True
        body = json.loads(dumps({"title": "bbb", "profile": device_profile(title)}))
        path = (await client.post("/sessions", json=body)).headers["Location"]
        assert (await client.get(f"{path}/video/1.m4s")).headers["Toprung-Enhancer"] == "none"
        assert "forgotten" in caplog.text
        store.forgotten = False
        assert (await (await client.get(path)).json())["options"] == 7


async def test_sessions_started_ended_and_what_viewers_saw_are_counted(client, opened):
    path = await opened()
    await client.get(f"{path}/video/1.m4s", headers=told())
    await client.get(f"{path}/video/1.m4s", headers=told())
    shown = Shown(
        t_s=4.0,
        segment=0,
        rendition="180p",
        enhancer="content-low",
        frames=50,
        enhanced_frames=48,
        plain_frames=2,
        late_frames=1,
        buffer_s=3.0,
    )
    events = (shown, Stalled(t_s=5, duration_s=1.5, segment=1), Failed(t_s=6, what="x", detail="y"))
    ended = Ended(t_s=9, reason="finished", played_s=5.25)
    for batch in (EventBatch(events=(*events, ended)), EventBatch(events=(ended,))):
        await client.post(f"{path}/events", data=dumps(batch), headers={"Content-Type": "application/json"})
    metrics = await (await client.get("/metrics")).text()
    for line in (
        'toprung_sessions_started_total{controller="toprung"} 1.0',
        "toprung_sessions_ended_total 1.0",
        "toprung_decision_repeats_total 1.0",
        'toprung_viewer_frames_total{kind="enhanced"} 48.0',
        'toprung_viewer_frames_total{kind="plain"} 2.0',
        "toprung_viewer_late_frames_total 1.0",
        "toprung_viewer_fallback_frames_total 2.0",
        "toprung_viewer_stall_seconds_count 1.0",
        "toprung_viewer_stall_seconds_sum 1.5",
        "toprung_viewer_failures_total 1.0",
        'toprung_viewer_buffer_seconds_bucket{le="4.0"} 1.0',
        "toprung_sessions_active 0.0",
    ):
        assert line in metrics, line
