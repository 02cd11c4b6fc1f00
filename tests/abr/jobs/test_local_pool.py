"""Many jobs at once: failures stay with their job, dead processes are replaced, and nobody outlives the crew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from crew_jobs import do, here, inherited

from abr.errors import InputError
from abr.jobs.local_pool import JobFailure, LocalPool
from abr.jobs.ray_pool import RayPool

WAYS = ("goes", "refuses", "breaks", "dies once", "dies", "takes memory")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], list[tuple[object, ...]]]:
    folder = tmp_path_factory.mktemp("jobs")
    told: list[tuple[object, ...]] = []
    crew = LocalPool(2, lambda job, *what: told.append((job[0], *what)), memory_bytes=4 << 30)
    found = {done.job[0]: done.outcome for done in crew.work(do, [(how, folder) for how in WAYS])}
    return found, told


def test_a_job_that_fails_leaves_the_others_alone(outcomes):
    found, _ = outcomes
    assert set(found) == set(WAYS)
    assert found["goes"] == "goes well"
    assert found["refuses"] == JobFailure(sentence="This one cannot be used.", exit_code=2)
    assert found["breaks"].exit_code == 1
    assert "a bug" in found["breaks"].sentence


def test_no_process_is_a_fork_of_one_with_threads(monkeypatch):
    """Nor of a crew after the first, before which Python has settled on a way to start processes of its own."""
    monkeypatch.setattr("crew_jobs.here", [*here, "the parent's"])
    assert [done.outcome for _ in range(2) for done in LocalPool(1).work(inherited, ["job"])] == [[], []]


def test_a_process_that_dies_is_replaced_once(outcomes):
    found, told = outcomes
    assert found["dies once"] == "dies once well"
    assert "was ended by SIGKILL, 2 times" in found["dies"].sentence
    assert sum(line[0] == "dies" for line in told) == 2


def test_a_job_has_bounded_memory(outcomes):
    assert "MemoryError" in outcomes[0]["takes memory"].sentence


def test_a_job_that_takes_too_long_is_ended_and_the_others_go_on(tmp_path):
    crew = LocalPool(1, limit_s=5.0)
    found = [done.outcome for done in crew.work(do, [("hangs", tmp_path), ("goes", tmp_path)])]
    assert found == [JobFailure(sentence=f"{('hangs', tmp_path)}: was not done after 5 s, the limit."), "goes well"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "hangs").read_text()), 0)


def test_progress_is_heard(outcomes):
    assert ("goes", "goes", 2.0, 1.0) in outcomes[1]


PARENT = """
import sys
from pathlib import Path
from abr.jobs.local_pool import LocalPool
from crew_jobs import do, here, inherited
for _ in LocalPool(1, lambda *told: print(told, flush=True)).work(do, [("hangs", Path(sys.argv[1]))]):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_works_on_after_the_parent_is_gone(tmp_path, number):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # whoever runs tests in the background ignores it
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, preexec_fn=listening
    ) as parent:
        assert parent.stdout.readline()
        parent.send_signal(number)
        assert parent.stdout.read() == b"", "the pipe ends when the last of them is gone"


def test_a_cluster_that_is_not_there_is_one_sentence():
    with pytest.raises(InputError, match="There is no Ray cluster at"):
        RayPool("nonsense://somewhere")
