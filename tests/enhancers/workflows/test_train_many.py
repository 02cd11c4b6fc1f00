"""`toprung train` of several titles: each finds its own source, and what belongs to one title is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from titles import CLIP, prepared_library

from abr.errors import InputError
from enhancers.cli.train import train
from enhancers.workflows.train_job import source_of


def test_sources_are_found_by_the_names_that_titles_were_prepared_from(tmp_path: Path) -> None:
    library = prepared_library().root
    assert source_of(library, "bbb", CLIP.parent) == CLIP
    assert source_of(library, "nobody", CLIP.parent) is None
    with pytest.raises(InputError, match=rf"There is no {CLIP.name} in"):
        source_of(library, "bbb", tmp_path)


@pytest.mark.parametrize("option", ["--source", "--weights"])
def test_what_belongs_to_one_title_is_refused_for_several(tmp_path: Path, option: str) -> None:
    given = tmp_path / "given"
    given.mkdir() if option == "--weights" else given.touch()
    ran = CliRunner().invoke(train, ["one", "two", "--library", str(tmp_path), option, str(given)])
    assert ran.exit_code == 2
    assert "belong to one title" in ran.stderr
