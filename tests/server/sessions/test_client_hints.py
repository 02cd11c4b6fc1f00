"""What the server makes of viewers who tell much, little, nothing or nonsense."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import logged

from abr.core.control import Download
from abr.core.events import Decided, ObservationRecord
from abr.protocols import cmcd
from abr.protocols.cmcd import ViewerState, from_viewer
from abr.protocols.structured_fields import Token


async def seen_after(client: TestClient, path: str, number: int, **how: object) -> ObservationRecord:
    """Ask for a segment and return what the server then believed of the viewer."""
    answer = await client.get(f"{path}/video/{number}.m4s", **how)
    assert answer.status == 200
    await answer.read()
    return (await logged(client, path, Decided))[-1].seen


async def test_our_own_keys_are_believed_to_the_millisecond(client, opened):
    path = await opened(buffer_max_s=20.0)
    download = Download(started_s=1.0, duration_s=0.75, latency_s=0.125, size_bytes=54_321)
    viewer = ViewerState(buffer_s=3.217, backlog_s=0.041, now_s=7.5, playing=False, download=download)
    seen = await seen_after(client, path, 1, headers=cmcd.to_headers(from_viewer(viewer)))
    assert seen == ObservationRecord(
        buffer_s=3.217,
        buffer_max_s=20.0,
        backlog_s=0.041,
        playing=False,
        downloads=((1.0, 0.75, 0.125, 54_321),),
    )


async def test_the_query_says_the_same_as_headers(client, opened):
    keys = {"bl": 4_300, "mtp": 2_500, "com.toprung-q": 120}
    one, other = await opened(), await opened()
    by_header = await seen_after(client, one, 1, headers=cmcd.to_headers(keys))
    by_query = await seen_after(client, other, 1, params={"CMCD": cmcd.dumps(keys)})
    assert by_query == by_header
    assert by_query.backlog_s == 0.12


async def test_a_stock_player_is_believed_about_buffer_and_throughput(client, opened, clock):
    path = await opened()
    headers = cmcd.to_headers({"bl": 8_200, "mtp": 3_100, "ot": Token("v"), "su": False})
    clock.now_s += 10
    seen = await seen_after(client, path, 1, headers=headers)
    assert seen.buffer_s == 8.2
    ((_, duration_s, _, size_bytes),) = seen.downloads
    assert size_bytes * 8 / duration_s == 3_100_000, "already derated by the player, so taken as it is"


async def test_of_a_viewer_who_tells_nothing_the_buffer_is_what_was_sent_less_what_was_played(client, opened, clock):
    path = await opened()
    first = await seen_after(client, path, 1)
    assert (first.buffer_s, first.playing, first.downloads) == (0.0, False, ())
    clock.now_s += 0.5
    second = await seen_after(client, path, 2)
    assert (second.buffer_s, second.playing) == (pytest.approx(1.5, abs=0.01), True)
    clock.now_s += 0.5
    third = await seen_after(client, path, 3)
    assert third.buffer_s == pytest.approx(3.0, abs=0.01)


async def test_a_silent_viewers_buffer_never_falls_below_nothing(client, opened, clock):
    path = await opened()
    await seen_after(client, path, 1)
    clock.now_s += 500
    assert (await seen_after(client, path, 2)).buffer_s == 0.0


async def test_a_silent_viewers_throughput_is_timed_by_the_server(client, opened, title):
    path = await opened()
    await seen_after(client, path, 1)
    seen = await seen_after(client, path, 2)
    sizes = [size for _, _, _, size in seen.downloads]
    assert sizes and sizes[0] in [rendition.segment_bytes[0] for rendition in title.renditions]
    assert all(duration_s > 0 for _, duration_s, _, _ in seen.downloads)


async def test_our_own_players_are_not_second_guessed_by_the_servers_timing(client, opened):
    """Their network may be shaped behind the socket, where the server cannot see it."""
    path = await opened()
    first = cmcd.to_headers(from_viewer(ViewerState(now_s=0.1, buffer_s=0.0, playing=False)))
    await seen_after(client, path, 1, headers=first)
    download = Download(started_s=0.1, duration_s=4.0, latency_s=0.1, size_bytes=60_000)
    later = cmcd.to_headers(from_viewer(ViewerState(now_s=4.2, buffer_s=2.0, playing=True, download=download)))
    assert (await seen_after(client, path, 2, headers=later)).downloads == ((0.1, 4.0, 0.1, 60_000),)


async def test_a_clock_that_jumps_back_is_survived(client, opened, clock):
    path = await opened()
    await seen_after(client, path, 1)
    clock.now_s -= 3_000
    seen = await seen_after(client, path, 2)
    assert seen.buffer_s <= 2.0
    assert all(event.t_s >= 0 for event in await logged(client, path, Decided))


async def test_times_beyond_all_reason_are_cut_to_what_the_log_can_hold(client, opened):
    path = await opened()
    far_ms = 10**12
    keys = {"com.toprung-b": far_ms, "com.toprung-q": far_ms, "com.toprung-t": far_ms, "bl": far_ms}
    seen = await seen_after(client, path, 1, headers=cmcd.to_headers(keys))
    assert (seen.buffer_s, seen.backlog_s) == (1e6, 1e6)
    path = await opened()
    assert (await seen_after(client, path, 1, headers=cmcd.to_headers({"bl": far_ms}))).buffer_s == 1e6


@pytest.mark.parametrize(
    "headers",
    [
        {"CMCD-Request": "bl=abc"},
        {"CMCD-Request": "bl=-5"},
        {"CMCD-Request": "bl=1,bl=2"},
        {"CMCD-Session": 'sid="unfinished'},
        {"CMCD-Request": "com.toprung-b=99999999999999999999"},
        {"CMCD-Request": 'com.toprung-d="1/2"'},
        {"CMCD-Request": ",".join(f"com.example-{i}=1" for i in range(100))},
        {"CMCD-Request": "=" * 5_000},
    ],
)
async def test_malformed_cmcd_is_left_aside_whole_counted_and_costs_the_viewer_nothing(client, opened, headers):
    path = await opened()
    seen = await seen_after(client, path, 1, headers=headers | {"CMCD-Status": "bs"})
    assert (seen.buffer_s, seen.downloads) == (0.0, ())
    assert "toprung_cmcd_faults_total 1.0" in await (await client.get("/metrics")).text()


printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
keys = st.sampled_from(["bl", "mtp", "su", "bs", "ot", "nor", *(f"com.toprung-{letter}" for letter in "bqdtpwx")])
values = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    printable,
    st.tuples(st.integers(), st.integers(), st.integers()).map(lambda t: '"' + "/".join(map(str, t)) + '"'),
    st.text("0123456789abcdef,", max_size=80).map(lambda text: f'"{text}"'),
)
almost_cmcd = st.lists(st.tuples(keys, values).map("=".join), max_size=8).map(",".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.one_of(printable, almost_cmcd), query=st.one_of(st.none(), printable, almost_cmcd))
async def test_whatever_cmcd_says_media_flows_and_the_log_stays_readable(client, opened, header, query):
    path = await opened()
    params = {} if query is None else {"CMCD": query}
    answers = await asyncio.gather(
        *(client.get(f"{path}/video/{n}.m4s", headers={"CMCD-Request": header}, params=params) for n in (1, 2, 3))
    )
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert len(await logged(client, path, Decided)) == 3, "loads_log checks every bound"
