"""Sessions on live titles: each segment is decided when it is asked for, and nobody is told more than is there."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from broadcast import SEGMENT_FRAMES, Broadcast, encoded
from serving import FAST_PATH, logged

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.events import Decided
from abr.core.title import segment_file
from abr.records import dumps
from server.context import CONTEXT
from server.live.ladder.shedding import WHOLE_LADDER, Ladder
from server.settings import Settings

NAMESPACE = {"mpd": "urn:mpeg:dash:schema:mpd:2011"}


@pytest.fixture(scope="module", autouse=True)
def media() -> Path:
    """Encoded before a test's clock and watch begin."""
    return encoded()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(library=str(tmp_path), fast_path=FAST_PATH)


@pytest.fixture
def cam(tmp_path: Path, clock, nothing_blocks) -> Broadcast:
    return Broadcast(tmp_path, clock)


class Viewer:
    """Opens sessions on `cam`, and asks for segments a tenth of a second after they are there."""

    def __init__(self, client: TestClient, clock) -> None:
        self.client, self.clock = client, clock
        self.path, self.opened, self.asked = "", {}, 0

    async def open(self, **over: object) -> dict[str, object]:
        body = dumps({"title": "cam", "buffer_max_s": 20} | over)
        answer = await self.client.post("/sessions", data=body, headers={"Content-Type": "application/json"})
        self.opened = await answer.json() | {"status": answer.status}
        self.path = answer.headers.get("Location", self.path)
        return self.opened

    async def ask(self, number: int, buffer_s: float = 2.0) -> tuple[int, bytes, dict[str, str]]:
        told = [f"com.toprung-b={int(buffer_s * 1000)}", "com.toprung-p=1", f"com.toprung-t={self.asked * 1000}"]
        if self.asked:  # what was asked for before came quickly
            told.append(f'com.toprung-d="200000/100/20/{self.asked * 1000}"')
        self.asked += 1
        answer = await self.client.get(f"{self.path}/video/{number}.m4s", params={"CMCD": ",".join(told)})
        return answer.status, await answer.read(), dict(answer.headers)

    def pass_s(self, seconds: float = 1.0) -> None:
        self.clock.now_s += seconds


@pytest.fixture
async def viewer(client: TestClient, clock) -> Viewer:
    return Viewer(client, clock)


def in_thread(cam: Broadcast):
    """What a stream writes, as another process would: not in the server's loop."""
    return lambda method, *arguments: asyncio.to_thread(getattr(cam, method), *arguments)


async def test_a_session_on_a_live_title_plays_what_is_decided_for_each_segment(cam, viewer, media):
    publish = in_thread(cam)
    await publish("send", 3)
    opened = await viewer.open()
    assert opened["status"] == 201 and opened["live"] is True
    assert opened["title_url"] == "/titles/cam/v-0000000000000001/tables.json"
    mpd = ElementTree.fromstring(await (await viewer.client.get(f"{viewer.path}/manifest.mpd")).read())
    video = mpd.find("mpd:Period/mpd:AdaptationSet[@contentType='video']", NAMESPACE)
    assert mpd.get("type") == "dynamic" and len(video.findall("mpd:Representation", NAMESPACE)) == 1
    rungs = []
    for number in range(3, 8):
        status, body, headers = await viewer.ask(number)
        assert status == 200
        rung = headers["Toprung-Rendition"]
        assert body == (media / "video" / rung / segment_file(number - 1)).read_bytes()
        rungs.append(rung)
        await publish("send")
        viewer.pass_s()
        async with asyncio.timeout(60):
            await viewer.client.app[CONTEXT].sessions.all_planned()
    log = await logged(viewer.client, viewer.path, Decided)
    assert [event.segment for event in log] == [2, 3, 4, 5, 6]
    assert rungs[0] == "64p" and rungs[-1] == "108p", [event.reason for event in log]
    assert "no plan yet" not in log[-1].reason, "plans hold while the stream goes on"
    assert all(event.size_bytes == (media / "video" / event.rendition / segment_file(event.segment)).stat().st_size
               for event in log)  # fmt: skip


