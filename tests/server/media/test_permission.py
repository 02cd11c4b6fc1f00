"""A title whose makers do not want its pictures enhanced: nothing offers, trains or imports enhancers."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from click.testing import CliRunner, Result
from serving import CHUNK_FILE, enhanced_library, enhancements
from titles import CLIP, RECIPE, prepared_title

from abr.cli import root
from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import load_title
from abr.errors import InputError
from enhancers.measurement.publish import publish
from server.ingest.permission import permit_enhancement
from server.ingest.prepare import prepare_title
from server.media.library import Library
from server.settings import Settings


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A library of this test's own: the title `bbb`, trained."""
    return enhanced_library(tmp_path)


@pytest.fixture
def settings(own: Path) -> Settings:
    return Settings(library=str(own))


def toprung(*arguments: object) -> Result:
    return CliRunner().invoke(root, [str(argument) for argument in arguments])


async def count_options(client: TestClient, path: str) -> int:
    """What the session at `path` chooses from: rungs, each plain and with the enhancers that it may have."""
    return (await (await client.get(path)).json())["options"]


async def test_a_running_server_offers_nothing_for_it_and_all_again_once_permitted(client, clock, own, opened) -> None:
    before = await opened()
    assert await count_options(client, before) == 7
    table = "/titles/bbb/enhancements.json"
    assert (await client.get(table)).status == 200
    manifest = (own / "bbb" / "manifest.mpd").read_bytes()
    forbidden = await asyncio.to_thread(toprung, "set", "bbb", "--library", own, "--no-enhancement")
    assert forbidden.stdout == "bbb may not be enhanced.\n"
    clock.now_s += 5
    assert (await client.get(table)).status == 404
    assert (await client.get("/titles/bbb/.enhancements.json")).status == 404
    assert b"enhancements" not in await (await client.get("/titles/bbb/manifest.mpd")).read()
    assert (await (await client.get("/titles/bbb/title.json")).json())["no_enhancement"] is True
    for session in (before, await opened()):
        assert await count_options(client, session) == 4, "those who watch already are offered nothing any more, too"
    await asyncio.to_thread(toprung, "set", "bbb", "--library", own, "--enhancement")
    clock.now_s += 5
    assert await count_options(client, await opened()) == 7
    assert (await client.get(table)).status == 200
    assert (own / "bbb" / "manifest.mpd").read_bytes() == manifest
    assert "no_enhancement" not in await (await client.get("/titles/bbb/title.json")).json()


def test_training_and_import_refuse_it_in_a_sentence(own: Path, tmp_path: Path) -> None:
    toprung("set", "bbb", "--library", own, "--no-enhancement")
    network = tmp_path / "network.onnx"
    network.touch()
    for command in (["train", "bbb"], ["plan-ladder", "bbb"], ["import-model", network, "bbb"]):
        refused = toprung(*command, "--library", own, "--source", CLIP)
        assert isinstance(refused.exception, InputError)
        assert "bbb may not be enhanced" in str(refused.exception) and "--enhancement" in str(refused.exception)


def test_what_was_being_trained_meanwhile_is_not_published(own: Path) -> None:
    permit_enhancement(Library(own), "bbb", False)
    with pytest.raises(InputError, match="may not be enhanced"):
        publish(own / "bbb", enhancements(load_title(own / "bbb")), {CHUNK_FILE: b"weights"})
    assert not (own / "bbb" / ENHANCEMENTS_FILE).exists()


def test_show_says_it(own: Path) -> None:
    assert "may not be enhanced" not in toprung("show", "bbb", "--library", own).stdout
    toprung("set", "bbb", "--library", own, "--no-enhancement")
    assert "may not be enhanced" in toprung("show", "bbb", "--library", own).stdout


def test_a_title_can_be_prepared_so_and_stays_so_until_somebody_permits_it(tmp_path: Path) -> None:
    _, folder = prepared_title()
    library = Library(tmp_path)
    shutil.copytree(folder, tmp_path / "bbb")

    def prepare(**more: bool) -> bool:
        title = prepare_title(CLIP, library, RECIPE, title_id="bbb", **more).title
        assert load_title(tmp_path / "bbb") == title
        return bool(title.no_enhancement)

    assert prepare() is False
    assert prepare(no_enhancement=True) is True, "said of a title that is there already"
    assert prepare() is True
    assert permit_enhancement(library, "bbb", True) and prepare() is False
