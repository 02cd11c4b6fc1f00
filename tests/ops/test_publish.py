"""`toprung publish`: titles in a bucket or a folder, which play from there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import boto3
import m3u8
import pytest
from click.testing import CliRunner
from mpegdash.parser import MPEGDASHParser
from s3_service import s3_service
from serve_process import counted, served
from serving import device_profile, enhanced_library

from abr.cli import root
from abr.core.events import Decided
from abr.core.title import TITLE_FILE, load_title
from abr.errors import InputError
from client_player.session.request import PlayRequest
from client_player.session.run import play
from server.media.library import Library
from server.media.versions import media_version

BUCKET = "films"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enhanced_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_service(BUCKET) as url:
        yield f"{url}/{BUCKET}/titles"


def publish(library: Path, to: str, *options: str) -> dict[str, object]:
    result = CliRunner().invoke(root, ["publish", "bbb", "--library", str(library), "--to", to, "--json", *options])
    assert result.exit_code == 0, result.output or result.exception
    return json.loads(result.stdout)


def objects_there(folder: str | Path) -> dict[str, bytes]:
    if isinstance(folder, Path):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    s3 = boto3.client("s3")
    keys = [
        each["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET) for each in page["Contents"]
    ]
    return {key.removeprefix("titles/"): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def prepared_anew(library: Path, folder: Path) -> Path:
    """A copy of the library whose title has other media, as of another source."""
    shutil.copytree(library, folder)
    title = folder / "bbb"
    for path in sorted(title.glob("video/*/init*.mp4")):
        path.write_bytes(path.read_bytes() + (8).to_bytes(4) + b"free")
    record = json.loads((title / TITLE_FILE).read_bytes())
    (title / TITLE_FILE).write_text(json.dumps(record | {"version": media_version(title)}))
    return folder


def test_viewers_get_everything_but_decisions_from_the_bucket(library, bucket):
    publish(library, f"s3://{BUCKET}/titles")
    with served("--library", str(library), "--media-base", bucket) as url:
        outcome = play(PlayRequest(url=url, title="bbb", profile=device_profile(load_title(library / "bbb"))))
        sent = counted(url, 'toprung_http_response_bytes_total{route="getSessionSegment"')
        title_bytes = counted(url, 'toprung_http_response_bytes_total{route="getTitleFile"')
    assert outcome.summary.ended == "finished" and sent == title_bytes == 0
    lifted = [event for event in outcome.events if isinstance(event, Decided) and event.enhancer != "none"]
    assert lifted, "weights came from the bucket too"


def test_a_standard_manifest_plays_from_the_bucket_alone(library, bucket):
    publish(library, f"s3://{BUCKET}/titles")
    outcome = play(PlayRequest(url=f"{bucket}/bbb/manifest.mpd", local=True))
    assert outcome.summary.ended == "finished"
    master = m3u8.load(f"{bucket}/bbb/master.m3u8")
    for playlist in [*master.playlists, *master.media]:
        track = m3u8.load(playlist.absolute_uri)
        for uri in [track.segment_map[0].absolute_uri, *(each.absolute_uri for each in track.segments)]:
            assert urlopen(uri).status == 200


def test_objects_say_what_they_are_and_how_long_they_may_be_kept(library, bucket):
    publish(library, f"s3://{BUCKET}/titles")
    version = load_title(library / "bbb").version
    weights = next((library / "bbb/enhancers").rglob("*.safetensors")).relative_to(library / "bbb")
    for path, kind, kept in (
        (f"v-{version}/video/180p/seg-00001.m4s", "video/iso.segment", "immutable"),
        (f"v-{version}/video/180p/init.mp4", "video/mp4", "immutable"),
        (f"v-{version}/{weights}", "application/octet-stream", "immutable"),
        ("manifest.mpd", "application/dash+xml", "max-age=2"),
        ("master.m3u8", "application/vnd.apple.mpegurl", "max-age=2"),
        (f"v-{version}/title.json", "application/json", "max-age=2"),
    ):
        headers = urlopen(f"{bucket}/bbb/{path}").headers
        assert headers["Content-Type"] == kind and kept in headers["Cache-Control"], path


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_what_is_there_is_not_sent_again_and_what_is_broken_off_is_gone_on_with(library, tmp_path, bucket, where):
    to = str(tmp_path / "out") if where == "folder" else f"s3://{BUCKET}/titles"
    first = publish(library, to)
    before = objects_there(tmp_path / "out" if where == "folder" else to)
    assert len(before) == first["objects"] == first["sent"]
    again = publish(library, to)
    assert 0 < again["sent"] < 30 < first["sent"], "tables and manifests alone"
    segment = f"bbb/v-{load_title(library / 'bbb').version}/video/180p/seg-00002.m4s"
    if where == "folder":
        (tmp_path / "out" / segment).write_bytes(b"half")
    else:
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"titles/{segment}", Body=b"half")
    assert publish(library, to)["sent"] == again["sent"] + 1
    assert objects_there(tmp_path / "out" if where == "folder" else to) == before


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_title_prepared_anew_leaves_its_older_version_until_it_is_pruned(library, tmp_path, bucket, where):
    to = str(tmp_path / "out") if where == "folder" else f"s3://{BUCKET}/titles"
    publish(library, to)
    (tmp_path / "out/bbb").mkdir(parents=True, exist_ok=True)
    (tmp_path / "out/bbb/poster.jpg").write_bytes(b"the site's own")
    old = load_title(library / "bbb").version
    anew = prepared_anew(library, tmp_path / "anew")
    new = load_title(anew / "bbb").version
    publish(anew, to)
    there = objects_there(tmp_path / "out" if where == "folder" else to)
    assert {key.split("/")[1] for key in there} >= {f"v-{old}", f"v-{new}"}
    assert f"v-{new}/".encode() in there["bbb/manifest.mpd"] and f"v-{old}/".encode() not in there["bbb/manifest.mpd"]
    removed = publish(anew, to, "--prune")["removed"]
    left = objects_there(tmp_path / "out" if where == "folder" else to)
    assert removed == len(there) - len(left) > 0
    assert not any(f"v-{old}" in key for key in left)
    assert where == "bucket" or "bbb/poster.jpg" in left


def test_manifests_come_last(library, tmp_path):
    """A player that finds one finds all that it leads to, whenever it comes."""
    from server.publishing.destinations import Folder
    from server.publishing.publish import publish_title
    from server.publishing.title_objects import TitleObject, objects_of

    class Watched(Folder):
        def put(self, each: TitleObject) -> None:
            if each.key == "bbb/manifest.mpd":
                version = load_title(library / "bbb").version
                mpd = MPEGDASHParser.parse(each.read().decode())
                assert mpd.base_urls[0].base_url_value == f"v-{version}/"
                for rendition in load_title(library / "bbb").renditions:
                    folder = self.root / f"bbb/v-{version}/video/{rendition.id}"
                    assert len(list(folder.glob("seg-*.m4s"))) == len(rendition.segment_bytes)
            super().put(each)

    publish_title("bbb", objects_of(Library(library), "bbb", 0.0), Watched(tmp_path))
    assert (tmp_path / "bbb/manifest.mpd").is_file()


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("ftp://host/films", "give a folder, or s3://BUCKET/PREFIX"),
        ("s3://", "names no bucket"),
        ("s3://no-such-bucket/titles", "Cannot .*no-such-bucket"),
    ],
)
def test_a_place_that_is_none_is_one_clear_sentence(library, bucket, to, sentence):
    result = CliRunner().invoke(root, ["publish", "bbb", "--library", str(library), "--to", to])
    assert result.exit_code != 0
    with pytest.raises(Exception, match=sentence):
        raise result.exception


def test_nothing_is_published_into_the_library_itself(library):
    before = {path: path.stat().st_mtime_ns for path in library.rglob("*")}
    for to in (library, library / "bbb", library.parent / "elsewhere" / ".." / library.name):
        result = CliRunner().invoke(root, ["publish", "bbb", "--library", str(library), "--to", str(to)])
        assert isinstance(result.exception, InputError) and "in the library itself" in str(result.exception)
    result = CliRunner().invoke(root, ["publish", "bbb", "--library", str(library), "--to", __file__])
    assert isinstance(result.exception, InputError) and "is a file" in str(result.exception)
    assert {path: path.stat().st_mtime_ns for path in library.rglob("*")} == before


def test_a_service_that_is_not_there_is_one_clear_sentence(library, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{urlsplit(bucket).port + 1}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = CliRunner().invoke(root, ["publish", "bbb", "--library", str(library), "--to", f"s3://{BUCKET}/titles"])
    assert result.exit_code != 0 and "Cannot list s3://films/titles" in str(result.exception)


def test_a_title_with_a_missing_segment_is_not_published(library, tmp_path):
    broken = tmp_path / "library"
    shutil.copytree(library, broken)
    (broken / "bbb/video/180p/seg-00002.m4s").unlink()
    result = CliRunner().invoke(root, ["publish", "bbb", "--library", str(broken), "--to", str(tmp_path / "out")])
    assert result.exit_code != 0 and "prepare the title anew" in str(result.exception)
    assert not (tmp_path / "out").exists()
