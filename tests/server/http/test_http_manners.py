"""What every answer has in common: problems for errors, CORS, security headers, limits, metrics and log lines."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from abr.core.events import EventBatch
from abr.errors import FormatError
from abr.records import loads
from server.app import create_app
from server.http.problems import Problem
from server.logging_setup import JsonFormatter, LineFormatter
from server.sessions.memory_store import MemoryStore
from server.sessions.store import StoreError
from server.settings import Settings

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "how", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/titles/nope/title.json", {}, 404),
        ("GET", "/titles/bbb/nope.mpd", {}, 404),
        ("GET", "/sessions/short", {}, 404),
        ("GET", "/sessions/AAAAAAAAAAAAAAAAAAAAAA", {}, 404),
        ("PUT", "/titles", {}, 405),
        ("DELETE", "/healthz", {}, 405),
        ("PROPFIND", "/titles", {}, 405),
        ("POST", "/sessions", {"data": b"{", "headers": JSON}, 400),
        ("POST", "/sessions", {"data": b"\xff\xfe", "headers": JSON}, 400),
        ("POST", "/sessions", {"data": b"[" * 100_000, "headers": JSON}, 400),
        ("POST", "/sessions", {"data": b"x=1", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/sessions", {"data": b" " * 300_000, "headers": JSON}, 413),
        ("GET", "/titles/bbb/title.json", {"headers": {"Range": "bytes=9999999-"}}, 416),
        ("GET", "/titles/bbb/title.json", {"headers": {"If-Match": '"x"'}}, 412),
    ],
)
async def test_every_error_is_a_problem(client, method, path, how, status):
    answer = await client.request(method, path, **how)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    problem = loads(await answer.read(), Problem, what="problem")
    assert problem.status == status
    assert problem.title
    assert problem.detail
    assert answer.headers["Access-Control-Allow-Origin"] == "*", "a page must be able to read what went wrong"


async def test_405_says_what_is_allowed(client):
    assert (await client.put("/titles")).headers["Allow"] == "GET,HEAD"


async def test_a_fault_of_our_own_is_a_problem_without_its_details_and_goes_to_the_log(settings, clock, caplog):
    class Broken(MemoryStore):
        async def load(self, session_id):
            raise ZeroDivisionError("secret detail")

    store = Broken(clock, ttl_s=9, sessions_max=9, log_events_max=9, log_bytes_max=9)
    async with TestClient(TestServer(create_app(settings, store=store, clock=clock))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        answer = await client.get(path)
        assert (answer.status, answer.content_type) == (500, "application/problem+json")
        assert "secret" not in await answer.text()
    assert "secret detail" in caplog.text


async def test_when_sessions_cannot_be_reached_media_still_flows(settings, clock):
    class Away(MemoryStore):
        async def load(self, session_id):
            raise StoreError("away")

        append = put_profile = touch = load

        async def save(self, session_id, state, *, version, lines=()):
            raise StoreError("away")

    store = Away(clock, ttl_s=9, sessions_max=9, log_events_max=9, log_bytes_max=9)
    async with TestClient(TestServer(create_app(settings, store=store, clock=clock))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
        assert (await client.get(f"{path}/video/1.m4s")).status == 200
        assert (await client.get(f"{path}/manifest.mpd")).status == 200
        assert (await client.get("/titles/bbb/title.json")).status == 200
        answer = await client.post(f"{path}/events", json={"events": []})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), "events are the player's to keep"
        metrics = await (await client.get("/metrics")).text()
        assert "toprung_decisions_degraded_total 1.0" in metrics
        assert "toprung_store_failures_total 0.0" not in metrics


async def test_a_store_that_never_answers_does_not_hold_the_viewer_for_ever(library, clock):
    class Stuck(MemoryStore):
        async def load(self, session_id):
            await asyncio.Event().wait()

    store = Stuck(clock, ttl_s=9, sessions_max=9, log_events_max=9, log_bytes_max=9)
    patient = Settings(library=str(library), secret="of both")
    async with TestClient(TestServer(create_app(patient, store=store, clock=clock))) as client:
        path = (await client.post("/sessions", json={"title": "bbb"})).headers["Location"]
    impatient = replace(patient, request_timeout_s=0.05)
    async with TestClient(TestServer(create_app(impatient, store=store, clock=clock))) as client:
        answer = await client.get(path)
        assert (answer.status, answer.content_type) == (503, "application/problem+json")


@pytest.mark.parametrize("path", ["/titles/bbb/manifest.mpd", "/sessions", "/nowhere"])
async def test_preflights_are_answered_for_range_cmcd_and_authorization(client, path):
    headers = {
        "Origin": "https://player.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range,cmcd-request",
    }
    answer = await client.options(path, headers=headers)
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert "authorization" in allowed, "players send it to servers behind a gateway"
    assert {"range", "content-type", "cmcd-object", "cmcd-request", "cmcd-session", "cmcd-status"} <= allowed
    methods = {name.strip() for name in answer.headers["Access-Control-Allow-Methods"].split(",")}
    assert {"GET", "HEAD", "POST", "DELETE"} <= methods


async def test_a_page_of_another_origin_can_read_what_it_needs(client, opened):
    path = await opened()
    for answer in (await client.get("/titles/bbb/manifest.mpd"), await client.get(f"{path}/video/1.m4s")):
        exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"CMSD-Dynamic", "Content-Range", "ETag"} <= exposed
        assert {name for name in answer.headers if name.startswith("Toprung-")} <= exposed
        assert answer.headers["Timing-Allow-Origin"] == "*"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "toprung", "not which versions of what it is made of"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
tags = st.sampled_from(["started", "decided", "downloaded", "playing", "stalled", "shown", "ended", "x"])
numbers = st.one_of(st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False))
almost_events = st.lists(
    st.fixed_dictionaries(
        {"event": tags, "t_s": numbers},
        optional={
            "duration_s": numbers,
            "segment": numbers,
            "startup_s": numbers,
            "reason": st.text(max_size=2000),
            "played_s": numbers,
        },
    ),
    max_size=5,
).map(lambda events: {"events": events})


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(json_values.map(json.dumps), almost_events.map(json.dumps), st.text(max_size=50)))
async def test_events_are_taken_whole_or_refused_whole(client, opened, body):
    path = await opened()
    answer = await client.post(f"{path}/events", data=body.encode(), headers=JSON)
    log = await (await client.get(f"{path}/log")).read()
    try:
        loads(body.encode(), EventBatch, what="batch")
    except FormatError:
        assert (answer.status, log) == (400, b"")
    else:
        assert answer.status == 204


async def test_openapi_describes_every_route_and_is_valid(client):
    document = await (await client.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    routes = {
        (route.method, route.resource.canonical)
        for route in client.app.router.routes()
        if route.method != "HEAD" and route.resource
    }
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == routes
    opening = document["paths"]["/sessions"]["post"]
    assert opening["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/SessionRequest"
    }
    assert "DeviceProfile" in document["components"]["schemas"]


async def test_metrics_parse_and_keep_to_the_conventions(client, opened):
    path = await opened()
    await client.get(f"{path}/video/1.m4s")
    await client.request("PROPFIND", "/" + "x" * 100)
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    assert families["toprung_build_info"].samples[0].labels["version"]
    for family in families.values():
        assert family.name.startswith("toprung_")
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert path.rpartition("/")[2] not in str(sample.labels), "a session id is no label"
    methods = {sample.labels["method"] for sample in families["toprung_http_requests"].samples}
    assert methods <= {"GET", "POST", "other"}
    sent = {s.labels["route"]: s.value for s in families["toprung_http_response_bytes"].samples}
    segment = await (await client.get(f"{path}/video/1.m4s")).read()
    assert sent["getSessionSegment"] == len(segment)


async def test_two_apps_in_one_process_share_nothing(settings, clock):
    async with (
        TestClient(TestServer(create_app(settings, clock=clock))) as one,
        TestClient(TestServer(create_app(settings, clock=clock))) as other,
    ):
        path = (await one.post("/sessions", json={"title": "bbb"})).headers["Location"]
        assert (await other.get(path)).status == 404
        assert 'toprung_sessions_started_total{controller="toprung"}' not in await (await other.get("/metrics")).text()


async def test_log_lines_name_the_route_and_never_the_whole_session_id(client, opened, caplog):
    path = await opened()
    with caplog.at_level(logging.INFO, logger="toprung"):
        await client.get(f"{path}/video/1.m4s", params={"CMCD": "bl=100", "token": "s3cret"})
    record = next(record for record in caplog.records if record.name == "toprung.access")
    line, parsed = LineFormatter().format(record), json.loads(JsonFormatter().format(record))
    assert "route=getSessionSegment" in line
    assert "status=200" in line
    assert (parsed["route"], parsed["status"], parsed["level"]) == ("getSessionSegment", 200, "info")
    for text in (line, json.dumps(parsed)):
        assert "\n" not in text
        assert path.rpartition("/")[2] not in text
        assert "s3cret" not in text
