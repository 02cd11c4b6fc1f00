"""File descriptors: a server with few of them serves everybody, and says in one line when it has none left."""

from __future__ import annotations

import http.client
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serve_process import counted, serving
from waiting import wait_until

from server.open_files import budget

LARGE_BYTES = 300_000
"""More than is kept in memory, so that the file itself is kept open."""
SEGMENTS = 300


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """These tests serve from another process."""


@pytest.fixture(scope="module")
def long_library(library: Path) -> Iterator[Path]:
    """A title of many large segments, which take no room on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(library, Path(folder) / "library"))
        for number in range(100, 100 + SEGMENTS):
            with (copy / "bbb" / "video" / "180p" / f"seg-{number:05d}.m4s").open("wb") as file:
                file.truncate(LARGE_BYTES)
        yield copy


def connected(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)


def fetch(viewer: http.client.HTTPConnection, number: int, **headers: str) -> tuple[int, int]:
    """The status, and how many bytes came."""
    viewer.request("GET", f"/titles/bbb/video/180p/seg-{number:05d}.m4s", headers=headers)
    answer = viewer.getresponse()
    return answer.status, len(answer.read())


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-"}], ids=["fast path", "aiohttp"])
def test_a_long_film_takes_no_descriptors_from_other_viewers(long_library, headers):
    with serving("--library", str(long_library), open_files=(160, 160)) as (url, _):
        viewer = connected(url)
        expected = 206 if headers else 200
        for number in range(100, 100 + SEGMENTS):
            assert fetch(viewer, number, **headers) == (expected, LARGE_BYTES)
        others = [connected(url) for _ in range(30)]
        assert [fetch(other, 100 + index, **headers) for index, other in enumerate(others)] == [
            (expected, LARGE_BYTES)
        ] * 30
        assert 60 < counted(url, "toprung_open_file_descriptors") <= 160, "as it is now"


def test_the_soft_limit_is_raised_to_the_hard_one(long_library):
    with serving("--library", str(long_library), open_files=(64, 5000)) as (url, process):
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (5000, 5000)
        wait_until(lambda: counted(url, "toprung_max_file_descriptors") == 5000, "the gauge to tell the limit")


def test_a_server_without_descriptors_says_so_in_one_line_and_goes_on_when_it_has_some(long_library, tmp_path):
    told = tmp_path / "stderr"
    with told.open("w") as errors, serving("--library", str(long_library), errors=errors.fileno()) as (url, process):
        here = connected(url)
        fetch(here, 100)
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (5, limits[1]))
        with closing(connected(url)) as turned_away:
            turned_away.connect()
            wait_until(lambda: "no connection can be accepted" in told.read_text(), "the log to say it")
            here.request("GET", "/metrics")
            shown = here.getresponse().read().decode()
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
            assert fetch(turned_away, 101) == (200, LARGE_BYTES), "it waited, and was served"
        assert "toprung_open_file_descriptors 0.0" not in shown
        assert len(told.read_text().splitlines()) == 1


@pytest.mark.parametrize("limit", [128, 256, 1024, 20_000, 65_536])
def test_what_is_shared_out_leaves_a_reserve(limit):
    shared = budget(limit)
    assert min(shared.cached_files, shared.connections) > 0
    assert shared.cached_files + shared.connections <= limit - max(48, limit // 8)
