"""CMCD version 2: requests with lists, and events that tell how segments came."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient
from serving import logged

from abr.core.events import Decided, Downloaded

TYPE = {"Content-Type": "application/cmcd"}


async def post(client: TestClient, path: str, *lines: str, headers: dict[str, str] = TYPE) -> int:
    answer = await client.post(f"{path}/cmcd", data="\n".join(lines) + "\n", headers=headers)
    return answer.status


def report(path: str, number: int, first_ms: int, last_ms: int) -> str:
    url = f"http://127.0.0.1:8080{path}/video/{number}.m4s?x=1"
    return f'bl=(4000;v),e=rr,rc=200,sn={number},ts=1700000000123,ttfb={first_ms},ttlb={last_ms},url="{url}",v=2'


async def test_a_reported_delivery_is_logged_and_believed_rather_than_mtp(client, opened, clock, title):
    path = await opened()
    await (await client.get(f"{path}/video/1.m4s")).read()
    clock.now_s += 3.0
    assert await post(client, path, report(path, 1, 120, 2500)) == 204
    await (await client.get(f"{path}/video/2.m4s", params={"CMCD": "bl=(4000),mtp=(9000),v=2"})).read()
    (delivered,) = await logged(client, path, Downloaded)
    first, second = await logged(client, path, Decided)
    size_bytes = title.rendition(first.rendition).segment_bytes[0]
    assert (delivered.segment, delivered.name, delivered.size_bytes) == (0, first.rendition, size_bytes)
    assert (delivered.latency_s, delivered.duration_s) == (0.12, 2.5)
    assert second.seen.downloads == ((pytest.approx(0.5, abs=1e-3), 2.5, 0.12, size_bytes),)
    assert second.seen.buffer_s == 4.0


async def test_a_report_counts_below_the_path_of_a_proxy(client, opened):
    path = await opened()
    await (await client.get(f"{path}/video/1.m4s")).read()
    assert await post(client, path, report(f"/video/a{path}", 1, 120, 2500)) == 204
    assert len(await logged(client, path, Downloaded)) == 1


async def test_who_chooses_for_itself_is_believed_about_what_it_chose(client, opened, title):
    path = await opened()
    file = "title/video/720p/seg-00001.m4s"
    await (await client.get(f"{path}/{file}")).read()
    line = report(path, 1, 120, 2500).replace("video/1.m4s", file)
    assert await post(client, path, line, line.replace("720p", "nothing")) == 204
    (delivered,) = await logged(client, path, Downloaded)
    assert (delivered.segment, delivered.name) == (0, "720p")
    assert delivered.size_bytes == title.rendition("720p").segment_bytes[0]


async def test_reports_of_other_sessions_of_undecided_segments_and_other_events_change_nothing(client, opened):
    path, other = await opened(), await opened()
    await (await client.get(f"{path}/video/1.m4s")).read()
    lines = [report(other, 1, 10, 100), report(path, 2, 10, 100), report(path, 99_999_999, 10, 100), "e=ps,sta=p,v=2"]
    failed = report(path, 1, 10, 100).replace("rc=200", "rc=404")
    assert await post(client, path, *lines, failed) == 204
    assert await logged(client, path, Downloaded) == []


async def test_malformed_lines_are_counted_and_the_others_taken(client, opened):
    path = await opened()
    await (await client.get(f"{path}/video/1.m4s")).read()
    assert await post(client, path, "e=rr,,", report(path, 1, 10, 100), "\x00\xff", "ttlb=-5") == 204
    assert len(await logged(client, path, Downloaded)) == 1
    assert "toprung_cmcd_faults_total 3.0" in await (await client.get("/metrics")).text()


async def test_what_is_no_cmcd_or_too_much_of_it_is_refused(client, opened):
    path = await opened()
    assert await post(client, path, "{}", headers={"Content-Type": "application/json"}) == 415
    assert await post(client, path, *["e=ps"] * 300) == 400
    assert await post(client, "/sessions/aaaaaaaaaaaaaaaaaaaaaa", "e=ps") == 404


async def test_a_starting_player_is_not_playing(client, opened):
    path = await opened()
    await (await client.get(f"{path}/video/1.m4s")).read()
    await (await client.get(f"{path}/video/2.m4s", params={"CMCD": "bl=(2000),sta=s,v=2"})).read()
    await (await client.get(f"{path}/video/3.m4s", params={"CMCD": "bl=(4000),sta=p,v=2"})).read()
    assert [event.seen.playing for event in await logged(client, path, Decided)] == [False, False, True]
