"""Killed in any phase, out of space, or run twice: the title completes later, and nothing half-made is ever listed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from clips import make_clip

from server.media.library import Library

KILLED = -9
FLAGS = ["--preset", "ultrafast", "--heights", "64,108", "--segment-seconds", "1", "--vmaf-every", "60"]

CHILD = """
import os, signal, sys
from pathlib import Path
from abr.jobs import local_pool as crew
crew.START_METHOD = "fork"  # so that what is changed here is changed in the process that prepares
moment, count = sys.argv.pop(1), int(sys.argv.pop(1))

def dies(function, happens):
    seen = []
    def wrapped(*arguments, **keywords):
        if happens(*arguments):
            seen.append(1)
            if len(seen) == count:
                os.killpg(0, signal.SIGKILL)  # parent and all, as a power cut
        return function(*arguments, **keywords)
    return wrapped

import server.ingest.prepare as prepare
import server.ingest.checkpoints as work
if moment == "write":       # count-th file of the title is about to be written
    prepare.write_file = dies(prepare.write_file, lambda *_: True)
elif moment == "rename":    # the title is about to appear
    Path.rename = dies(Path.rename, lambda path, to: path.name == "title")
elif moment == "discard":   # the title has appeared, the work is still there
    work.Checkpoints.discard = dies(work.Checkpoints.discard, lambda _work: True)
else:                       # a phase is done, its record not yet written
    work.Checkpoints._save = dies(work.Checkpoints._save, lambda _work, phase, _found: phase == moment)
from abr.cli import main
sys.argv[0] = "toprung"
main()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("source") / "clip.mp4", frames=70, sound_s=2.8)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)


def command(source: Path, library: Path) -> list[str]:
    return ["prepare", str(source), "--library", str(library), *FLAGS]


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    library = tmp_path_factory.mktemp("undisturbed")
    assert run("-c", CHILD, "never", "1", *command(source, library)).returncode == 0
    return contents(library / "clip")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PHASES = ("fingerprint", "probe", "ladder", "video", "sound", "price-64p", "rename")


def test_killed_after_each_phase_in_turn_the_title_is_the_same(
    source: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    for phase in PHASES:
        assert run("-c", CHILD, phase, "1", *command(source, tmp_path)).returncode == KILLED
        assert Library(tmp_path).titles() == []
    check_again(source, tmp_path, undisturbed)


@pytest.mark.parametrize(("moment", "count"), [("write", 3), ("write", 14), ("price-108p", 1)])
def test_killed_within_a_phase_the_title_is_the_same(
    source: Path, tmp_path: Path, undisturbed: dict[str, bytes], moment: str, count: int
) -> None:
    assert run("-c", CHILD, moment, str(count), *command(source, tmp_path)).returncode == KILLED
    assert Library(tmp_path).titles() == []
    check_again(source, tmp_path, undisturbed)


def check_again(source: Path, library: Path, undisturbed: dict[str, bytes]) -> None:
    """Run once more, undisturbed: the same title, and nothing else."""
    again = run("-c", CHILD, "never", "1", *command(source, library))
    assert again.returncode == 0, again.stderr
    assert Library(library).titles() == ["clip"]
    assert contents(library / "clip") == undisturbed
    assert [entry.name for entry in library.iterdir()] == ["clip"]


def test_finished_phases_are_not_done_again(source: Path, tmp_path: Path) -> None:
    assert run("-c", CHILD, "sound", "1", *command(source, tmp_path)).returncode == KILLED
    segment = tmp_path / ".building-clip" / "title" / "video" / "108p" / "seg-00001.m4s"
    before = segment.stat().st_mtime_ns
    assert run("-c", CHILD, "never", "1", *command(source, tmp_path)).returncode == 0
    assert (tmp_path / "clip" / "video" / "108p" / "seg-00001.m4s").stat().st_mtime_ns == before


def test_another_recipe_starts_anew(source: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    other = [*command(source, tmp_path), "--crf", "40"]
    assert run("-c", CHILD, "sound", "1", *other).returncode == KILLED
    assert run("-c", CHILD, "never", "1", *command(source, tmp_path)).returncode == 0
    assert contents(tmp_path / "clip") == undisturbed


def test_a_second_run_says_that_the_title_is_there(source: Path, tmp_path: Path) -> None:
    assert run("-c", CHILD, "never", "1", *command(source, tmp_path)).returncode == 0
    before = (tmp_path / "clip" / "title.json").stat().st_mtime_ns
    again = run("-c", CHILD, "never", "1", *command(source, tmp_path))
    assert again.returncode == 0
    assert "in the library already" in again.stderr
    other = run("-c", CHILD, "never", "1", *command(source, tmp_path), "--crf", "40")
    assert other.returncode == 2
    assert "--force" in other.stderr
    assert (tmp_path / "clip" / "title.json").stat().st_mtime_ns == before
    forced = run("-c", CHILD, "never", "1", *command(source, tmp_path), "--crf", "40", "--force")
    assert forced.returncode == 0
    assert Library(tmp_path).title("clip").encoder.count("crf 40") == 1


def test_killed_right_after_the_title_appeared(source: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    assert run("-c", CHILD, "discard", "1", *command(source, tmp_path)).returncode == KILLED
    assert contents(tmp_path / "clip") == undisturbed
    forced = run("-c", CHILD, "never", "1", *command(source, tmp_path), "--force")
    assert forced.returncode == 0, forced.stderr
    assert contents(tmp_path / "clip") == undisturbed
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip"]


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from abr.cli import main
sys.argv[0] = "toprung"
main()
"""


@pytest.mark.parametrize("limit_bytes", [600, 4000])
def test_a_disk_that_takes_no_more_is_an_error_and_no_title(
    source: Path, tmp_path: Path, undisturbed: dict[str, bytes], limit_bytes: int
) -> None:
    full = run("-c", FULL, str(limit_bytes), *command(source, tmp_path))
    assert full.returncode == 1
    assert full.stderr.startswith("toprung: Cannot write")
    assert full.stderr.count("\n") == 1
    assert Library(tmp_path).titles() == []
    assert run("-c", CHILD, "never", "1", *command(source, tmp_path)).returncode == 0
    assert contents(tmp_path / "clip") == undisturbed
