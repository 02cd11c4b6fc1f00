"""`toprung list`, `show` and `remove` over libraries whole, empty, damaged and busy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from titles import prepared_title

from abr.cli import root
from abr.core.enhancement import Chunk, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.errors import FormatError, InputError, UnknownNameError
from abr.files import lock_folder
from abr.records import dumps
from server.media.live_title import LiveTitle


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The titles `bbb` and `other`, without their segments."""
    for name in ("bbb", "other"):
        folder = tmp_path / "library" / name
        folder.mkdir(parents=True)
        text = (prepared_title()[1] / "title.json").read_text()
        (folder / "title.json").write_text(text.replace('"id": "bbb"', f'"id": "{name}"', 1))
        (folder / "video" / "180p").mkdir(parents=True)
        (folder / "video" / "180p" / "init.mp4").write_bytes(b"init")
    return tmp_path / "library"


def toprung(*arguments: object, answer: str = "") -> Result:
    return CliRunner().invoke(root, [str(argument) for argument in arguments], input=answer)


def test_list_names_each_title_with_length_size_and_rungs(library: Path) -> None:
    title, _ = prepared_title()
    listed = json.loads(toprung("list", "--library", library, "--json").stdout)
    assert [each["title"] for each in listed["titles"]] == ["bbb", "other"] and listed["damaged"] == {}
    first = listed["titles"][0]
    assert first["duration_s"] == pytest.approx(title.duration_s)
    assert first["renditions"] == ["180p", "240p", "360p", "720p"] and first["enhancers"] == []
    tracks = (*title.renditions, *title.audio)
    assert first["size_bytes"] == sum(track.init_bytes + sum(track.segment_bytes) for track in tracks)
    table = toprung("list", "--library", library).stdout
    assert "bbb" in table and "other" in table and "180p 240p 360p 720p" in table


def test_live_titles_are_named_and_a_damaged_one_hides_nothing(library: Path) -> None:
    live = LiveTitle(id="cam", state="ended", version="0123456789abcdef", segment_s=2.0, window_s=60.0, updated_s=0.0)
    for name, text in (("cam", dumps(live)), ("torn", b"{")):
        (library / name).mkdir()
        (library / name / "live.json").write_bytes(text)
    result = toprung("list", "--library", library, "--json")
    listed = json.loads(result.stdout)
    assert [each["title"] for each in listed["titles"]] == ["bbb", "other"]
    assert listed["live"] == {"cam": "ended"} and list(listed["damaged"]) == ["torn"] and result.exit_code == 1
    shown = toprung("show", "cam", "--library", library)
    assert isinstance(shown.exception, InputError) and "has ended" in str(shown.exception)


