"""Throughput from the rhythm of requests."""

from __future__ import annotations

import pytest
from serving import logged

from abr.core.events import Decided
from server.sessions.request_timing import last_download


def came(**over: float):
    """The download of a two-second segment of 100 kB that was asked for at 10 s with 8 s of buffer."""
    usual = {
        "requested_s": 10.0,
        "now_s": 11.0,
        "buffer_before_s": 8.0,
        "buffer_s": 9.0,
        "fullest_s": 9.0,
        "duration_s": 2.0,
        "size_bytes": 100_000,
    }
    return last_download(**(usual | over))


def test_a_player_that_wants_more_asks_as_soon_as_it_has_the_last():
    download = came()
    assert (download.started_s, download.duration_s, download.size_bytes) == (10.0, 1.0, 100_000)
    assert came(now_s=15.0, buffer_s=5.0).duration_s == 5.0, "a slow one"
    assert came(now_s=14.0, buffer_before_s=0.4, buffer_s=2.0).duration_s == 4.0, "through a stall"


def test_nothing_is_made_of_a_player_that_rests_on_a_full_buffer():
    assert came(now_s=12.0, buffer_before_s=18.0, buffer_s=18.0, fullest_s=18.0) is None
    assert came(now_s=12.1, buffer_before_s=18.0, buffer_s=17.9, fullest_s=18.1) is None
    assert came(now_s=12.0, buffer_before_s=3.0, buffer_s=3.0, fullest_s=3.0) is not None, "too little to rest on"
    assert came(now_s=12.0, buffer_before_s=9.0, buffer_s=9.0, fullest_s=18.0) is not None, "not its fullest"


def test_nothing_is_made_of_a_viewer_who_paused_of_a_clock_that_jumped_or_of_a_long_absence():
    assert came(now_s=40.0, buffer_before_s=8.0, buffer_s=10.0) is None
    assert came(now_s=9.0) is None
    assert came(now_s=10.0) is None
    assert came(now_s=500.0, buffer_s=0.0) is None


async def test_of_a_player_that_tells_its_buffer_only_the_server_takes_the_rhythm(client, opened, clock, title):
    path = await opened()
    for number, buffer_ms in ((1, 0), (2, 2_000), (3, 3_200)):
        await (await client.get(f"{path}/video/{number}.m4s", params={"CMCD": f"bl={buffer_ms}"})).read()
        clock.now_s += 0.8
    decided = await logged(client, path, Decided)
    sound = title.audio[0].segment_bytes
    sizes = [title.rendition(event.rendition).segment_bytes[event.segment] + sound[event.segment] for event in decided]
    assert decided[0].seen.downloads == ()
    assert [entry[1:] for entry in decided[2].seen.downloads] == [
        (pytest.approx(0.8, abs=1e-3), 0.0, size) for size in sizes[:2]
    ]


async def test_after_a_seek_the_rhythm_says_nothing(client, opened, clock):
    path = await opened()
    for number in (1, 3):
        await (await client.get(f"{path}/video/{number}.m4s", params={"CMCD": "bl=0"})).read()
        clock.now_s += 0.8
    assert all(event.seen.downloads == () for event in await logged(client, path, Decided))
