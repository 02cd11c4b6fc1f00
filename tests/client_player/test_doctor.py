"""The doctor: sound on a sound machine, and each thing that is missing comes with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from client_player import doctor


def _run(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from abr.cli import main; main()", "doctor", "--json"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_a_machine_that_runs_these_tests_is_sound() -> None:
    result = _run()
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    needed = [finding for finding in findings.values() if finding["needed"]]
    assert len(needed) >= 7
    assert [finding for finding in needed if not finding["ok"]] == []
    assert result.returncode == 0


def test_without_a_working_ffmpeg_it_says_what_to_do_and_fails() -> None:
    result = _run(IMAGEIO_FFMPEG_EXE="/nowhere/ffmpeg")
    findings = {finding["name"].lower(): finding for finding in json.loads(result.stdout)}
    assert not findings["quality meter"]["ok"] and findings["quality meter"]["advice"]
    assert result.returncode == 1


def test_a_build_for_cuda_without_a_driver_is_told_to_be_larger_than_needed(tmp_path: Path) -> None:
    installed = tmp_path / "nvidia_cublas-13.0.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: nvidia-cublas\nVersion: 13.0.0\n")
    result = _run(PYTHONPATH=str(tmp_path), PATH=str(tmp_path))
    finding = next(finding for finding in json.loads(result.stdout) if finding["name"] == "PyTorch")
    assert not finding["ok"] and not finding["needed"]
    assert "with CUDA" in finding["found"] and "CPU build" in finding["advice"]


def test_what_is_only_nice_to_have_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> doctor.Finding:
        return doctor.Finding(name="Toaster", ok=False, found="none", advice="Buy one.", needed=False)

    monkeypatch.setattr(doctor, "CHECKS", (doctor.python, missing))
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 0 and "Buy one." in result.output


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Finding:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    result = CliRunner().invoke(doctor.doctor, [])
    assert result.exit_code == 1 and "on fire" in result.output