def test_list_says_that_a_library_is_empty_and_names_a_damaged_title(library: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = toprung("list", "--library", tmp_path / "empty")
    assert (empty.exit_code, empty.stdout) == (0, "") and "holds no titles" in empty.stderr
    assert toprung("list", "--library", tmp_path / "nowhere").exit_code == 2
    (library / "other" / "title.json").write_text("{")
    result = toprung("list", "--library", library, "--json")
    listed = json.loads(result.stdout)
    assert result.exit_code == 1 and [each["title"] for each in listed["titles"]] == ["bbb"]
    assert list(listed["damaged"]) == ["other"] and "is not valid" in result.stderr


def test_show_tells_quality_and_bitrate_of_each_rendition(library: Path) -> None:
    title, _ = prepared_title()
    shown = json.loads(toprung("show", "bbb", "--library", library, "--json").stdout)
    assert shown["source"] == title.source.name and shown["segments"] == len(title.segment_frames)
    for each, rendition in zip(shown["renditions"], title.renditions, strict=True):
        assert each["average_kbps"] == rendition.average_bps / 1000
        quality = title.plain_quality[rendition.id].vmaf
        assert min(quality) <= each["vmaf"] <= max(quality)
    text = toprung("show", "bbb", "--library", library).stdout
    assert all(rendition.id in text for rendition in title.renditions) and "mp4a" in text
    assert isinstance(toprung("show", "bb", "--library", library).exception, UnknownNameError)


def test_show_tells_what_each_enhancer_lifts(library: Path) -> None:
    title, _ = prepared_title()
    plain = title.plain_quality["180p"]
    lifted = msgspec.structs.replace(plain, vmaf=tuple(vmaf + 5 for vmaf in plain.vmaf))
    chunks = tuple(Chunk(file=f"enhancers/{i}.safetensors", size_bytes=1000, sha256=f"{i}" * 64) for i in (1, 2))
    entries = tuple(
        EnhancerEntry(
            name=f"content-{tier}",
            family=Family.CONTENT,
            tier=tier,
            offers=(
                Offer(
                    rendition="180p",
                    architecture="plain-m4c16x4",
                    weights_sha256="0" * 64,
                    chunks=chunks[:count],
                    macs_per_output_px=1.0,
                    quality=lifted,
                ),
            ),
        )
        for tier, count in ((Tier.LOW, 1), (Tier.HIGH, 2))
    )
    table = EnhancementTable(title="bbb", meter=title.meter, enhancers=entries)
    (library / "bbb" / "enhancements.json").write_bytes(msgspec.json.encode(table))
    shown = json.loads(toprung("show", "bbb", "--library", library, "--json").stdout)
    assert [(each["enhancer"], each["weights_bytes"]) for each in shown["offers"]] == [
        ("content-low", 1000),
        ("content-high", 2000),
    ]
    assert all(each["vmaf_gain"] == pytest.approx(5) for each in shown["offers"])
    assert "content-high" in toprung("show", "bbb", "--library", library).stdout
    with_chunks, without = json.loads(toprung("list", "--library", library, "--json").stdout)["titles"]
    assert with_chunks["enhancers"] == ["content-low", "content-high"]
    assert with_chunks["size_bytes"] - without["size_bytes"] == 2000  # shared chunks count once


def test_remove_asks_and_takes_no_for_an_answer(library: Path) -> None:
    refused = toprung("remove", "bbb", "--library", library, answer="n\n")
    assert refused.exit_code == 1 and (library / "bbb" / "title.json").is_file()
    nobody = toprung("remove", "bbb", "--library", library)
    assert isinstance(nobody.exception, InputError) and "--yes" in str(nobody.exception)
    agreed = toprung("remove", "bbb", "--library", library, answer="y\n")
    assert agreed.exit_code == 0 and str(library / "bbb") in agreed.stdout
    assert [path.name for path in library.iterdir()] == ["other"]


def test_remove_takes_several_titles_all_or_none(library: Path) -> None:
    unknown = toprung("remove", "bbb", "nosuch", "--library", library, "--yes")
    assert isinstance(unknown.exception, UnknownNameError) and (library / "bbb").is_dir()
    (library / "other" / "title.json").write_text("{")  # a damaged title can be removed too
    for unfinished in (".training-other", ".protecting-other"):
        (library / unfinished).mkdir()
    result = toprung("remove", "bbb", "other", "--library", library, "--yes", "--json")
    assert json.loads(result.stdout) == {"library": str(library), "removed": ["bbb", "other"]}
    assert list(library.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "bbb/../bbb", "bbb/video", ".hidden", "linked", "/etc"])
def test_only_titles_are_removed(library: Path, name: str) -> None:
    shutil.copytree(library / "bbb", library / ".hidden")
    (library / "linked").symlink_to(library / "bbb")
    before = sorted(library.rglob("*"))
    assert isinstance(toprung("remove", name, "--library", library, "--yes").exception, UnknownNameError)
    assert sorted(library.rglob("*")) == before


def test_a_title_that_is_being_trained_stays(library: Path) -> None:
    with lock_folder(library / ".training-bbb", busy="busy"):
        result = toprung("remove", "bbb", "--library", library, "--yes")
    assert isinstance(result.exception, InputError) and "being trained" in str(result.exception)
    assert (library / "bbb" / "title.json").is_file()


def test_a_damaged_title_is_told_of_by_show(library: Path) -> None:
    (library / "bbb" / "title.json").write_text("{}")
    assert isinstance(toprung("show", "bbb", "--library", library).exception, FormatError)


def test_titles_are_read_without_torch_or_decoders(library: Path) -> None:
    code = (
        "import sys, atexit; from abr.cli import main;"
        "atexit.register(lambda: print(sorted({'torch', 'av', 'openvino', 'aiohttp'} & set(sys.modules))));"
        "main()"
    )
    for command in (["list"], ["show", "bbb"], ["remove", "bbb", "--yes"]):
        arguments = [sys.executable, "-c", code, *command, "--library", str(library)]
        result = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert result.returncode == 0 and result.stdout.endswith("[]\n"), result.stderr
