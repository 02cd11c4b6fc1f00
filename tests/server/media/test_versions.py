"""A title that is prepared anew: caches that keep what they were told to, and viewers in the middle of the film."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import m3u8
import pytest
from aiohttp.test_utils import TestClient, TestServer
from clips import make_clip
from nginx import nginx
from prometheus import DOCKER
from serve_process import ask, served
from serving import FAST_PATH

from abr.core.title import TITLE_FILE, Title
from client_player.source.mpd import loads_mpd
from server.app import create_app
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media import kept_versions
from server.media.kept_versions import drop_outlived, kept_folder
from server.media.library import Library
from server.media.removal import remove_title
from server.settings import Settings

RECIPE = EncodeSettings(heights_px=(72, 108), preset="ultrafast", vmaf_every=25)
Prepare = Callable[[int], Title]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two cuts of a film, each a title in a library of its own."""
    libraries = []
    for cut, frames in enumerate((150, 250)):
        folder = tmp_path_factory.mktemp(f"cut{cut}")
        clip = make_clip(folder / "film.mp4", frames=frames, sound_s=frames / 25, options={"crf": str(20 + cut)})
        prepare_title(clip, Library(folder / "library"), RECIPE)
        libraries.append(folder / "library")
    return libraries


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def prepare(films: list[Path], library: Library) -> Prepare:
    """Publishes one of the cuts as the title `film`, as preparing does at its end."""

    def publish(cut: int) -> Title:
        built = library.building("film")
        shutil.copytree(films[cut] / "film", built)
        library.publish("film", built)
        return library.title("film")

    return publish


def segment_urls(url: str) -> list[str]:
    """All URLs of init and media segments that a DASH player asks for."""
    presentation = loads_mpd(ask(url)[1], url)
    tracks = [*presentation.video, *presentation.audio]
    return [address for track in tracks for address in (track.init_url, *(each.url for each in track.segments))]


def on_disk(folder: Path, url: str) -> bytes:
    return (folder / "film" / urlsplit(url).path.split("/", 4)[4]).read_bytes()


PLAIN_CACHE = """
worker_processes 1; pid /tmp/nginx.pid; events { worker_connections 64; }
http {
  access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
  uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/sc; proxy_cache_path /tmp/cache keys_zone=c:1m;
  server { listen 8080; location / {
    proxy_pass http://origin:8080; proxy_cache c; add_header Cache-Status "edge; detail=$upstream_cache_status"; } }
}
"""
"""As anybody would write it: everything may be kept, as long as the servers say, under its whole URL."""
OUR_CACHE = (DOCKER / "nginx" / "cache.conf").read_text()


@pytest.mark.parametrize("cache", [OUR_CACHE, PLAIN_CACHE], ids=["ours", "plain"])
def test_a_shared_cache_never_mixes_two_versions(cache, library, prepare, films, tmp_path):
    (tmp_path / "edge").mkdir()
    prepare(0)
    with (
        served("--library", str(library.root)) as server,
        nginx(cache.replace("origin:8080", urlsplit(server).netloc), tmp_path / "edge") as edge,
    ):
        manifest = f"{edge}titles/film/manifest.mpd"
        first = segment_urls(manifest)
        assert len(first) == 3 * 4
        for url in first:
            assert ask(url)[1] == on_disk(films[0], url)
            _, body, headers = ask(f"{url}?CMCD=bl%3D2000" if cache is OUR_CACHE else url)
            assert body == on_disk(films[0], url)
            assert "immutable" in headers["Cache-Control"] and headers["Cache-Status"] == "edge; detail=HIT"
        session = json.loads(ask(f"{edge}sessions", b'{"title": "film"}')[1])["id"]
        prepare(1)
        second = first
        while second == first:  # until the cache finds its manifest too old
            second = segment_urls(manifest)
        assert len(second) == 3 * 6 and not set(first) & set(second)
        for url in second:
            assert ask(url)[1] == on_disk(films[1], url)
        for url in first:
            assert ask(url)[1] == on_disk(films[0], url), "whoever has the old manifest gets what it lists"
        for number in (1, 2, 3):
            _, body, headers = ask(f"{edge}sessions/{session}/video/{number}.m4s")
            relative = f"video/{headers['Toprung-Rendition']}/seg-{number:05d}.m4s"
            assert body == (films[0] / "film" / relative).read_bytes()


