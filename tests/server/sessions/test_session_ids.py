"""Session ids: signed, unguessable, and enough to go on with."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from serving import device_profile

from abr.controllers import CONTROLLERS
from abr.core.enhancement import Family
from abr.records import dumps
from server.app import create_app
from server.sessions.session_ids import SessionIds, store_key
from server.sessions.state import SessionState

STATE = SessionState(
    title="bbb", controller="toprung", families=tuple(Family), profile=b"p" * 16, buffer_max_s=60.0, created_s=1.7e9
)


def test_an_id_tells_its_beginnings_to_who_knows_the_secret_and_to_nobody_else():
    one, same, other = SessionIds("a"), SessionIds("a"), SessionIds("b")
    session_id = one.issue(STATE)
    assert same.read(session_id).state() == STATE
    assert other.read(session_id) is None
    assert SessionIds().read(session_id) is None, "without a secret it is random"


def test_an_id_tells_the_codec_and_the_arm_of_an_experiment_and_stays_short_with_the_longest_names():
    ids = SessionIds("a")
    longest = max(map(len, CONTROLLERS))
    state = msgspec.structs.replace(
        STATE, title="t" * 64, controller="c" * longest, arm="a" * 16, visit=b"v" * 8, codec="h264"
    )
    session_id = ids.issue(state)
    assert len(session_id) <= 264
    assert (ids.read(session_id).arm, ids.read(session_id).codec) == ("a" * 16, "h264")


def test_ids_are_different_short_and_safe_in_urls():
    seal = SessionIds("a")
    ids = {seal.issue(STATE) for _ in range(500)}
    assert len({store_key(each) for each in ids}) == 500
    assert all(len(each) <= 256 and each.replace("-", "a").replace("_", "a").isalnum() for each in ids)


@given(st.data())
def test_an_id_changed_anywhere_is_no_id(data):
    seal = SessionIds("a")
    session_id = seal.issue(STATE)
    at = data.draw(st.integers(0, len(session_id) - 2))  # the last character has bits that say nothing
    put = data.draw(st.sampled_from("ABCxyz019-_"))
    forged = session_id[:at] + put + session_id[at + 1 :]
    assert (seal.read(forged) is None) == (forged != session_id)


@given(st.text(max_size=300))
def test_no_text_is_an_id_by_chance(text):
    assert SessionIds("a").read(text) is None


@pytest.mark.parametrize("kind", ["forged", "other server", "ended"])
async def test_forged_foreign_and_replayed_ids_are_unknown_everywhere(settings, clock, kind, title):
    async with (
        TestClient(TestServer(create_app(settings, clock=clock))) as client,
        TestClient(TestServer(create_app(settings, clock=clock))) as other,
    ):
        opener = other if kind == "other server" else client
        path = (await opener.post("/sessions", json={"title": "bbb"})).headers["Location"]
        if kind == "forged":
            path = path[:-5] + ("A" if path[-5] != "A" else "B") + path[-4:]
        if kind == "ended":
            assert (await client.get(f"{path}/video/1.m4s")).status == 200
            assert (await client.delete(path)).status == 204
        for tail in ("", "/video/1.m4s", "/video/init.mp4", "/manifest.mpd", "/log"):
            answer = await client.get(path + tail)
            assert (answer.status, answer.content_type) == (404, "application/problem+json"), tail
        assert (await client.post(f"{path}/events", json={"events": []})).status == 404
        assert (await client.delete(path)).status == 404


async def test_with_a_secret_sessions_go_on_after_a_restart_without_a_store(settings, clock, title):
    settings = replace(settings, secret="the operator's")
    body, headers = dumps({"title": "bbb", "profile": device_profile(title)}), {"Content-Type": "application/json"}
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        path = (await client.post("/sessions", data=body, headers=headers)).headers["Location"]
        assert (await client.get(f"{path}/video/1.m4s")).status == 200
    clock.now_s += 5
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        assert (await client.get(f"{path}/video/2.m4s")).status == 200
        assert (await client.post(f"{path}/events", json={"events": []})).status == 204
        assert [each["segment"] for each in (await (await client.get(path)).json())["choices"]] == [1]
    clock.now_s += 100_000
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        assert (await client.get(f"{path}/video/2.m4s")).status == 404, "not for ever"
