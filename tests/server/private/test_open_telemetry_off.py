"""Without private telemetry its paths are not there; without viewers' events only the session's end is noted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from abr.core.events import Ended, EventBatch, Stalled
from abr.records import dumps
from server.settings import Settings

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, viewer_events=False)


async def test_where_it_is_off_a_problem_says_so(client):
    answer = await client.get("/private/round")
    assert answer.status == 404
    assert (await answer.json())["detail"] == "Private telemetry is off here."


async def test_what_players_post_in_the_open_is_neither_kept_nor_counted(client):
    opened = await client.post("/sessions", data=b'{"title": "bbb"}', headers=JSON)
    session = opened.headers["Location"]
    seen = (Stalled(t_s=2.0, duration_s=7.25, segment=1), Ended(t_s=9.0, reason="finished", played_s=8.0))
    answer = await client.post(f"{session}/events", data=dumps(EventBatch(events=seen)), headers=JSON)
    assert answer.status == 204
    log = await (await client.get(f"{session}/log")).text()
    assert "stalled" not in log and "7.25" not in log and '"ended"' in log
    metrics = await (await client.get("/metrics")).text()
    assert "toprung_viewer_stall_seconds_count 0.0" in metrics
    assert "toprung_sessions_ended_total 1.0" in metrics
