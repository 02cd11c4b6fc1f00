"""Files in any script become titles of their own, and keep their names."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from clips import make_clip
from hypothesis import given
from hypothesis import strategies as st

from server.ingest.cli import prepare
from server.ingest.identifiers import identifier_of, identifiers_of
from server.media.library import IDENTIFIER, Library

TITLE = "{urn:mpeg:dash:schema:mpd:2011}ProgramInformation/{urn:mpeg:dash:schema:mpd:2011}Title"


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("film.mp4", "film"),
        ("My holiday (2).mov", "My-holiday-2"),
        ("Amélie.mkv", "Amelie"),
        ("Ame\u0301lie.mkv", "Amelie"),
        ("...mp4", "title"),
        ("a:b?c.mp4", "a-b-c"),
        ("x" * 90 + ".mp4", "x" * 64),
    ],
)
def test_what_letters_there_are_make_the_name(name: str, identifier: str) -> None:
    assert identifier_of(Path(name)) == identifier


def test_names_in_other_scripts_are_different_and_always_the_same() -> None:
    names = [
        "映画.mp4",
        "ドラマ.mp4",
        "Фильм.mp4",
        "Фильм 2.mp4",
        "فيلم.mp4",
        "कहानी.mp4",
        "ß.mp4",
        "x" * 90 + "映.mp4",
    ]
    ids = [identifier_of(Path(name)) for name in names]
    assert len(set(ids)) == len(ids)
    assert ids == [identifier_of(Path(name)) for name in names]
    assert all(IDENTIFIER.fullmatch(each) for each in ids)
    assert identifier_of(Path("\u30c9ラマ.mp4")) == identifier_of(Path("\u30c8\u3099ラマ.mp4"))  # as macOS writes it


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=80)))
def test_any_names_give_different_ids(names: list[str]) -> None:
    paths = [Path("/films") / f"{name}.mp4" for name in names]
    ids = identifiers_of(paths)
    assert len(set(ids.values())) == len(set(paths))
    assert all(IDENTIFIER.fullmatch(each) for each in ids.values())


def test_alike_names_are_numbered() -> None:
    paths = [Path(name) for name in ("a/film.mp4", "film-2.mp4", "b/film.mp4", "b/film.mkv", "a/film.mp4")]
    assert list(identifiers_of(paths).values()) == ["film", "film-2", "film-3", "film-4"]


@pytest.mark.parametrize("name", [b"\xe6\x98\xa0\xe7\x94\xbb.mp4", b"caf\xe9.mp4", b"a:b <c>&.mp4", b"tab\there.mp4"])
def test_the_real_name_is_kept_and_shown(tmp_path: Path, name: bytes) -> None:
    source = make_clip(tmp_path / "clip.mp4", frames=5).rename(tmp_path / Path(name.decode(errors="surrogateescape")))
    again = make_clip(tmp_path / "other.mp4", frames=5)
    (tmp_path / "more").mkdir()
    again = again.rename(tmp_path / "more" / source.name)
    arguments = [str(source), str(again), "--library", str(tmp_path / "library"), "--preset", "ultrafast", "--json"]
    ran = CliRunner().invoke(prepare, arguments)
    assert ran.exit_code == 0
    first, second = (msgspec.json.decode(line)["title"] for line in ran.stdout.splitlines())
    assert second == f"{first}-2"
    title = Library(tmp_path / "library").title(first)
    assert title.source.name == name.decode(errors="replace")
    shown = ElementTree.parse(tmp_path / "library" / first / "manifest.mpd").findtext(TITLE)
    assert shown == Path(title.source.name).stem.replace("\t", "")
