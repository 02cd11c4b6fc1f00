"""Schemathesis reads /openapi.json and tries to catch the server at odds with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serve_process import ask, clean_environment, served
from serving import enhanced_library

CONFIG = """
suppress-health-check = ["all"]
[parameters]
"path.title" = "bbb"
"path.file" = "video/180p/seg-00001.m4s"
"path.number" = "1"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 404, 409, 422, 429]
"""
UNREADABLE = "/(feed|cmcd)$"
"""A stream of events never ends; bodies of application/cmcd are unknown to Schemathesis (test_fuzz makes those)."""
PROGRAM = Path(sys.executable).with_name("st")


def test_the_server_keeps_what_its_description_promises(tmp_path):
    (tmp_path / "library").mkdir()
    library = enhanced_library(tmp_path / "library")
    with served("--library", str(library), "--private-telemetry") as url:
        config = tmp_path / "schemathesis.toml"
        config.write_text(CONFIG)
        command = [PROGRAM, "--config-file", config, "run", f"{url}openapi.json"]
        command += ["--max-examples", "5", "--seed", "1", "--checks", "all"]
        command += ["--exclude-path-regex", UNREADABLE]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        assert ask(f"{url}healthz")[0] == 200
