"""Every command and code block of the README and of docs/ runs as it stands, page by page, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from doc_blocks import DATA, PAGES, PROSE, ROOT, SHELLS, Block, blocks_of, invocations, runner
from film import measured_device, short_film_library
from titles import SHORT_CLIP

from abr.cli import root

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
NOT_RUN_MAX = 12
"""Blocks that cannot run here, those of measurements apart. Fewer is better; a new one needs a reason that holds."""
FROM_NOTHING = ROOT / "docs" / "tutorial.md"
"""Makes itself what other pages take for granted."""
MEASUREMENTS = ROOT / "docs" / "BENCHMARKS.md"


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_film_library(tmp_path_factory.mktemp("film"))


@pytest.fixture
def folder(tmp_path: Path, library: Path) -> Path:
    """What the pages take for granted: a source, a library with that title, two traces, a device that was measured."""
    shutil.copytree(library, tmp_path / "titles")
    shutil.copy(SHORT_CLIP, tmp_path / "film.mp4")
    for name in ("client_player", "docker", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "traces").mkdir()
    for trace in ("norway3g_2011-01-04_0820CET.json", "fcc_7451.txt"):
        shutil.copy(ROOT / "client_player" / "sample" / "traces" / trace, tmp_path / "traces")
    measured_device(tmp_path / ".cache")
    return tmp_path


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=_name)
def test_every_block_of_the_page_runs_in_order(page: Path, folder: Path):
    if page == FROM_NOTHING:
        shutil.rmtree(folder / "titles")
        (folder / "film.mp4").unlink()
    with runner(folder) as run:
        for block in blocks_of(page):
            run.run(block)


def test_few_blocks_are_left_out_and_each_says_why():
    left_out = [block for block in BLOCKS if block.note("not run") is not None]
    assert all(len(block.note("not run") or "") > 10 for block in left_out), [block.place for block in left_out]
    elsewhere = [block.place for block in left_out if block.page != MEASUREMENTS]
    assert len(elsewhere) <= NOT_RUN_MAX, elsewhere


def test_every_block_has_a_language_that_is_checked():
    for block in BLOCKS:
        assert block.language in SHELLS | DATA | PROSE | {"python"}, f"{block.place}: {block.language!r}"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_the_block_is_well_formed(block: Block):
    if block.language in SHELLS:
        done = subprocess.run(["bash", "-n"], input=block.commands, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for arguments in invocations(block):
            check_command_line(root, arguments, block.place)
    elif block.language == "python":
        compile(block.text, block.place, "exec")
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)


def check_command_line(command: click.Command, arguments: list[str], place: str) -> None:
    """Fails unless the command and its options exist, and each option has its value."""
    context = click.Context(command, info_name="toprung")
    if isinstance(command, click.Group):
        names = [word for word in arguments if not word.startswith("-")]
        if not names:
            command.make_parser(context).parse_args(list(arguments))
            return
        inner = command.get_command(context, names[0])
        assert inner is not None, f"{place}: there is no command {names[0]!r}"
        check_command_line(inner, arguments[arguments.index(names[0]) + 1 :], place)
        return
    try:
        command.make_parser(context).parse_args(list(arguments))
    except click.UsageError as error:
        raise AssertionError(f"{place}: toprung {command.name}: {error.message}") from error


def test_options_that_do_not_exist_are_found_out():
    for wrong in (["serve", "--libary", "titles"], ["severe"], ["bench", "abr", "--dta", "x"], ["play", "--trace"]):
        with pytest.raises(AssertionError):
            check_command_line(root, wrong, "here")
