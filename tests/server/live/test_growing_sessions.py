"""Sessions on a stream whose segments grow: each is decided with its first chunk, and sent while it is made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp.test_utils import TestClient
from broadcast import CHUNK_FRAMES, CHUNKS, SEGMENT_FRAMES, Broadcast, encoded
from serving import FAST_PATH, logged
from waiting import wait_until

from abr.core.events import Decided
from abr.core.title import segment_file
from server.context import CONTEXT
from server.live.ladder.shedding import WHOLE_LADDER, Ladder
from server.settings import Settings

NAMESPACE = {"mpd": "urn:mpeg:dash:schema:mpd:2011"}
SHED = Ladder(without=("108p",))


@pytest.fixture(scope="module", autouse=True)
def media() -> Path:
    """Encoded before a test's clock and watch begin."""
    return encoded()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(library=str(tmp_path), fast_path=FAST_PATH)


@pytest.fixture
async def cam(tmp_path: Path, clock) -> Broadcast:
    """Three whole segments."""
    broadcast = await asyncio.to_thread(Broadcast, tmp_path, clock, chunk_frames=CHUNK_FRAMES)
    for _ in range(3 * CHUNKS):
        await asyncio.to_thread(broadcast.send_chunk)
    return broadcast


@pytest.fixture
async def session(client: TestClient, cam: Broadcast) -> str:
    async with client.post("/sessions", json={"title": "cam", "controller": "throughput"}) as answer:
        return answer.headers["Location"]


TOLD = 'com.toprung-b=1500,com.toprung-p=1,com.toprung-t=5000,com.toprung-d="400000/100/20/4000"'
"""By a viewer who could have the top rung."""


def asking(client: TestClient, session: str, number: int, **how: object) -> asyncio.Task[tuple[int, bytes, dict]]:
    async def ask() -> tuple[int, bytes, dict]:
        async with client.get(f"{session}/video/{number}.m4s", params={"CMCD": TOLD}, **how) as answer:
            return answer.status, await answer.read(), dict(answer.headers)

    return asyncio.create_task(ask())


async def waits(client: TestClient, count: int = 1) -> None:
    """Until so many requests wait for what is to come."""
    watch = client.server.app[CONTEXT].edge_watch
    await asyncio.to_thread(wait_until, lambda: watch.waiting >= count, "requests that wait")


async def test_its_manifest_offers_segments_while_they_are_made(client, cam, session):
    async with client.get(f"{session}/manifest.mpd") as answer:
        mpd = ElementTree.fromstring(await answer.read())
    services = mpd.findall("mpd:ServiceDescription", NAMESPACE)
    assert [[each.tag.partition("}")[2] for each in service] for service in services] == [
        ["Latency", "PlaybackRate", "ClientDataReporting"]
    ]
    assert services[0][0].get("target") == "2080", "four chunks of thirteen pictures"
    templates = mpd.findall(".//mpd:SegmentTemplate", NAMESPACE)
    assert [each.get("availabilityTimeComplete") for each in templates] == ["false", "false"]
    listed = sum(1 + int(each.get("r", 0)) for each in templates[0].iter(f"{{{NAMESPACE['mpd']}}}S"))
    assert listed == 3 + 2, "the one under way and the next one are announced"


async def test_a_segment_is_decided_with_its_first_chunk_and_sent_as_it_grows(client, cam, session, media):
    task = asking(client, session, 4)
    await waits(client)
    assert await logged(client, session, Decided) == [], "nothing is decided before anything is there"
    task.cancel()
    await asyncio.to_thread(cam.send_chunk)
    async with client.get(f"{session}/video/4.m4s", params={"CMCD": TOLD}) as answer:
        first = await answer.content.readany()
        (decided,) = await logged(client, session, Decided)
        assert (decided.segment, decided.rendition) == (3, "108p")
        await asyncio.to_thread(cam.send_chunk)
        body = first + await answer.read()
    assert body == (media / "video/108p" / segment_file(3)).read_bytes() and 0 < len(first) < len(body)
    assert answer.headers["Toprung-Rendition"] == "108p" and answer.headers["Toprung-Reason"] == decided.reason
    assert "private" in answer.headers["Cache-Control"]
    assert answer.headers["Toprung-Wait-S"] == "0.000", "who waits falls behind"
    assert answer.headers["Server-Timing"].startswith("wait;dur=")
    again = await asking(client, session, 4)
    assert again[1] == body and again[2]["Toprung-Reason"] == "as decided before"


