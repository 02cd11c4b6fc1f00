"""Files of titles over HTTP, as any player or cache may ask for them."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import m3u8
import pytest
from aiohttp.test_utils import TestClient, TestServer
from mpegdash.parser import MPEGDASHParser
from serving import CHUNK, CHUNK_FILE

from server.app import create_app
from server.settings import Settings

SEGMENT = "video/180p/seg-00001.m4s"


def on_disk(library: Path, relative: str) -> bytes:
    return (library / "bbb" / relative).read_bytes()


@pytest.fixture(params=["from memory", "by sendfile"])
def settings(request, library) -> Settings:
    """Every behaviour holds for small files, which are cached, and for large ones, which are not."""
    return Settings(library=str(library), cache_file_bytes_max=256 << 10 if request.param == "from memory" else 1)


async def test_titles_are_listed_with_where_to_find_them(client):
    listed = await (await client.get("/titles")).json()
    assert listed == {
        "titles": [
            {
                "id": "bbb",
                "duration_s": 5.28,
                "manifest_url": "/titles/bbb/manifest.mpd",
                "hls_url": "/titles/bbb/master.m3u8",
            }
        ]
    }


async def test_every_file_of_a_title_arrives_as_it_is(client, library, title):
    """At its versioned URL; the manifests at the others lead there."""
    paths = [path for path in (library / "bbb").rglob("*") if path.is_file()]
    assert len(paths) > 20
    for path in paths:
        url = f"/titles/bbb/v-{title.version}/{path.relative_to(library / 'bbb')}"
        answer = await client.get(url, headers={"Accept-Encoding": "identity"})
        assert answer.status == 200
        assert await answer.read() == path.read_bytes()
        assert int(answer.headers["Content-Length"]) == path.stat().st_size


async def test_text_travels_packed_and_keeps_a_tag_of_its_own(client, library, settings):
    """To those who take gzip, where it fits in memory; media never."""
    url, body = "/titles/bbb/title.json", on_disk(library, "title.json")
    plain = await client.get(url, headers={"Accept-Encoding": "gzip;q=0, identity"})
    packed = await client.get(url, headers={"Accept-Encoding": "br, gzip"})
    assert await plain.read() == await packed.read() == body, "the client unpacks it"
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain.headers
    if settings.cache_file_bytes_max > 1:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < len(body) / 2
        assert packed.headers["ETag"] != plain.headers["ETag"]
        again = await client.get(url, headers={"If-None-Match": packed.headers["ETag"]})
        assert again.status == 304
    part = await client.get(url, headers={"Range": "bytes=0-9"})
    assert await part.read() == body[:10]
    assert "Content-Encoding" not in (await client.get(f"/titles/bbb/{SEGMENT}")).headers


@pytest.mark.parametrize(
    ("relative", "content_type", "cached"),
    [
        ("VERSION/manifest.mpd", "application/dash+xml", "max-age=2"),
        ("VERSION/title.json", "application/json", "max-age=2"),
        ("VERSION/video/180p/init.mp4", "video/mp4", "immutable"),
        (f"VERSION/{SEGMENT}", "video/iso.segment", "immutable"),
        ("VERSION/audio/audio/init.mp4", "audio/mp4", "immutable"),
        ("VERSION/audio/audio/seg-00001.m4s", "audio/mp4", "immutable"),
        (f"VERSION/{CHUNK_FILE}", "application/octet-stream", "immutable"),
        ("manifest.mpd", "application/dash+xml", "max-age=2"),
        ("master.m3u8", "application/vnd.apple.mpegurl", "max-age=2"),
        ("title.json", "application/json", "max-age=2"),
        ("video/180p/init.mp4", "video/mp4", "max-age=2"),
        (SEGMENT, "video/iso.segment", "max-age=2"),
        ("audio/audio/init.mp4", "audio/mp4", "max-age=2"),
        ("audio/audio/seg-00001.m4s", "audio/mp4", "max-age=2"),
        (CHUNK_FILE, "application/octet-stream", "immutable"),
    ],
)
async def test_types_and_caching(client, title, relative, content_type, cached):
    answer = await client.get(f"/titles/bbb/{relative.replace('VERSION', f'v-{title.version}')}")
    assert answer.headers["Content-Type"] == content_type
    assert cached in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_manifests_as_served_parse_in_other_peoples_parsers(client):
    mpd = MPEGDASHParser.parse(await (await client.get("/titles/bbb/manifest.mpd")).text())
    assert len(mpd.periods[0].adaptation_sets[0].representations) == 4
    playlist = m3u8.loads(await (await client.get("/titles/bbb/master.m3u8")).text())
    assert len(playlist.playlists) == 2 * 4, "each with sound in stereo or in 5.1"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999", 5, None),
        ("bytes=-99999999", 0, None),
    ],
)
async def test_a_range_is_that_part_of_the_file(client, library, asked, start, stop):
    whole = on_disk(library, SEGMENT)
    answer = await client.get(f"/titles/bbb/{SEGMENT}", headers={"Range": asked})
    assert answer.status == 206
    part = await answer.read()
    assert part == whole[start:stop]
    offset = range(len(whole))[start]
    assert answer.headers["Content-Range"] == f"bytes {offset}-{offset + len(part) - 1}/{len(whole)}"


async def test_a_range_is_of_get_alone(client, library):
    answer = await client.head(f"/titles/bbb/{SEGMENT}", headers={"Range": "bytes=0-9"})
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) == len(on_disk(library, SEGMENT))


@pytest.mark.parametrize("path", [f"{SEGMENT}/", SEGMENT.replace("/", "//"), "manifest.mpd/"])
async def test_a_file_has_one_path(client, path):
    """Else caches would keep it under several, and what is hidden could be spelt otherwise."""
    assert (await client.get(f"/titles/bbb/{path}")).status == 404


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,4-5", "chapters=1-2", "bytes=", "bytes=-", "bytes=a-b", "x"])
async def test_a_range_that_makes_no_sense_gets_the_whole_file(client, library, asked):
    answer = await client.get(f"/titles/bbb/{SEGMENT}", headers={"Range": asked})
    assert answer.status == 200
    assert await answer.read() == on_disk(library, SEGMENT)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_416_and_says_how_long_the_file_is(client, library, asked):
    answer = await client.get(f"/titles/bbb/{SEGMENT}", headers={"Range": asked})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(on_disk(library, SEGMENT))}"
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_head_is_get_without_the_body(client):
    got, headed = await client.get(f"/titles/bbb/{SEGMENT}"), await client.head(f"/titles/bbb/{SEGMENT}")
    assert headed.status == 200
    assert await headed.read() == b""
    changing = {"Date"}
    assert {k: v for k, v in headed.headers.items() if k not in changing} == {
        k: v for k, v in got.headers.items() if k not in changing
    }


async def test_what_the_viewer_has_already_is_not_sent_again(client):
    first = await client.get(f"/titles/bbb/{SEGMENT}")
    etag, date = first.headers["ETag"], first.headers["Last-Modified"]
    assert not etag.startswith("W/")
    for headers in ({"If-None-Match": etag}, {"If-None-Match": f'"x", W/{etag}'}, {"If-Modified-Since": date}):
        again = await client.get(f"/titles/bbb/{SEGMENT}", headers=headers)
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == etag
    for headers in ({"If-None-Match": '"other"'}, {"If-None-Match": '"other"', "If-Modified-Since": date}):
        assert (await client.get(f"/titles/bbb/{SEGMENT}", headers=headers)).status == 200
    for headers in ({"If-Match": '"other"'}, {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}):
        refused = await client.get(f"/titles/bbb/{SEGMENT}", headers=headers)
        assert (refused.status, refused.content_type) == (412, "application/problem+json")


async def test_a_range_is_resumed_only_when_the_file_is_still_the_same(client):
    etag = (await client.head(f"/titles/bbb/{SEGMENT}")).headers["ETag"]
    for condition, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ):
        headers = {"Range": "bytes=1-2", "If-Range": condition}
        assert (await client.get(f"/titles/bbb/{SEGMENT}", headers=headers)).status == status


async def test_a_title_that_is_prepared_anew_is_seen_within_a_second(library, tmp_path, clock):
    shutil.copytree(library / "bbb", tmp_path / "bbb")
    async with TestClient(TestServer(create_app(Settings(library=str(tmp_path)), clock=clock))) as client:
        before = await client.get("/titles/bbb/manifest.mpd")
        (tmp_path / "new").write_bytes(b"<MPD/>")
        (tmp_path / "new").replace(tmp_path / "bbb" / "manifest.mpd")
        clock.now_s += 1.5
        after = await client.get("/titles/bbb/manifest.mpd", headers={"If-None-Match": before.headers["ETag"]})
        assert (after.status, await after.read()) == (200, b"<MPD/>")
        shutil.rmtree(tmp_path / "bbb")
        clock.now_s += 1.5
        assert (await client.get("/titles/bbb/manifest.mpd")).status == 404
        assert (await (await client.get("/titles")).json())["titles"] == []


async def test_a_title_that_cannot_be_read_does_not_hide_the_others(library, tmp_path, clock, caplog):
    shutil.copytree(library / "bbb", tmp_path / "bbb")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "title.json").write_text("{")
    async with TestClient(TestServer(create_app(Settings(library=str(tmp_path)), clock=clock))) as client:
        listed = await (await client.get("/titles")).json()
        assert [line["id"] for line in listed["titles"]] == ["bbb"]
        for _ in range(2):
            answer = await client.post("/sessions", json={"title": "broken"})
            assert (answer.status, answer.content_type) == (503, "application/problem+json")
            assert str(tmp_path) not in await answer.text()
    assert caplog.text.count("title broken cannot be read") == 1
    assert "Traceback" not in caplog.text


async def test_a_title_whose_folder_was_renamed_by_hand_keeps_its_sound_and_its_plans(library, tmp_path, clock, caplog):
    shutil.copytree(library / "bbb", tmp_path / "film")
    async with TestClient(TestServer(create_app(Settings(library=str(tmp_path)), clock=clock))) as client:
        session = (await client.post("/sessions", json={"title": "film"})).headers["Location"]
        for manifest in ("manifest.mpd", "master.m3u8"):
            body = await (await client.get(f"{session}/{manifest}")).text()
            assert "/titles/film/v-" in body and "/titles/bbb/" not in body
        sound = m3u8.loads(body, uri=f"http://localhost{session}/master.m3u8").media[0].absolute_uri
        playlist = await client.get(sound.removeprefix("http://localhost"))
        assert (playlist.status, "init.mp4" in await playlist.text()) == (200, True)
    assert not caplog.records, "plans that lie with it are still its own"


async def test_a_file_that_shrank_after_it_was_looked_at_is_not_passed_off_as_whole(library, tmp_path, clock, settings):
    shutil.copytree(library / "bbb", tmp_path / "bbb")
    segment = tmp_path / "bbb" / SEGMENT
    async with TestClient(TestServer(create_app(replace(settings, library=str(tmp_path)), clock=clock))) as client:
        await client.head(f"/titles/bbb/{SEGMENT}")
        segment.write_bytes(segment.read_bytes()[:1000])
        answer = await client.get(f"/titles/bbb/{SEGMENT}")
        assert (answer.status, answer.content_type) == (503, "application/problem+json")


async def test_a_viewer_who_goes_away_in_the_middle_is_counted_and_harms_nobody(client, library, caplog):
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1024)
    for _ in range(300):  # more than the kernel takes in for a viewer who reads nothing
        writer.write(f"GET /titles/bbb/{SEGMENT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readexactly(100)
    sent = [-2, -1]
    while len(set(sent[-20:])) > 1:  # until it is stuck in the middle of a segment
        sent.append(await answered(client, 200))
    assert 0 < sent[-1] < 300
    writer.transport.abort()
    looks = 100
    while not await answered(client, 499) and looks:
        looks -= 1
    assert looks
    assert not caplog.records, "a viewer may go away"
    assert await (await client.get(f"/titles/bbb/{SEGMENT}")).read() == on_disk(library, SEGMENT)


async def answered(client: TestClient, status: int) -> int:
    """How many files were answered for so far with this status."""
    line = f'toprung_http_requests_total{{method="GET",route="getTitleFile",status="{status}"}} '
    text = await (await client.get("/metrics")).text()
    return int(float(text.partition(line)[2].partition("\n")[0] or 0))


async def test_weights_are_counted_as_they_are_sent(client):
    assert await (await client.get(f"/titles/bbb/{CHUNK_FILE}")).read() == CHUNK
    await client.get(f"/titles/bbb/{CHUNK_FILE}", headers={"Range": "bytes=0-99"})
    await client.head(f"/titles/bbb/{CHUNK_FILE}")
    metrics = await (await client.get("/metrics")).text()
    assert f"toprung_weights_bytes_total {float(len(CHUNK) + 100)}" in metrics
