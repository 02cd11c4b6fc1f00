"""A real Prometheus, and promtool, from Debian's package `prometheus`."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ports import free_port

T = TypeVar("T")

DOCKER = Path(__file__).parents[3] / "docker"


def program(name: str) -> str:
    """Its path; skips the test where it cannot be had."""
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin") or shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on this machine; `make test` installs it where there is apt")
    return path


def promtool(*arguments: str, given: str = "") -> str:
    """Runs it in docker/prometheus; fails the test when it finds anything, and returns what it said."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=given, cwd=DOCKER / "prometheus", capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def get(self, path: str, **arguments: object) -> Any:
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}", timeout=120
        ) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that answers."""
        found = self.get("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def wait(self, holds: Callable[[], T], what: str, limit_s: float = 200) -> T:
        """Asks again and again until `holds` is true of what was scraped."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            if found := holds():
                return found
            time.sleep(0.1)  # nobody tells when a scrape happened
        raise AssertionError(f"Prometheus did not see within {limit_s:.0f} s: {what}")


@contextmanager
def running_prometheus(target: str, folder: Path, *others: str) -> Iterator[Prometheus]:
    """One that scrapes targets (host:port) twice a second and evaluates the shipped rules. others: not servers."""
    jobs = {"toprung": [target], "toprung-edge": list(others)}
    scraped = [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()]
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n"
        f"rule_files: [{DOCKER / 'prometheus' / 'toprung.rules.yml'}]\n"
        f"scrape_configs: {json.dumps(scraped)}\n"
    )
    port = free_port()
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=error",
    )
    process = subprocess.Popen([program("prometheus"), *options], cwd=folder)
    try:
        found = Prometheus(f"http://127.0.0.1:{port}")
        found.wait(lambda: _answers(found), "itself")
        yield found
    finally:
        process.terminate()
        process.wait(timeout=120)


def _answers(prometheus: Prometheus) -> bool:
    try:
        return bool(prometheus.get("status/runtimeinfo"))
    except OSError:
        return False