async def test_a_rung_that_is_not_made_is_not_decided_for_and_is_again_when_it_is_back(cam, viewer):
    """The viewer could have the top rung all the time."""
    publish = in_thread(cam)
    await publish("send", 3)
    await viewer.open(controller="throughput")
    change = cam.publication.change_ladder
    rungs = []
    for number in range(3, 12):
        if number == 4:
            await asyncio.to_thread(change, 3, 3 * SEGMENT_FRAMES, Ladder(without=("108p",), eased=("64p",)))
        if number == 8:
            await asyncio.to_thread(change, 7, 7 * SEGMENT_FRAMES, WHOLE_LADDER)
        if number > 3:
            await publish("send", 1, ("video/108p",) if number < 8 else ())
        viewer.pass_s()
        status, _, headers = await viewer.ask(number, buffer_s=8.0)
        assert status == 200
        rungs.append(headers["Toprung-Rendition"])
    assert set(rungs[1:5]) == {"64p"} and rungs[-1] == "108p", rungs
    metrics = await (await viewer.client.get("/metrics")).text()
    told = dict(re.findall(r'toprung_live_ladder_decisions_total{ladder="([a-z]+)"} ([0-9]+)', metrics))
    assert told == {"whole": "5", "shed": "4"}


async def test_asked_again_the_answer_is_the_same_also_when_the_stream_has_gone_on(cam, viewer):
    publish = in_thread(cam)
    await publish("send", 3)
    await viewer.open()
    first = await viewer.ask(3)
    await publish("send", 2)
    viewer.pass_s(2)
    again = await viewer.ask(3)
    assert again[0] == 200 and again[1] == first[1]
    assert again[2]["Toprung-Reason"] == "as decided before"


async def test_what_is_not_there_yet_comes_soon_and_what_has_left_the_window_is_gone(cam, viewer):
    publish = in_thread(cam)
    await publish("send", 3)
    await viewer.open()
    status, body, headers = await viewer.ask(4)
    assert (status, headers["Retry-After"]) == (404, "1")
    assert json.loads(body)["detail"] == "Segment 4 of 'cam' is not there yet; the newest one is 3."
    await publish("send")
    viewer.pass_s(0.1)
    assert (await viewer.ask(4))[0] == 200, "also when the disk was looked at just now"
    await publish("send", 11)
    viewer.pass_s(11)
    status, body, _ = await viewer.ask(4)
    assert status == 410 and "has left the window, which begins with 12" in json.loads(body)["detail"]


async def test_the_buffer_of_who_watches_live_ends_at_the_live_edge(cam, viewer):
    publish = in_thread(cam)
    await publish("send", 4)
    await viewer.open()
    await viewer.ask(4, buffer_s=1.5)
    await viewer.ask(1, buffer_s=0.5)
    at_edge, behind = await logged(viewer.client, viewer.path, Decided)
    assert at_edge.seen.buffer_max_s == 3.0, "the distance that players are told to keep"
    assert behind.seen.buffer_max_s == 4.5, "what lies between the picture and the live edge"
    await viewer.open(buffer_max_s=2)
    await viewer.ask(1, buffer_s=0.5)
    (event,) = await logged(viewer.client, viewer.path, Decided)
    assert event.seen.buffer_max_s == 2.0, "nobody holds more than it can"


async def test_a_stream_that_has_ended_plays_to_its_end_and_says_that_there_is_no_more(cam, viewer):
    publish = in_thread(cam)
    await publish("send", 3)
    await viewer.open()
    await publish("end")
    viewer.pass_s()
    assert [(await viewer.ask(number))[0] for number in (2, 3)] == [200, 200]
    status, body, headers = await viewer.ask(4)
    assert status == 404 and "Retry-After" not in headers
    assert json.loads(body)["detail"] == "Segment 4 of 'cam' is not there; the stream has ended with 3."
    assert b'type="static"' in await (await viewer.client.get(f"{viewer.path}/manifest.mpd")).read()


async def test_a_stream_that_began_anew_is_told_in_one_sentence(cam, viewer, clock, tmp_path):
    publish = in_thread(cam)
    await publish("send", 3)
    await viewer.open()
    await asyncio.to_thread(cam.remove)
    again = await asyncio.to_thread(lambda: Broadcast(tmp_path, clock, version="0" * 15 + "2"))
    await in_thread(again)("send", 3)
    viewer.pass_s()
    status, body, _ = await viewer.ask(3)
    assert status == 410
    assert json.loads(body)["detail"] == "The live stream 'cam' began anew; open a new session."
    assert (await viewer.open(version="0" * 15 + "1"))["status"] == 410
    assert (await viewer.open())["status"] == 201
    assert (await viewer.ask(3))[0] == 200


async def test_before_the_first_segment_there_is_no_session(cam, viewer):
    opened = await viewer.open()
    assert opened["status"] == 404 and "has not begun" in str(opened["detail"])


async def test_an_advised_player_chooses_for_itself_and_hears_what_it_should_choose(cam, viewer, media):
    await in_thread(cam)("send", 3)
    await viewer.open()
    mpd = await (await viewer.client.get(f"{viewer.path}/title/manifest.mpd")).read()
    assert b'type="dynamic"' in mpd
    assert (await viewer.client.get(f"{viewer.path}/title/time")).status == 200
    answer = await viewer.client.get(f"{viewer.path}/title/video/108p/{segment_file(2)}")
    assert await answer.read() == (media / "video" / "108p" / segment_file(2)).read_bytes()
    assert "mb=" in answer.headers["CMSD-Dynamic"]


async def test_delivery_reports_and_events_of_a_live_session_are_understood(cam, viewer):
    await in_thread(cam)("send", 4)
    await viewer.open()
    await viewer.ask(3)
    report = f"e=rr,rc=200,ttfb=20,ttlb=500,url=\"http://x{viewer.path}/video/3.m4s\""  # fmt: skip
    headers = {"Content-Type": "application/cmcd"}
    assert (await viewer.client.post(f"{viewer.path}/cmcd", data=report, headers=headers)).status == 204
    shown = {"event": "shown", "t_s": 3.0, "segment": 2, "rendition": "64p", "enhancer": "none", "frames": 25}
    told = shown | {"enhanced_frames": 0, "plain_frames": 25, "late_frames": 0, "buffer_s": 1.0, "latency_s": 3.25}
    assert (await viewer.client.post(f"{viewer.path}/events", json={"events": [told]})).status == 204
    log = [json.loads(line) for line in (await (await viewer.client.get(f"{viewer.path}/log")).text()).splitlines()]
    downloaded = next(line for line in log if line["event"] == "downloaded")
    assert downloaded["segment"] == 2 and downloaded["duration_s"] == 0.5
    metrics = await (await viewer.client.get("/metrics")).text()
    assert "toprung_viewer_live_latency_seconds_sum 3.25" in metrics
    assert "toprung_viewer_shown_seconds_total 1.0" in metrics


def lifts(quality, gain: float):
    """The quality of a stream whose lowest rung generic-low lifts by so much."""
    plain = quality.plain["64p"]
    lifted = msgspec.structs.replace(plain, vmaf=(plain.vmaf[0] + gain,), vmaf_neg=(plain.vmaf_neg[0] + gain,))
    offer = Offer(
        rendition="64p",
        architecture="plain-m4c16x2",
        weights_sha256="0" * 64,
        chunks=(),
        macs_per_output_px=1.0,
        quality=lifted,
    )
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    table = EnhancementTable(title="cam", meter=quality.meter, enhancers=(entry,))
    return msgspec.structs.replace(quality, enhancements=table, measured=True)


PROFILE = DeviceProfile(
    device=Device(name="box", processor="p", cores=2, memory_bytes=0),
    measurements=(
        Measurement(
            architecture="plain-m4c16x2",
            width_px=114,
            height_px=64,
            backend="openvino",
            threads=1,
            p50_ms=2.0,
            p95_ms=3.0,
        ),
    ),
)


@pytest.mark.parametrize(("gain", "offered"), [(12.0, 3), (-1.0, 2)])
async def test_an_enhancer_is_offered_when_it_beats_plain_pictures_and_not_otherwise(cam, viewer, gain, offered):
    cam.publication.quality = lifts(cam.publication.quality, gain)
    await in_thread(cam)("send", 3)
    await viewer.open(profile=msgspec.to_builtins(PROFILE))
    assert (await (await viewer.client.get(viewer.path)).json())["options"] == offered
    status, _, headers = await viewer.ask(3)
    assert status == 200 and headers["Toprung-Enhancer"] == ("generic-low" if gain > 0 else "none")


async def test_tables_are_no_larger_than_the_window_makes_them(cam, tmp_path):
    publish = in_thread(cam)
    await publish("send", 20)
    size = (tmp_path / "cam" / "tables.json").stat().st_size
    await publish("send", 200)
    assert (tmp_path / "cam" / "tables.json").stat().st_size <= size + 20