def test_what_is_asked_for_without_a_version_is_not_kept(library, prepare, films):
    prepare(0)
    with served("--library", str(library.root)) as url:
        for relative in ("video/72p/init.mp4", "video/72p/seg-00001.m4s", "audio/audio/seg-00001.m4s"):
            _, body, headers = ask(f"{url}titles/film/{relative}")
            assert body == (films[0] / "film" / relative).read_bytes()
            assert headers["Cache-Control"] == "public, max-age=2"


def test_hls_playlists_lead_to_the_version(library, prepare, films):
    version = prepare(0).version
    with served("--library", str(library.root)) as url:
        master = f"{url}titles/film/master.m3u8"
        playlist = m3u8.loads(ask(master)[1].decode(), master)
        uris = [entry.absolute_uri for entry in (*playlist.playlists, *playlist.media)]
        assert len(uris) == 3
        for uri in uris:
            media = m3u8.loads(ask(uri)[1].decode(), uri)
            for address in (media.segment_map[0].absolute_uri, *(segment.absolute_uri for segment in media.segments)):
                assert f"/titles/film/v-{version}/" in address
                assert ask(address)[1] == on_disk(films[0], address)
        alone = f"{url}titles/film/72p.m3u8"
        media = m3u8.loads(ask(alone)[1].decode(), alone)
        assert f"/titles/film/v-{version}/video/" in media.segments[0].absolute_uri


async def test_a_session_stays_with_the_version_it_opened(library, prepare, films, clock):
    await asyncio.to_thread(prepare, 0)
    settings = Settings(library=str(library.root), fast_path=FAST_PATH)
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        opened = await (await client.post("/sessions", json={"title": "film"})).json()
        session = f"/sessions/{opened['id']}"
        began = await client.get(f"{session}/video/1.m4s")
        assert began.status == 200
        title = await asyncio.to_thread(prepare, 1)
        for number in (2, 3):
            clock.now_s += number - 2  # at once, while the server believes what it has just seen; and later
            answer = await client.get(f"{session}/video/{number}.m4s", headers={"CMCD-Request": "bl=4000"})
            relative = f"video/{answer.headers['Toprung-Rendition']}/seg-{number:05d}.m4s"
            assert await answer.read() == (films[0] / "film" / relative).read_bytes()
        assert (await client.get(f"{session}/video/4.m4s")).status == 404, "the first cut has three segments"
        for relative in ("driven.mpd", "video/108p/init.mp4", TITLE_FILE):
            url = f"{session}/title/{relative}" if relative != "driven.mpd" else f"{session}/manifest.mpd"
            assert await (await client.get(url)).read() == (films[0] / "film" / relative).read_bytes()
        manifest = urljoin(str(client.make_url("/")), opened["manifest_url"])
        presentation = loads_mpd(await (await client.get(opened["manifest_url"])).read(), manifest)
        (sound,) = presentation.audio
        for segment in sound.segments:
            path = urlsplit(segment.url).path
            assert await (await client.get(path)).read() == (films[0] / "film" / path.split("/", 4)[4]).read_bytes()
        clock.now_s += 2
        told = await (await client.get(opened["title_url"])).json()
        assert told["version"] != title.version == (await reopened(client, {}))["version"]
        again = await reopened(client, {"version": told["version"]})
        assert again["version"] == told["version"], "a session that was lost goes on in the version that it had"


async def reopened(client: TestClient, body: dict[str, str]) -> dict[str, str]:
    """The title.json of a new session."""
    opened = await (await client.post("/sessions", json={"title": "film"} | body)).json()
    return await (await client.get(opened["title_url"])).json()


async def test_a_session_whose_version_is_gone_is_told_so(library, prepare, clock):
    old = await asyncio.to_thread(prepare, 0)
    settings = Settings(library=str(library.root), fast_path=FAST_PATH)
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        session = (await client.post("/sessions", json={"title": "film"})).headers["Location"]
        await asyncio.to_thread(prepare, 1)
        await asyncio.to_thread(shutil.rmtree, kept_folder(library.root, "film", old.version))
        clock.now_s += 2
        for path in (f"{session}/video/1.m4s", f"{session}/manifest.mpd", f"{session}/title/title.json", session):
            answer = await client.get(path)
            assert (answer.status, answer.content_type) == (410, "application/problem+json"), path
            assert "prepared anew" in (await answer.json())["detail"]
        assert (await client.get(f"/titles/film/v-{old.version}/video/72p/init.mp4")).status == 410
        assert (await client.post("/sessions", json={"title": "film", "version": old.version})).status == 410
        assert (await client.post("/sessions", json={"title": "film", "version": "../etc"})).status == 400


