"""A server that decides, and leads viewers to a CDN for the bytes."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import m3u8
import pytest
from aiohttp import ClientSession
from mpegdash.parser import MPEGDASHParser

from abr.errors import InputError
from server.app import create_app
from server.connection import listener
from server.settings import Settings

BASE = "https://cdn.example.com/films"
TELLS = {"CMCD-Request": "bl=4000,mtp=900"}


@pytest.fixture
def settings(library) -> Settings:
    return Settings(library=str(library), media_base=BASE, shutdown_timeout_s=0.1)


@asynccontextmanager
async def talking_to(settings: Settings, clock) -> AsyncIterator[ClientSession]:
    """A client of a server on a real socket, as the fast path needs it."""
    app = create_app(settings, clock=clock)
    async with (
        listener.listening(app, "127.0.0.1", 0) as port,
        ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


@pytest.fixture(params=[True, False], ids=["fast path", "aiohttp"])
async def client(request, settings, clock) -> AsyncIterator[ClientSession]:
    async with talking_to(replace(settings, fast_path=request.param), clock) as client:
        yield client


async def opened(client: ClientSession, title_id: str = "bbb") -> str:
    """The path of a new session."""
    return (await client.post("/sessions", json={"title": title_id})).headers["Location"]


async def test_a_decided_segment_is_a_redirect_to_the_url_that_all_viewers_share(client, title):
    answers = [
        await client.get(f"{await opened(client)}/video/1.m4s", headers=TELLS, allow_redirects=False) for _ in range(2)
    ]
    for answer in answers:
        assert (answer.status, await answer.read()) == (307, b"")
        rendition = answer.headers["Toprung-Rendition"]
        assert answer.headers["Location"] == f"{BASE}/bbb/v-{title.version}/video/{rendition}/seg-00001.m4s"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Referrer-Policy"] == "no-referrer", "the CDN does not hear whose session it is"
        assert len(b"\r\n".join(b": ".join(line) for line in answer.raw_headers)) < 600
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    here = await client.get(answers[0].headers["Location"].replace(BASE, "/titles"))
    assert here.status == 200 and "immutable" in here.headers["Cache-Control"]


async def test_who_chooses_for_himself_is_led_there_too(client, title):
    path = f"{await opened(client)}/title/video/180p/seg-00001.m4s"
    answer = await client.get(path, headers=TELLS, allow_redirects=False)
    assert answer.status == 307
    assert answer.headers["Location"] == f"{BASE}/bbb/v-{title.version}/video/180p/seg-00001.m4s"
    assert "mb=" in answer.headers["CMSD-Dynamic"]


async def test_of_who_tells_nothing_only_our_own_sends_tell(client, library):
    """So the bytes come from here."""
    answer = await client.get(f"{await opened(client)}/video/1.m4s", allow_redirects=False)
    rendition = answer.headers["Toprung-Rendition"]
    assert answer.status == 200
    assert await answer.read() == (library / f"bbb/video/{rendition}/seg-00001.m4s").read_bytes()


async def test_who_accepts_json_only_hears_the_decision(client, title):
    path = f"{await opened(client)}/video/2.m4s"
    answer = await client.get(path, headers=TELLS | {"Accept": "application/json"})
    told = await answer.json()
    rendition = title.rendition(told["rendition"])
    assert answer.status == 200
    assert told["url"] == f"{BASE}/bbb/v-{title.version}/video/{rendition.id}/seg-00002.m4s"
    assert told["size_bytes"] == rendition.segment_bytes[1]
    assert (told["rendition"], told["enhancer"]) == (
        answer.headers["Toprung-Rendition"],
        answer.headers["Toprung-Enhancer"],
    )
    anything = await client.get(path, headers={"Accept": "application/json, text/plain, */*"})
    assert anything.content_type == "video/iso.segment", "whoever takes other things as well gets the segment"


async def test_without_a_cdn_the_decision_tells_where_the_bytes_are_here(library, clock, settings):
    async with talking_to(replace(settings, media_base=""), clock) as client:
        session = await opened(client, "bbb")
        told = await (await client.get(f"{session}/video/1.m4s", headers={"Accept": "application/json"})).json()
        body = await (await client.get(told["url"])).read()
        assert told["url"].startswith("/titles/bbb/v-") and len(body) == told["size_bytes"]
        bytes_here = await client.get(f"{session}/video/1.m4s", headers=TELLS, allow_redirects=False)
        assert (bytes_here.status, await bytes_here.read()) == (200, body)


async def test_sound_and_weights_come_from_there_the_rest_from_here(client, title):
    session = await opened(client)
    there = f"{BASE}/bbb/v-{title.version}/"
    mpd = MPEGDASHParser.parse(await (await client.get(f"{session}/manifest.mpd")).text())
    video, sound, *_more = mpd.periods[0].adaptation_sets
    assert [base.base_url_value for base in sound.base_urls or []] == [there]
    assert not video.base_urls and video.segment_templates[0].media == "video/$Number$.m4s"
    variants = m3u8.loads(await (await client.get(f"{session}/master.m3u8")).text())
    assert [media.uri for media in variants.media] == [f"{there}audio.m3u8", f"{there}audio-5.1.m3u8"]
    opened_again = await (await client.post("/sessions", json={"title": "bbb"})).json()
    assert opened_again["title_url"] == f"{there}title.json"
    assert opened_again["manifest_url"].startswith("/sessions/")


async def test_a_cdn_has_a_title_by_the_name_of_its_folder(library, tmp_path, clock, settings, title):
    shutil.copytree(library / "bbb", tmp_path / "other")
    async with talking_to(replace(settings, library=str(tmp_path)), clock) as client:
        session = await opened(client, "other")
        there = f"{BASE}/other/v-{title.version}/"
        assert there in await (await client.get(f"{session}/manifest.mpd")).text()
        answer = await client.get(f"{session}/video/1.m4s", headers=TELLS, allow_redirects=False)
        assert answer.headers["Location"].startswith(there)


async def test_the_page_may_fetch_from_there_and_nowhere_else(client):
    policy = (await client.get("/", headers={"Accept": "text/html"})).headers["Content-Security-Policy"]
    assert re.search(r"connect-src ([^;]+);", policy)[1] == "'self' https://cdn.example.com"


@pytest.mark.parametrize("wrong", ["cdn.example.com", "ftp://a/b", "https://a/b?c", "https://a b", "https://a/../b"])
def test_what_is_no_url_of_a_cdn_is_refused(wrong):
    with pytest.raises(InputError, match="media_base"):
        Settings(media_base=wrong)
