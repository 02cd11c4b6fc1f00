"""Files are whole or not there, and a folder is worked in by one process at a time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from abr.errors import InputError, StorageError
from abr.files import file_sha256, lock_folder, write_atomically, write_file

FULL = """
import resource, sys
from pathlib import Path
from abr.errors import StorageError
from abr.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_atomically(Path(sys.argv[1]), b"x" * 1000)
except StorageError as error:
    print(error)
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_disk_that_is_full_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.json"
    write_atomically(path, b"old")
    assert python(FULL, path).stdout.strip() == f"Cannot write {path}: File too large; free some space."
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path], "nothing half-written beside it"


def test_a_written_file_is_the_only_one_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"2")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"2")]


def test_what_cannot_be_written_says_so() -> None:
    with pytest.raises(StorageError, match="Cannot write /proc/nothing/file: No such file"):
        write_file(Path("/proc/nothing/file"), b"")


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "film.mp4").write_bytes(data)
    assert file_sha256(tmp_path / "film.mp4") == hashlib.sha256(data).hexdigest()
    with pytest.raises(InputError, match="There is no file"):
        file_sha256(tmp_path)


def test_a_folder_is_held_by_one_process_until_its_lock_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "library" / "work"
    with lock_folder(folder, busy="Somebody else is at it."):
        code = "import sys; from pathlib import Path; from abr.files import lock_folder; "
        code += "lock_folder(Path(sys.argv[1]), busy='Somebody else is at it.')"
        with pytest.raises(subprocess.CalledProcessError) as refused:
            python(code, folder)
        assert "InputError: Somebody else is at it." in refused.value.stderr
    with lock_folder(folder, busy="Somebody else is at it."):
        pass
