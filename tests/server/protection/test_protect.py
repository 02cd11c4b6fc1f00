"""`toprung protect`: what is encrypted, what is told of it, and who can read it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import av
import m3u8
import pytest
from click.testing import CliRunner
from mpegdash.parser import MPEGDASHParser
from protected_titles import KEY, protected_library

from abr.core.title import Protection, segment_file
from abr.errors import FormatError, InputError
from abr.media.content_keys import dumps_keys, known_keys, read_keys, write_key
from abr.records import dumps
from client_player.decoder import audio_duration_s
from enhancers.runtime.frames import decode_segment
from server.ingest.permission import permit_enhancement
from server.media.cli import show
from server.media.library import Library
from server.media.live_title import LiveTitle
from server.protection.cli import protect
from server.protection.protect import protect_title


def bytes_of(title: str, track: str, init: str = "init.mp4", segment: int = 1) -> bytes:
    folder = protected_library() / title / track
    return (folder / init).read_bytes() + (folder / segment_file(segment)).read_bytes()


def packets(data: bytes, key: str = "") -> list[tuple[int | None, int | None, bytes]]:
    options = {"decryption_key": key} if key else {}
    with av.open(io.BytesIO(data), format="mp4", options=options) as container:
        return [(each.pts, each.dts, bytes(each)) for each in container.demux() if each.size]


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_the_key_gives_back_every_packet_at_its_time(scheme: str) -> None:
    for track in ("video/90p", "video/180p", "audio/audio"):
        clear = packets(bytes_of("clear", track))
        assert packets(bytes_of(scheme, track), KEY.key) == clear
        locked = packets(bytes_of(scheme, track))
        assert len(locked) == len(clear) and all(a[2] != b[2] for a, b in zip(locked, clear, strict=True))


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_one_init_segment_fits_all_rungs_as_in_sessions(scheme: str) -> None:
    top = (protected_library() / scheme / "video/180p/init.mp4").read_bytes()
    low = (protected_library() / scheme / "video/90p/seg-00002.m4s").read_bytes()
    (first, *_) = decode_segment(top + low, key=KEY.key)
    assert first.y.shape == (90, 160)
    assert audio_duration_s(bytes_of(scheme, "audio/audio"), KEY.key) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_manifests_tell_the_scheme_and_the_keys_name_and_never_the_key(scheme: str) -> None:
    folder = protected_library() / scheme
    mpd = MPEGDASHParser.parse(str(folder / "manifest.mpd"))
    for adaptation in mpd.periods[0].adaptation_sets[:2]:
        told, clear_key = adaptation.content_protections
        assert (told.scheme_id_uri, told.value) == ("urn:mpeg:dash:mp4protection:2011", scheme)
        assert clear_key.scheme_id_uri == "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
    assert 'default_KID="00112233-4455-6677-8899-aabbccddeeff"' in (folder / "driven.mpd").read_text()
    for name in ("90p.m3u8", "audio.m3u8", "driven-video.m3u8"):
        keys = m3u8.loads((folder / name).read_text()).keys
        assert {key.method for key in keys if key} == {{"cenc": "SAMPLE-AES-CTR", "cbcs": "SAMPLE-AES"}[scheme]}
    secret = bytes.fromhex(KEY.key)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if secret in path.read_bytes() or KEY.key.encode() in path.read_bytes()]


def test_in_its_place_the_clear_title_is_gone_and_enhancers_are_refused(tmp_path: Path) -> None:
    library = Library(tmp_path)
    shutil.copytree(protected_library() / "clear", tmp_path / "film")
    (tmp_path / "film" / "enhancements.json").write_text("{}")
    before = library.title("film")
    title = protect_title(library, "film", KEY, Protection(scheme="cenc", key_id=KEY.key_id))
    assert library.title("film") == title and title.version != before.version
    assert [path.name for path in tmp_path.iterdir()] == ["film"]
    assert library.enhancements("film") is None
    with pytest.raises(InputError, match="protected already"):
        protect_title(library, "film", KEY, Protection(scheme="cenc", key_id=KEY.key_id))
    with pytest.raises(InputError, match="its frames cannot be read for enhancers"):
        title.check_enhancement()
    with pytest.raises(InputError, match="its frames cannot be read"):
        permit_enhancement(library, "film", True)


def test_no_older_version_of_it_stays_to_be_read_in_the_clear(tmp_path: Path) -> None:
    library = Library(tmp_path)
    for version in ("0" * 16, "1" * 16):
        shutil.copytree(protected_library() / "clear", tmp_path / f".replaced-film-{version}")
    other = tmp_path / f".replaced-film-2-{'0' * 16}"
    other.mkdir()
    shutil.copytree(protected_library() / "clear", tmp_path / "film")
    protect_title(library, "film", KEY, Protection(scheme="cenc", key_id=KEY.key_id))
    assert {path.name for path in tmp_path.iterdir()} == {"film", other.name}


def test_what_is_no_title_or_runs_is_neither_protected_nor_replaced(tmp_path: Path) -> None:
    library, told = Library(tmp_path / "library"), Protection(scheme="cenc", key_id=KEY.key_id)
    shutil.copytree(protected_library() / "clear", library.root / "film")
    live = LiveTitle(id="cam", state="running", version="0123456789abcdef", segment_s=2.0, window_s=60.0, updated_s=0.0)
    for name, file, content in (("cam", "live.json", dumps(live)), ("diary", "notes.txt", b"mine")):
        (library.root / name).mkdir()
        (library.root / name / file).write_bytes(content)
    before = {path: path.read_bytes() for path in library.root.rglob("*") if path.is_file()}
    for title, new_id, sentence in (
        ("cam", "", "It can be protected once it is kept"),
        ("film", "cam", "already has 'cam'"),
        ("film", "diary", "is no title; move it away"),
        ("film", "a/b", "cannot name a title"),
    ):
        with pytest.raises(InputError, match=sentence):
            protect_title(library, title, KEY, told, new_id=new_id)
        asked = [title, "--library", str(library.root), "--new-key", str(tmp_path / "key.json"), "--id", new_id]
        assert isinstance(CliRunner().invoke(protect, asked).exception, InputError)
        assert not (tmp_path / "key.json").exists(), "no key is made for nothing"
    assert {path: path.read_bytes() for path in library.root.rglob("*") if path.is_file()} == before


def test_show_tells_that_it_is_protected_and_by_which_key() -> None:
    shown = CliRunner().invoke(show, ["cbcs", "--library", str(protected_library())]).stdout
    assert f"protected (cbcs) with key {KEY.key_id}" in shown and "makers" not in shown
    listed = CliRunner().invoke(show, ["cbcs", "--library", str(protected_library()), "--json"]).stdout
    assert json.loads(listed)["protection"]["key_id"] == KEY.key_id


def test_a_new_key_is_written_for_its_owner_alone_and_said_to_nobody(tmp_path: Path) -> None:
    shutil.copytree(protected_library() / "clear", tmp_path / "library" / "film")
    where = tmp_path / "key.json"
    given = ["film", "--library", str(tmp_path / "library"), "--new-key", str(where), "--id", "locked", "--json"]
    said = CliRunner().invoke(protect, given)
    (key,) = read_keys(where)
    assert json.loads(said.stdout)["key_id"] == key.key_id and key.key not in said.output + repr(key)
    assert where.stat().st_mode & 0o777 == 0o600
    refused = CliRunner().invoke(protect, [*given[:-3], "--licence-url", "javascript:x"])
    assert isinstance(refused.exception, InputError) and "is no address" in str(refused.exception)
    with pytest.raises(InputError, match="There is a file"):
        write_key(where, KEY)


def test_keys_come_from_a_licence_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys.json").write_bytes(dumps_keys((KEY,)))
    assert known_keys(tmp_path / "keys.json") == (KEY,)
    assert known_keys(None) == ()
    monkeypatch.setenv("TOPRUNG_KEY", f"{KEY.key_id.upper()}:{KEY.key}")
    assert known_keys(None) == (KEY,)
    monkeypatch.setenv("TOPRUNG_KEY", f"{KEY.key_id}:{KEY.key}00")
    with pytest.raises(InputError, match="is no content key") as refused:
        known_keys(None)
    assert KEY.key not in str(refused.value)
    short = dumps_keys((KEY,)).replace(b'"k":"', b'"k":"AA')
    for wrong in (b"{", b'{"keys":[]}', short, b"[" * 70_000):
        (tmp_path / "keys.json").write_bytes(wrong)
        with pytest.raises(FormatError) as failure:
            read_keys(tmp_path / "keys.json")
        assert KEY.key not in str(failure.value)
