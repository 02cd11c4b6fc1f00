"""Nodes that share a site: real processes, a real Redis that is killed in the middle, and viewers at all of them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import redis
from edge_nodes import Answer, fetch
from edge_process import edge_process
from film import film_library, film_version, measured_device, small_film_library
from redis_server import redis_in, running_redis
from serve_process import ask, counted, served
from waiting import wait_until

from abr.core.title import TITLE_FILE, load_title
from abr.virtual_time import SessionClock
from client_player.edge.cache.cached_file import Label, pack
from client_player.edge.site import redis_site
from client_player.edge.site.peer_files import PeerFiles, url_for_peers
from client_player.edge.site.redis_site import RedisSite
from client_player.edge.site.site import made_once
from client_player.transport.http import HttpTransport, http_pool

VIEWERS = 40
ROUNDS_MAX = 10


def library_of(folder: Path, *titles: str) -> Path:
    """The film under several names."""
    library = small_film_library(folder)
    for title in titles:
        shutil.copytree(library / "film", library / title)
        for name in (TITLE_FILE, "enhancements.json"):
            told = json.loads((library / title / name).read_text())
            told["id" if name == TITLE_FILE else "title"] = title
            (library / title / name).write_text(json.dumps(told))
    return library


async def watch_all(urls: Sequence[str], library: Path, title: str, *segments: int) -> dict[int, set[bytes]]:
    """All viewers, spread over the nodes, ask at once for these, until all are lifted: bodies of each."""
    version = film_version(library)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as pool:

        async def ask(viewer: int, segment: int) -> Answer:
            url = f"{urls[viewer % len(urls)]}titles/{title}/v-{version}/edge/{segment}.m4s"
            return await fetch(pool, url, User_Agent=f"viewer {viewer}")

        for _ in range(ROUNDS_MAX):
            asked = [(viewer, segment) for viewer in range(VIEWERS) for segment in segments]
            answers = await asyncio.gather(*(ask(*each) for each in asked))
            assert {answer.status for answer in answers} == {200}
            if all(answer.headers["Toprung-Enhancer"] == "generic-low" for answer in answers):
                seen: dict[int, set[bytes]] = {segment: set() for segment in segments}
                for (_, segment), answer in zip(asked, answers, strict=True):
                    seen[segment].add(answer.body)
                return seen
            await asyncio.to_thread(wait_until, lambda: not total(urls, "toprung_edge_lift_queue_length"), "the lifts")
    raise AssertionError(f"{title} was not lifted when {VIEWERS} viewers had asked {ROUNDS_MAX} times")


def total(urls: Sequence[str], metric: str) -> float:
    return sum(counted(url, metric) for url in urls)


def wait_for_site(urls: Sequence[str], up: int) -> None:
    wait_until(lambda: total(urls, "toprung_edge_site_up") == up * len(urls), f"site_up of {up}")


def test_two_nodes_lift_each_segment_once_and_each_for_itself_while_redis_is_gone(tmp_path: Path) -> None:
    library = library_of(tmp_path, "other", "third")
    folders = [tmp_path / name for name in ("bow", "stern")]
    for folder in folders:
        measured_device(folder / "cache", times=0.05)
    lifted = 'toprung_edge_lifts_total{outcome="lifted"}'
    with served("--library", str(library)) as origin, redis_in(tmp_path) as (redis_url, process):
        options = ("--redis-url", redis_url)
        with (
            edge_process(origin, folders[0], *options, log_level="warning") as (bow, _),
            edge_process(origin, folders[1], *options, log_level="warning") as (stern, _),
        ):
            urls = [bow, stern]
            seen = asyncio.run(watch_all(urls, library, "film", 2, 3))
            assert [len(bodies) for bodies in seen.values()] == [1, 1], "all saw the same"
            assert total(urls, lifted) == 2
            folder = library / "film" / "video" / "180p"
            once = sum((folder / name).stat().st_size for name in ("init.mp4", "seg-00002.m4s", "seg-00003.m4s"))
            assert total(urls, 'toprung_edge_backhaul_bytes_total{kind="video"}') == once
            assert total(urls, "toprung_edge_peer_bytes_total") > 0

            process.kill()
            process.wait()
            asyncio.run(watch_all(urls, library, "other", 3))
            assert total(urls, lifted) == 2 + 2, "each lifts for itself"
            wait_for_site(urls, 0)
            for folder in folders:
                assert "works for itself" in (folder / "log").read_text()

            with redis_in(tmp_path):
                wait_for_site(urls, 1)
                asyncio.run(watch_all(urls, library, "third", 3))
                assert total(urls, lifted) == 2 + 2 + 1, "shared again"


def forget_node(redis_url: str, url: str) -> None:
    """As if the node had not been heard of for longer than a node may be silent."""
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("toprung:edge:node:*"):
            if client.get(key) == url.encode():
                client.delete(key)


def test_when_a_node_dies_in_the_middle_of_a_lift_the_other_sends_the_film_and_lifts_it(tmp_path: Path) -> None:
    library = film_library(tmp_path)
    version = film_version(library)
    folders = [tmp_path / name for name in ("bow", "stern")]
    for folder in folders:
        measured_device(folder / "cache", times=0.05)
    with served("--library", str(library)) as origin, redis_in(tmp_path) as (redis_url, _):
        options = ("--redis-url", redis_url)
        with (
            edge_process(origin, folders[0], *options) as (bow, dying),
            edge_process(origin, folders[1], *options) as (stern, _),
        ):
            segments = range(1, len(load_title(library / "film").segment_duration_s) + 1)
            for number in segments:
                ask(f"{bow}titles/film/v-{version}/edge/{number}.m4s", User_Agent="tv")
                if counted(bow, "toprung_edge_lift_queue_length"):
                    break
            else:
                pytest.fail("no lift was under way")
            dying.kill()
            dying.wait()
            urls = [f"{stern}titles/film/v-{version}/edge/{number}.m4s" for number in segments]
            for status, body, headers in (ask(url, User_Agent="tv") for url in urls):
                assert status == 200 and len(body) == int(headers["Content-Length"]) and body[4:8] == b"styp"

            forget_node(redis_url, bow)

            def all_lifted() -> bool:
                return all(ask(url, User_Agent="tv")[2]["Toprung-Enhancer"] == "generic-low" for url in urls)

            wait_until(all_lifted, "what the dead node had begun")


KEY = "film/v-0123456789abcdef/edge/seg-00001.m4s"


@asynccontextmanager
async def site_of(redis_url: str, files: dict[str, bytes]) -> AsyncIterator[RedisSite]:
    """A node of a site that has these files as a real HTTP server."""
    from aiohttp import web

    async def send(request: web.Request) -> web.Response:
        body = files.get(request.match_info["key"])
        return web.Response(body=body) if body is not None else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/site/files/{key:.+}", send)
    runner = web.AppRunner(app)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        listening = web.TCPSite(runner, "127.0.0.1", 0)
        await listening.start()
        pool = await stack.enter_async_context(http_pool())
        site = RedisSite(redis_url, PeerFiles(HttpTransport(pool, SessionClock()), lambda _bytes: None))
        await stack.enter_async_context(site.joined(f"http://127.0.0.1:{listening.port}/", list))
        yield site


async def test_who_waits_for_another_gets_what_it_made() -> None:
    files: dict[str, bytes] = {}
    with running_redis() as url:
        async with site_of(url, files) as maker, site_of(url, {}) as other:
            assert await maker.claim(KEY) and not await other.claim(KEY)
            waiting = asyncio.create_task(made_once(other, KEY).__aenter__())
            await asyncio.sleep(0)
            files[KEY] = pack(Label(key=KEY, worth=1.0), b"lifted")
            await maker.release(KEY, is_here=True)
            assert await waiting == b"lifted"
            assert not await other.claim(KEY), "it is there"
            files[KEY] = files[KEY][:-1] + b"!"
            assert await other.find(KEY) is None, "damaged on the way"
            assert await other.claim(KEY), "so it is made anew"


async def test_a_lease_dies_with_its_node() -> None:
    with running_redis() as url, redis.Redis.from_url(url) as direct:
        async with site_of(url, {}) as site:
            direct.set("toprung:edge:node:killed", "http://localhost:1/", px=200)
            direct.set(f"toprung:edge:lease:{KEY}", "killed")
            direct.sadd(f"toprung:edge:holders:{KEY}", "killed")
            assert not await site.claim(KEY)
            await site.until_released(KEY)
            assert await site.find(KEY) is None and await site.claim(KEY)


async def test_a_lease_lives_as_long_as_its_node_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_site, "LIFE_S", 0.2)
    monkeypatch.setattr(redis_site, "HEARTBEAT_S", 0.05)
    with running_redis() as url:
        async with site_of(url, {}) as maker, site_of(url, {}) as other:
            assert await maker.claim(KEY)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await other.until_released(KEY)


async def test_the_first_decision_is_the_sites() -> None:
    with running_redis() as url:
        async with site_of(url, {}) as first, site_of(url, {}) as second:
            assert await second.decided(KEY) is None
            assert await first.agree(KEY, b"180p") == b"180p"
            assert await second.agree(KEY, b"360p") == b"180p"
            await second.revise(KEY, b"180p, lifted")
            assert await first.decided(KEY) == b"180p, lifted"


def test_a_node_that_listens_everywhere_tells_others_an_address_that_leads_to_it() -> None:
    assert url_for_peers("http://10.0.0.7:8090/", "redis://localhost") == "http://10.0.0.7:8090/"
    assert url_for_peers("http://0.0.0.0:8090/", "redis://127.0.0.1:1/0") == "http://127.0.0.1:8090/"
    assert url_for_peers("http://[::]:8090/", "unix:///run/redis.sock") == "http://127.0.0.1:8090/"