def test_nginx_sends_replaced_versions_too(library, prepare, films, tmp_path):
    (tmp_path / "proxy").mkdir()
    (tmp_path / "server.toml").write_text("accel_location = '/library/'\n")
    prepare(0)
    with served("--library", str(library.root), "--config", str(tmp_path / "server.toml")) as server:
        configuration = (DOCKER / "nginx" / "nginx.conf").read_text().replace("server:8080", urlsplit(server).netloc)
        configuration = configuration.replace("alias /library/", f"alias {library.root}/")
        with nginx(configuration, tmp_path / "proxy") as url:
            session = json.loads(ask(f"{url}sessions", b'{"title": "film"}')[1])["id"]
            prepare(1)
            for number in (1, 2, 3):
                _, body, headers = ask(f"{url}sessions/{session}/video/{number}.m4s", CMCD_Request="bl=9000,mtp=9000")
                relative = f"video/{headers['Toprung-Rendition']}/seg-{number:05d}.m4s"
                assert body == (films[0] / "film" / relative).read_bytes() and "ETag" not in headers


def test_preparing_the_same_again_keeps_its_urls(library, prepare):
    assert prepare(0).version == prepare(0).version
    assert [entry.name for entry in library.root.iterdir()] == ["film"]
    old, new = prepare(0), prepare(1)
    assert {entry.name for entry in library.root.iterdir()} == {"film", f".replaced-film-{old.version}"}
    assert prepare(0).version == old.version
    assert {entry.name for entry in library.root.iterdir()} == {"film", f".replaced-film-{new.version}"}


def test_the_version_tells_any_change_of_media(films, tmp_path):
    clip = make_clip(tmp_path / "film.mp4", frames=50, sound_s=2)
    before = prepare_title(clip, Library(tmp_path / "library"), RECIPE, title_id="film").title
    again = prepare_title(clip, Library(tmp_path / "library"), RECIPE, title_id="film", force=True).title
    assert again.version == before.version != ""
    other = EncodeSettings(heights_px=(72, 108), preset="ultrafast", vmaf_every=25, audio_bps=64_000)
    assert prepare_title(clip, Library(tmp_path / "library"), other, force=True).title.version != before.version


def test_replaced_versions_are_kept_for_a_day_and_within_their_room(library, prepare, monkeypatch):
    old = kept_folder(library.root, "film", prepare(0).version)
    prepare(1)
    drop_outlived(library.root)
    assert old.is_dir()
    day_ago_s = old.stat().st_mtime - kept_versions.KEPT_S - 60
    os.utime(old, (day_ago_s, day_ago_s))
    drop_outlived(library.root)
    assert not old.exists()
    prepare(0)
    prepare(1)
    monkeypatch.setattr(kept_versions, "KEPT_BYTES_MAX", 1000)
    drop_outlived(library.root)
    assert [entry.name for entry in library.root.iterdir()] == ["film"]


def test_removing_a_title_removes_its_replaced_versions(library, prepare):
    prepare(0)
    prepare(1)
    remove_title(library, "film")
    assert list(library.root.iterdir()) == []


async def test_titles_of_before_there_were_versions_are_served_as_they_were(library, prepare, films, clock):
    def prepare_without_version() -> None:
        prepare(0)
        path = library.root / "film" / TITLE_FILE
        fields = json.loads(path.read_bytes())
        del fields["version"]
        path.write_text(json.dumps(fields))

    await asyncio.to_thread(prepare_without_version)
    async with TestClient(TestServer(create_app(Settings(library=str(library.root)), clock=clock))) as client:
        manifest = await (await client.get("/titles/film/manifest.mpd")).read()
        assert manifest == (library.root / "film" / "manifest.mpd").read_bytes()
        opened = await (await client.post("/sessions", json={"title": "film"})).json()
        assert opened["title_url"] == "/titles/film/title.json"
        assert (await client.get(f"/sessions/{opened['id']}/video/1.m4s")).status == 200
