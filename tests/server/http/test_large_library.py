"""A library of thousands of titles: what is asked of one title costs no more than in a small library."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aiohttp.test_utils import TestClient, TestServer
from serving import device_profile

from abr.core.pricing import TitleOptions
from abr.records import dumps
from server.app import create_app
from server.media import title_cache
from server.media.library import Library
from server.media.title_index import TitleIndex
from server.settings import Settings

TITLES = 300


@pytest.fixture
def large(library, tmp_path) -> Path:
    """Titles that share the files of one."""
    for number in range(TITLES):
        shutil.copytree(library / "bbb", tmp_path / f"t{number:05d}", copy_function=os.link)
    settled(tmp_path)
    return tmp_path


def settled(folder: Path) -> None:
    """As if the folder had changed long ago."""
    os.utime(folder, (1e9, 1e9))


@pytest.fixture
def settings(large) -> Settings:
    return Settings(library=str(large))


class FolderReads:
    """Counts how often this process lists or scans a folder, or opens a file; /proc is left out."""

    def __init__(self) -> None:
        self.counts = {"os.listdir": 0, "os.scandir": 0, "open": 0}
        self.is_counting = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_counting and event in self.counts and not str(arguments[0]).startswith("/proc"):
            self.counts[event] += 1

    def __enter__(self) -> dict[str, int]:
        self.counts.update(dict.fromkeys(self.counts, 0))
        self.is_counting = True
        return self.counts

    def __exit__(self, *_: object) -> None:
        self.is_counting = False


reads = FolderReads()


@pytest.mark.parametrize(
    "path",
    ["/titles/nosuch/manifest.mpd", "/titles/nosuch/video/180p/seg-00001.m4s", "/titles/t/video/180p/seg-00001.m4s"],
)
async def test_an_unknown_title_is_told_without_looking_at_the_others(client, path):
    with reads as counts:
        answers = await asyncio.gather(*(client.get(path) for _ in range(20)))
        assert {answer.status for answer in answers} == {404}
        assert counts == {"os.listdir": 0, "os.scandir": 0, "open": 0}
    assert "GET /titles" in (await answers[0].json())["detail"]


async def test_opening_a_session_of_an_unknown_title_is_as_cheap(client):
    with reads as counts:
        assert (await client.post("/sessions", json={"title": "nosuch"})).status == 404
        assert counts["os.listdir"] == counts["os.scandir"] == 0


async def test_a_listing_is_read_once_and_again_only_where_something_changed(client, large, library):
    with reads as counts:
        assert len((await (await client.get("/titles")).json())["titles"]) == TITLES
        assert counts["open"] >= TITLES
    with reads as counts:
        assert len((await (await client.get("/titles")).json())["titles"]) == TITLES
        assert counts == {"os.listdir": 0, "os.scandir": 0, "open": 0}
    shutil.copytree(library / "bbb", large / "new")
    with reads as counts:
        assert len((await (await client.get("/titles")).json())["titles"]) == TITLES + 1
        assert counts["open"] == 1


async def test_a_title_copied_slowly_into_its_folder_is_found(client, large, library):
    (large / "slow").mkdir()
    settled(large)
    assert len((await (await client.get("/titles")).json())["titles"]) == TITLES
    shutil.copy(library / "bbb" / "title.json", large / "slow")
    settled(large)
    assert len((await (await client.get("/titles")).json())["titles"]) == TITLES + 1


def test_a_title_added_at_the_very_instant_of_a_listing_is_found(library, tmp_path):
    index = TitleIndex(Library(tmp_path))
    shutil.copytree(library / "bbb", tmp_path / "one")
    changed = tmp_path.stat()
    assert len(index.page()[0]) == 1
    shutil.copytree(library / "bbb", tmp_path / "two")
    os.utime(tmp_path, ns=(changed.st_atime_ns, changed.st_mtime_ns))  # as a coarse clock would leave it
    assert [title.id for title in index.page()[0]] == ["one", "two"]


async def test_pages_hold_each_title_once(client):
    listed, url = [], "/titles?limit=70"
    while url:
        page = await (await client.get(url)).json()
        assert 0 < len(page["titles"]) <= 70
        listed += [title["id"] for title in page["titles"]]
        url = page.get("next_url")
    assert listed == [f"t{number:05d}" for number in range(TITLES)]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "99999", "", "%D9%A1"])
async def test_a_limit_that_is_none_is_refused(client, limit):
    assert (await client.get(f"/titles?limit={limit}")).status == 400


async def test_a_flood_of_listings_is_one_listing(settings, clock):
    with mock.patch.object(title_cache.TitleIndex, "page", autospec=True, side_effect=TitleIndex.page) as page:
        async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
            answers = await asyncio.gather(*(client.get("/titles") for _ in range(40)))
            assert {answer.status for answer in answers} == {200}
    assert page.call_count < 20


async def test_titles_asked_for_in_turn_are_read_once(client, large):
    """There is no number of titles from which on each request reads its title anew."""
    paths = [f"/titles/{folder.name}/video/180p/seg-00001.m4s" for folder in sorted(large.iterdir())]
    for path in paths:
        assert (await client.get(path)).status == 200
    with reads as counts:
        for path in paths:
            assert (await client.get(path)).status == 200
        assert counts["open"] == 0


def test_titles_kept_in_memory_are_bounded_in_bytes(large, clock):
    async def main() -> int:
        cache = title_cache.TitleCache(Library(large), clock, cache_bytes_max=1, cache_file_bytes_max=1)
        for folder in sorted(large.iterdir()):
            await cache.title(folder.name)
        return cache._titles.cost

    with mock.patch.object(title_cache, "TITLES_BYTES_MAX", 1 << 20):
        assert 0 < asyncio.run(main()) <= 1 << 20


async def test_a_title_is_read_and_priced_once_for_all_who_ask_at_the_same_time(library, title, clock):
    """A title of hours takes a hundred megabytes: a crowd that comes at once must not take as many times that."""
    reads = {"title": 0, "price": 0}
    read, price = Library.stored_title, TitleOptions.price

    def reading(*arguments: Any) -> Any:
        reads["title"] += 1
        return read(*arguments)

    def pricing_it(*arguments: Any, **more: Any) -> Any:
        reads["price"] += 1
        return price(*arguments, **more)

    body = dumps({"title": "bbb", "profile": device_profile(title)})
    with mock.patch.object(Library, "stored_title", reading), mock.patch.object(TitleOptions, "price", pricing_it):
        async with TestClient(TestServer(create_app(Settings(library=str(library)), clock=clock))) as client:
            opening = [
                client.post("/sessions", data=body, headers={"Content-Type": "application/json"}) for _ in range(32)
            ]
            answers = await asyncio.gather(*opening)
            assert {answer.status for answer in answers} == {201}
    assert reads == {"title": 1, "price": 1}


async def test_who_brings_no_device_profile_does_not_wait_behind_those_who_do(library, title, clock):
    price, has_begun, may_end = TitleOptions.price, threading.Event(), threading.Event()

    def pricing_it(options: Any, profile: Any, **more: Any) -> Any:
        if profile is not None:
            has_begun.set()
            may_end.wait(30)
        return price(options, profile, **more)

    with mock.patch.object(TitleOptions, "price", pricing_it):
        async with TestClient(TestServer(create_app(Settings(library=str(library)), clock=clock))) as client:
            body, kind = dumps({"title": "bbb", "profile": device_profile(title)}), {"Content-Type": "application/json"}
            waiting = asyncio.create_task(client.post("/sessions", data=body, headers=kind))
            await asyncio.to_thread(has_begun.wait, 30)
            assert (await client.post("/sessions", json={"title": "bbb"})).status == 201
            assert not waiting.done()
            may_end.set()
            assert (await waiting).status == 201
