"""GET /devices and its series: what viewers' devices are, and what tiers bring on them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis_server import running_redis
from serving import device_profile

from abr.controllers.toprung.speed_classes import reference_ms, speed_class
from abr.core.device import DeviceProfile, Measurement
from abr.core.events import EventBatch, Shown
from abr.core.title import Title
from abr.records import dumps
from server.app import create_app


def profile(title: Title, low_ms: float) -> DeviceProfile:
    """A device whose tier low takes so long for a frame of 640×360 at ×2."""
    known = device_profile(title)
    low = Measurement(
        architecture="plain-m2c32x2d2",
        width_px=640,
        height_px=360,
        backend="openvino-int8",
        threads=1,
        p50_ms=low_ms,
        p95_ms=low_ms,
    )
    return msgspec.structs.replace(known, measurements=(*known.measurements, low))


async def watch(client: TestClient, title: Title, device: DeviceProfile | None, enhancer: str, p50_ms: float) -> None:
    """Open a session and show two segments, half of their frames enhanced if any."""
    body = dumps({"title": "bbb", "profile": device})
    answer = await client.post("/sessions", data=body, headers={"Content-Type": "application/json"})
    assert answer.status == 201
    lifted = 0 if enhancer == "none" else 2
    events = tuple(
        Shown(
            t_s=1.0 + segment,
            segment=segment,
            rendition=title.renditions[0].id,
            enhancer=enhancer,
            frames=title.segment_frames[segment],
            enhanced_frames=title.segment_frames[segment] // lifted if lifted else 0,
            plain_frames=0,
            late_frames=0,
            buffer_s=1.0,
            enhance_p50_ms=p50_ms,
            enhance_p95_ms=2 * p50_ms,
        )
        for segment in range(2)
    )
    path = answer.headers["Location"]
    headers = {"Content-Type": "application/json"}
    assert (await client.post(f"{path}/events", data=dumps(EventBatch(events=events)), headers=headers)).status == 204


async def test_devices_are_told_by_speed_and_tiers_by_what_they_take_and_bring(client, title):
    await watch(client, title, profile(title, low_ms=20.0), "content-low", 10.0)
    await watch(client, title, profile(title, low_ms=25.0), "none", 0.0)
    await watch(client, title, None, "none", 0.0)
    told = await (await client.get("/devices")).json()
    assert told["sessions"] == 3
    assert [(each["name"], each["sessions"]) for each in told["classes"]] == [("unmeasured", 1), ("24fps", 2)]
    fast = told["classes"][1]
    assert fast["reference_ms"] == pytest.approx(20.0, rel=0.1)
    [low] = fast["tiers"]
    assert (low["tier"], low["segments"], low["frames_share"]) == ("low", 2, 0.5)
    assert low["enhanced_share"] == pytest.approx(0.5, abs=0.03)
    assert low["gained"] == pytest.approx(10.0, abs=0.5), "half of the 20 points that its table promises"
    assert low["frame_p50_ms"] == pytest.approx(10.0, rel=0.1) and low["frame_p95_ms"] == pytest.approx(20.0, rel=0.1)
    assert low["load_p50"] > 0
    text = await (await client.get("/metrics")).text()
    assert 'toprung_fleet_sessions_total{device_class="24fps"} 2.0' in text
    assert 'toprung_fleet_enhance_seconds_count{device_class="24fps",percentile="50",tier="low"} 2.0' in text


async def test_a_player_that_makes_frames_up_counts_no_more_than_a_film_has(client, title):
    body = dumps({"title": "bbb", "profile": device_profile(title)})
    answer = await client.post("/sessions", data=body, headers={"Content-Type": "application/json"})
    shown = Shown(
        t_s=1.0,
        segment=0,
        rendition=title.renditions[0].id,
        enhancer="content-low",
        frames=1 << 24,
        enhanced_frames=1 << 24,
        plain_frames=0,
        late_frames=1 << 24,
        buffer_s=1.0,
    )
    made_up = msgspec.structs.replace(shown, enhancer="content-made-up")
    body = dumps(EventBatch(events=(shown, made_up)))
    headers = {"Content-Type": "application/json"}
    assert (await client.post(f"{answer.headers['Location']}/events", data=body, headers=headers)).status == 204
    [unmeasured] = (await (await client.get("/devices")).json())["classes"]
    [low] = [each for each in unmeasured["tiers"] if each["segments"]]
    assert unmeasured["name"] == "unmeasured", "it does not tell of tier low's network"
    assert (low["segments"], low["enhanced_share"], low["late_share"]) == (1, 1.0, 1.0)


async def test_two_servers_that_share_a_redis_tell_of_all_devices_whoever_is_asked(settings, title, clock):
    with running_redis() as url:
        shared = replace(settings, redis_url=url, redis_timeout_s=60.0)
        servers = [TestServer(create_app(shared, clock=clock)) for _ in range(2)]
        async with TestClient(servers[0]) as one, TestClient(servers[1]) as other:
            for client in (one, other):
                await watch(client, title, profile(title, low_ms=2.0), "content-low", 1.0)
            await (await one.get("/devices")).read()  # brings what it has counted to the store
            assert (await (await other.get("/devices")).json())["sessions"] == 2


@pytest.mark.parametrize(("low_ms", "name"), [(2.0, "384fps"), (41.0, "24fps"), (42.0, "6fps"), (200.0, "slow")])
def test_a_class_tells_how_many_frames_a_second_a_device_lifts(title, low_ms, name):
    assert speed_class(reference_ms(profile(title, low_ms))) == name


async def test_devices_are_for_operators(settings, title, clock):
    strangers = replace(settings, trusted_peers=(), operator_token="a long random word")
    async with TestClient(TestServer(create_app(strangers, clock=clock))) as client:
        assert (await client.get("/devices")).status == 401
        allowed = await client.get("/devices", headers={"Authorization": "Bearer a long random word"})
        assert allowed.status == 200 and (await allowed.json())["classes"] == []
