"""The library lists what is whole, and opens only what lies in a title."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from titles import prepared_library, prepared_title

from abr.errors import FormatError, StorageError, UnknownNameError
from server.media.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    source = prepared_title()[1]
    folder = tmp_path / "library" / "bbb"
    folder.mkdir(parents=True)
    for name in ("title.json", "manifest.mpd"):
        shutil.copy(source / name, folder / name)
    (tmp_path / "secret.txt").write_text("secret")
    return Library(tmp_path / "library")


def test_a_library_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert Library(tmp_path / "nowhere").titles() == []


def test_lists_and_opens_a_title(library: Library) -> None:
    assert library.titles() == ["bbb"]
    assert library.title("bbb").id == "bbb"
    assert library.enhancements("bbb") is None
    assert library.path("bbb", "manifest.mpd").read_bytes().startswith(b"<?xml")


def test_neither_work_nor_other_folders_are_listed(library: Library) -> None:
    shutil.copytree(library.root / "bbb", library.building("bbb") / "title")
    shutil.copytree(library.root / "bbb", library.building("other"))
    (library.root / "empty").mkdir()
    (library.root / "linked").symlink_to(library.root / "bbb")
    assert library.titles() == ["bbb"]
    for name in (".building-other", "empty", "linked", "..", "bbb/../bbb", ""):
        with pytest.raises(UnknownNameError):
            library.title(name)


@pytest.mark.parametrize(
    "relative",
    ["../../secret.txt", "/etc/passwd", "..", ".", "", "video", "a\0b", "x" * 5000, "..\\..\\secret.txt", "./.hidden"],
)
def test_hostile_paths_are_unknown(library: Library, relative: str) -> None:
    (library.root / "bbb" / "video").mkdir()
    (library.root / "bbb" / ".hidden").write_text("x")
    with pytest.raises(UnknownNameError):
        library.path("bbb", relative)


def test_a_link_out_of_the_title_is_unknown(library: Library, tmp_path: Path) -> None:
    (library.root / "bbb" / "out.txt").symlink_to(tmp_path / "secret.txt")
    (library.root / "bbb" / "up").symlink_to(tmp_path)
    (library.root / "bbb" / "loop").symlink_to("loop")
    for relative in ("out.txt", "up/secret.txt", "loop"):
        with pytest.raises(UnknownNameError):
            library.path("bbb", relative)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "video", "180p", "init.mp4", "/", "a\0", "~", "%2e%2e", ""])).map("/".join))
def test_no_path_ever_leaves_the_title(relative: str) -> None:
    folder = prepared_title()[1].resolve()
    try:
        found = prepared_library().path("bbb", relative)
    except UnknownNameError:
        return
    assert found.is_relative_to(folder)
    assert found.is_file()


def test_an_unknown_title_names_the_known(library: Library) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'bbb'\?"):
        library.title("bbc")


def test_a_damaged_title_is_a_format_error(library: Library) -> None:
    (library.root / "bbb" / "title.json").write_text("{}")
    with pytest.raises(FormatError, match=r"title\.json"):
        library.title("bbb")


def test_publishing_replaces_the_older_title(library: Library, tmp_path: Path) -> None:
    built = library.building("bbb") / "title"
    shutil.copytree(library.root / "bbb", built)
    (built / "new.txt").write_text("new")
    library.publish("bbb", built)
    assert library.path("bbb", "new.txt").read_text() == "new"
    assert not built.exists()
    assert [entry.name for entry in library.root.iterdir() if "replaced" in entry.name] == []


def test_what_cannot_be_published_is_an_error(library: Library) -> None:
    with pytest.raises(StorageError):
        library.publish("bbb", library.root / "missing")
    assert library.titles() == ["bbb"]
