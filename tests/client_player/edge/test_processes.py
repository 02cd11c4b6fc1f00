"""`toprung edge` as a process: killed in the middle of a lift, started again, and refused what cannot work."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from edge_process import edge_process
from film import film_library, measured_device
from serve_process import ask, served
from titles import prepared_title

from abr.errors import InputError
from client_player.edge.cli import edge


def lifters_of(process: subprocess.Popen[str]) -> list[int]:
    """The node's processes that lift, whichever of its threads began them."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            is_child = f"PPid:\t{process.pid}\n" in status.read_text()
            if is_child and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
    return found


def is_lifter(pid: int) -> bool:
    with suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def begun(url: str) -> bool:
    """Whether a segment is being lifted."""
    lines = ask(f"{url}metrics")[1].decode().splitlines()
    return any(line.startswith("toprung_edge_lift_queue_length") and float(line.split()[1]) for line in lines)


def test_lifters_are_replaced_and_a_node_killed_in_the_middle_of_a_lift_leaves_nothing_half_made(
    tmp_path: Path,
) -> None:
    library, (title, _) = film_library(tmp_path), prepared_title()
    measured_device(tmp_path / "cache", times=0.05)
    with served("--library", str(library)) as origin:
        with edge_process(origin, tmp_path) as (url, process):
            at = f"{url}titles/film/v-{title.version}/edge/"
            assert [ask(f"{at}{number}.m4s", User_Agent="tv")[0] for number in (1, 2)] == [200, 200]
            (first,) = lifters_of(process)
            os.kill(first, signal.SIGKILL)  # another takes its place
            while not begun(url) or lifters_of(process) in ([], [first]):
                ask(f"{at}3.m4s", User_Agent="another")
            (lifter,) = lifters_of(process)
            process.send_signal(signal.SIGKILL)
            process.wait()
        limit_s = time.monotonic() + 60
        while is_lifter(lifter):
            assert time.monotonic() < limit_s, "the lifter has outlived its node"
            os.sched_yield()
        with edge_process(origin, tmp_path) as (url, process):
            at = f"{url}titles/film/v-{title.version}/edge/"
            answers = [ask(f"{at}{number}.m4s", User_Agent="tv") for number in (1, 2, 3)]
            assert [status for status, *_ in answers] == [200] * 3
            for _, body, headers in answers:
                assert len(body) == int(headers["Content-Length"]) and body[4:8] == b"styp"
    assert not list((tmp_path / "kept").rglob("*.part"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--origin", "nonsense"), "--origin is 'nonsense'; give the URL of a Toprung server, such as http://"),
        (("--origin", "ftp://x/"), "--origin is 'ftp://x/'; give the URL of a Toprung server"),
        (("--origin", "http://localhost:1/", "--peer-url", "10.0.0.7"), "--peer-url is '10.0.0.7'; give the URL of"),
        (("--origin", "http://localhost:1/", "--redis-url", "http://x/"), "it takes redis://"),
        (("--origin", "http://localhost:1/", "--backhaul-kbps", "800", "--trace", __file__), "Give one of"),
        (("--origin", "http://localhost:1/", "--controller", "bolla"), "Did you mean 'bola'"),
    ],
)
def test_what_cannot_work_is_said_at_once(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    arguments = ["--cache", str(tmp_path / "kept"), "--families", "none", *options]
    with pytest.raises(InputError, match=said):
        edge.main(arguments, standalone_mode=False)


def test_a_folder_with_other_files_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear reader")
    with pytest.raises(InputError, match="holds other files"):
        edge.main(
            ["--cache", str(tmp_path), "--families", "none", "--origin", "http://localhost:1/"], standalone_mode=False
        )