async def test_a_rung_that_the_segment_is_made_without_is_not_decided_for(client, cam, session, media):
    """It is left out of one segment, and back with the next: what is told with each is the newest that there is."""
    rungs = []
    for segment, ladder in enumerate((SHED, WHOLE_LADDER), 3):
        task = asking(client, session, segment + 1)
        await waits(client)
        await asyncio.to_thread(cam.publication.change_ladder, segment, segment * SEGMENT_FRAMES, ladder)
        for _ in range(CHUNKS):
            await asyncio.to_thread(cam.send_chunk, ["video/108p"] if ladder is SHED else [])
        status, body, headers = await task
        rungs.append(headers["Toprung-Rendition"])
        assert status == 200 and body == (media / "video" / rungs[-1] / segment_file(segment)).read_bytes()
    assert rungs == ["64p", "108p"]


async def test_the_decision_alone_can_be_had_of_a_segment_under_way(client, cam, session):
    await asyncio.to_thread(cam.send_chunk)
    status, body, _ = await asking(client, session, 4, headers={"Accept": "application/json"})
    told = json.loads(body)
    assert status == 200 and told["size_bytes"] is None
    assert told["url"] == f"/titles/cam/v-{'0' * 15}1/video/108p/{segment_file(3)}"


async def test_what_is_far_from_being_there_or_never_comes_is_refused(client, cam, session):
    status, body, headers = await asking(client, session, 7)
    assert (status, headers["Retry-After"]) == (404, "1") and "not there yet" in json.loads(body)["detail"]
    waiting = asking(client, session, 4)
    await waits(client)
    await asyncio.to_thread(cam.end)
    status, body, _ = await waiting
    assert status == 404 and await logged(client, session, Decided) == []


async def test_the_time_between_requests_tells_nothing_where_segments_are_made_meanwhile(client, cam, session, clock):
    """A stock player that tells its buffer only: each segment takes it as long as it lasts, on any network."""
    for number in (4, 5, 6):
        clock.now_s += 1.0
        await asyncio.to_thread(cam.send_chunk)
        async with client.get(f"{session}/video/{number}.m4s", params={"CMCD": "bl=1500"}) as answer:
            await asyncio.to_thread(cam.send_chunk)
            await answer.read()
    log = await logged(client, session, Decided)
    assert [event.seen.downloads for event in log] == [(), (), ()]


async def test_hls_players_are_sent_parts_of_what_is_decided(client, cam, session, media):
    async def get(name: str) -> tuple[int, bytes, dict]:
        async with client.get(f"{session}/{name}") as answer:
            return answer.status, await answer.read(), dict(answer.headers)

    hinted = asyncio.create_task(get("video/4.1.m4s"))
    blocked = asyncio.create_task(get("video.m3u8?_HLS_msn=4&_HLS_part=0"))
    await waits(client, 2)
    await asyncio.to_thread(cam.send_chunk)
    playlist, (status, first, headers) = (await blocked)[1].decode(), await hinted
    assert playlist.count("#EXTINF") == 3 and 'URI="video/4.1.m4s"' in playlist
    assert 'TYPE=PART,URI="video/4.2.m4s"' in playlist
    assert status == 200 and headers["Toprung-Rendition"] == "64p" and "private" in headers["Cache-Control"]
    await asyncio.to_thread(cam.send_chunk)
    second, whole = await get("video/4.2.m4s"), await get("video/4.m4s")
    assert first + second[1] == whole[1] == (media / "video/64p" / segment_file(3)).read_bytes()
    assert (await get("video/4.3.m4s"))[0] == 404, "a segment has two"
    assert [event.segment for event in await logged(client, session, Decided)] == [3]
