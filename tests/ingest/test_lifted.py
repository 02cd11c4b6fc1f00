"""Sources lifted to a display above their own size: `toprung prepare --display`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip

from abr.core.title import LIFTED_FILE, Title
from abr.errors import InputError, MediaError, ToprungError, UnknownNameError
from abr.media.planes import luma_of
from abr.media.probe import probe
from abr.media.source_frames import display_frames, reference_frames
from abr.progress import no_bars
from enhancers.prepared_title import open_title
from server.ingest.cli import prepare
from server.ingest.encode_settings import EncodeSettings
from server.ingest.kernels import lift_source
from server.ingest.prepare import Prepared, prepare_title
from server.media.library import Library, path_in

FRAMES = 12
RECIPE = EncodeSettings(heights_px=(64, 128), preset="ultrafast", vmaf_every=60, panel_every=0, display_px=256)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    return make_clip(folder / "film.mp4", width_px=192, height_px=128, frames=FRAMES, sound_s=0.6)


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_title(source, Library(tmp_path_factory.mktemp("titles")), RECIPE)


def shape(title: Title) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    sizes = [(each.width_px, each.height_px) for each in title.renditions]
    return (title.display_width_px, title.display_height_px), sizes


def test_the_display_is_larger_than_the_source_and_no_rung_is(prepared: Prepared) -> None:
    assert shape(prepared.title) == ((384, 256), [(96, 64), (192, 128)])
    assert sum(prepared.title.segment_frames) == FRAMES
    assert len(prepared.title.audio) == 1


def test_the_title_tells_its_source_and_is_there_already_when_asked_again(source: Path, prepared: Prepared) -> None:
    came = prepared.title.source
    assert (came.name, came.width_px, came.height_px) == ("film.mp4", 192, 128)
    again = prepare_title(source, Library(prepared.folder.parent), RECIPE)
    assert again.already
    with pytest.raises(InputError, match="by another recipe"):
        prepare_title(source, Library(prepared.folder.parent), EncodeSettings(heights_px=(64, 128)))


def test_what_it_was_lifted_to_is_kept_and_never_served(prepared: Prepared) -> None:
    assert (prepared.folder / LIFTED_FILE).is_file()
    with pytest.raises(UnknownNameError):
        path_in(prepared.folder, LIFTED_FILE)


def test_enhancers_are_compared_with_what_the_source_was_lifted_to(source: Path, prepared: Prepared) -> None:
    frames = list(open_title(prepared.folder.parent, "film", source).source_frames())
    lifted = prepared.folder / LIFTED_FILE
    expected = list(display_frames(lifted, probe(lifted)))
    assert len(frames) == len(expected) == FRAMES
    for frame, other in zip(frames, expected, strict=True):
        assert np.array_equal(luma_of(frame.picture), luma_of(other))
    kept = lifted.read_bytes()
    lifted.unlink()
    try:
        with pytest.raises(InputError, match="prepare the title again"):
            open_title(prepared.folder.parent, "film", source)
    finally:
        lifted.write_bytes(kept)


def test_the_source_itself_is_nothing_to_compare_pictures_with(source: Path, prepared: Prepared) -> None:
    with pytest.raises(MediaError, match=r"compare with \.lifted\.mkv"):
        list(reference_frames(source, prepared.title))
    lifted = prepared.folder / LIFTED_FILE
    assert len(list(reference_frames(lifted, prepared.title))) == FRAMES


def test_a_display_that_is_no_larger_is_refused_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    recipe = EncodeSettings(heights_px=(64,), display_px=128)
    with pytest.raises(InputError, match="192x128"):
        prepare_title(source, Library(tmp_path), recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_is_told_of(source: Path, tmp_path: Path) -> None:
    dies = (sys.executable, "-c", "import os; os._exit(7)")
    with pytest.raises(ToprungError, match=r"film\.mp4 ended with code 7"):
        lift_source(tmp_path, source, probe(source), 256, no_bars, dies)


def test_lifting_ends_with_who_asked_for_it(source: Path, tmp_path: Path) -> None:
    """Its stdin ends when its parent does, by whatever cause."""
    track = tmp_path / "kernels.json"
    track.write_text("{}")
    arguments = [str(source), "--display", "256", "--out", str(tmp_path / "out.mkv"), "--kernels", str(track)]
    command = [sys.executable, "-m", "enhancers.workflows.lift_source", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.communicate(timeout=120)  # closes stdin
    assert process.returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernels.json"]


@pytest.mark.parametrize("text", ["0", "1081p", "2160p", "-720", "720.5", "big", "³"])
def test_a_display_that_cannot_be_is_refused(text: str, source: Path, tmp_path: Path) -> None:
    library = tmp_path / "titles"
    refused = CliRunner().invoke(prepare, [str(source), "--library", str(library), f"--display={text}"])
    assert refused.exit_code == 2 and "128p to 1080p" in refused.output
    assert not library.exists()
