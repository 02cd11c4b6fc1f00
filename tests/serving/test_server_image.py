"""The server's image holds what `toprung serve` imports, and what it imports is light."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_image_installs_a_part_of_what_the_project_declares():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (ROOT / "docker" / "server-requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert set(wanted) <= set(declared)


def test_the_server_imports_nothing_that_its_image_lacks():
    """Neither torch nor codecs: every package that is loaded is one that the image installs, or comes with one."""
    program = "import sys, server.app, server.cli, abr.cli; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    packages = {name.partition(".")[0] for name in loaded.split()}
    assert not packages & {"torch", "av", "openvino", "safetensors", "imageio_ffmpeg", "jinja2", "rich"}
    assert "aiohttp" in packages


def test_the_image_does_not_run_as_root_and_can_be_stopped_and_checked():
    dockerfile = (ROOT / "docker" / "server.Dockerfile").read_text()
    assert re.search(r"^USER \d{4,}$", dockerfile, re.MULTILINE)
    assert "HEALTHCHECK" in dockerfile
    assert "STOPSIGNAL SIGTERM" in dockerfile
