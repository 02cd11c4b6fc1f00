"""The server's image holds what `toprung serve` imports, and what it imports is light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from installation import Installation
from serve_process import ask
from serving import enhanced_library

DOCKERFILE = (Path(__file__).parents[2] / "docker" / "server.Dockerfile").read_text()
LEFT_OUT = {"av", "imageio-ffmpeg"}
"""Packages whose modules the Dockerfile removes."""


def test_the_image_is_the_base_install_without_what_opens_video():
    assert re.search(r"pip install .* \. ", DOCKERFILE)
    removed = set(re.findall(r"site-packages/(\S+)", DOCKERFILE))
    assert {name.partition(".")[0].replace("_", "-") for name in removed} == LEFT_OUT


def test_the_server_decides_and_serves_with_nothing_but_what_its_image_holds(tmp_path):
    image = Installation(tmp_path / "image", without=LEFT_OUT)
    (tmp_path / "library").mkdir()
    options = ("--library", enhanced_library(tmp_path / "library"), "--port", 0, "--log-level", "error")
    with image.running("serve", *options) as url:
        session = json.loads(ask(f"{url}sessions", b'{"title": "bbb"}')[1])["id"]
        status, body, headers = ask(f"{url}sessions/{session}/video/1.m4s")
        assert (status, len(body)) == (200, int(headers["Content-Length"]))
        assert {ask(f"{url}{path}")[0] for path in ("", "qoe", "metrics", "healthz", "openapi.json")} == {200}


def test_the_server_imports_nothing_heavy():
    program = "import sys, server.app, server.cli, abr.cli; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    packages = {name.partition(".")[0] for name in loaded.split()}
    assert not packages & {"torch", "av", "openvino", "safetensors", "imageio_ffmpeg", "jinja2", "rich"}
    assert "aiohttp" in packages


def test_the_image_does_not_run_as_root_and_can_be_stopped_and_checked():
    assert re.search(r"^USER \d{4,}$", DOCKERFILE, re.MULTILINE)
    assert "HEALTHCHECK" in DOCKERFILE
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE
