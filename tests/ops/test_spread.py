"""`toprung prepare` of many sources: in processes here and on a Ray cluster, undisturbed and with a worker killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import pytest
from serve_process import clean_environment
from titles import CLIP

NAMES = tuple(f"part-{index}" for index in range(6))
FLAGS = ("--preset", "ultrafast", "--heights", "90", "--segment-seconds", "0.5", "--vmaf-every", "6", "--jobs", "2")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six half seconds of the test clip, at a quarter of its size."""
    folder = tmp_path_factory.mktemp("sources")
    with av.open(CLIP) as container:
        frames = [frame.reformat(320, 180) for frame in container.decode(video=0)]
    for index, name in enumerate(NAMES):
        with av.open(folder / f"{name}.mp4", "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "threads": "1"})
            stream.width, stream.height = 320, 180
            for count, frame in enumerate(frames[20 * index : 20 * index + 12]):
                frame.pts, frame.time_base = count, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (folder / "broken.mp4").write_bytes(CLIP.read_bytes()[:30_000])
    return folder


def start(
    sources: Path, library: Path, *names: str, ray: bool = False, more: Sequence[str] = ()
) -> subprocess.Popen[str]:
    files = [str(sources / f"{name}.mp4") for name in names]
    where = ("--ray", "local") if ray else ()
    command = [
        sys.executable,
        "-m",
        "abr",
        "prepare",
        *files,
        "--library",
        str(library),
        *FLAGS,
        *where,
        *more,
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())


def contents(library: Path) -> dict[str, bytes]:
    return {str(path.relative_to(library)): path.read_bytes() for path in library.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def here(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the local pool makes of all sources, a broken one among them."""
    library = tmp_path_factory.mktemp("here")
    process = start(sources, library, NAMES[0], "broken", *NAMES[1:])
    output, errors = process.communicate()
    assert process.returncode == 2, errors
    assert sorted(json.loads(line)["title"] for line in output.splitlines()) == sorted(NAMES)
    assert errors.count("\n") == 1
    assert "broken.mp4" in errors
    return library


def holder(library: Path) -> int | None:
    """The process that works on some title of the library: it holds the lock."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # processes and their files come and go meanwhile
            for entry in (folder / "fd").iterdir():
                target = _target(entry)
                if target.startswith(str(library)) and target.endswith("/lock"):
                    return int(folder.name)
    return None


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def test_ray_makes_the_same_titles_though_a_worker_is_killed(sources, here, tmp_path):
    pytest.importorskip("ray")
    process = start(sources, tmp_path, *NAMES, ray=True)
    killed = kill_one(tmp_path, process)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert killed
    assert sorted(json.loads(line)["title"] for line in output.splitlines()) == sorted(NAMES)
    assert contents(tmp_path) == contents(here)


def test_a_time_limit_holds_on_ray(sources, tmp_path):
    pytest.importorskip("ray")
    process = start(sources, tmp_path, *NAMES[:2], ray=True, more=("--time-limit", "0.1s"))
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert sorted(errors.splitlines()) == [
        f"toprung: {name}.mp4: was not done after 0.1 s, the limit." for name in NAMES[:2]
    ]
    assert not [entry for entry in tmp_path.iterdir() if not entry.name.startswith(".")]


def kill_one(library: Path, process: subprocess.Popen[str]) -> bool:
    """SIGKILL to the first process that is seen working on a title."""
    tick = threading.Event()
    while process.poll() is None:
        if (worker := holder(library)) is not None:
            os.kill(worker, signal.SIGKILL)
            return True
        tick.wait(0.01)
    return False
