"""docker/ as far as it can be held against real programs without a Docker engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from installation import Installation
from nginx import nginx
from prometheus import DOCKER, program
from serve_process import ask, served
from serving import FAST_PATH, enhanced_library
from titles import CLIP

PROXY = DOCKER / "nginx" / "nginx.conf"
COMPOSE = (DOCKER / "compose.yaml").read_text()


@contextmanager
def nginx_before(server: str, folder: Path) -> Iterator[str]:
    """The shipped nginx.conf in front of one server, on a free port; yields its URL."""
    configuration = PROXY.read_text().replace("server:8080", urlsplit(server).netloc)
    with nginx(configuration.replace("alias /library/", f"alias {folder}/library/"), folder) as url:
        yield url


def test_nginx_takes_its_configuration(tmp_path):
    done = subprocess.run(
        [program("nginx"), "-t", "-c", str(PROXY), "-e", str(tmp_path / "log")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nginx_passes_on_sessions_ranges_and_cmcd_and_keeps_metrics_to_itself(tmp_path):
    (tmp_path / "library").mkdir()
    with (
        served("--library", str(enhanced_library(tmp_path / "library"))) as server,
        nginx_before(server, tmp_path) as url,
    ):
        session = json.loads(ask(f"{url}sessions", b'{"title": "bbb"}')[1])["id"]
        segment = f"sessions/{session}/video/1.m4s"
        status, body, headers = ask(f"{url}{segment}", CMCD_Request="bl=2000,mtp=3000")
        assert status == 200
        assert json.loads(ask(f"{server}sessions/{session}")[1])["throughput_bps"] is None, "mtp came through"
        assert body == ask(f"{server}{segment}")[1]
        assert headers["Toprung-Rendition"] == ask(f"{server}{segment}")[2]["Toprung-Rendition"]
        status, part, _ = ask(f"{url}titles/bbb/video/720p/seg-00001.m4s", Range="bytes=100-199")
        assert (status, len(part)) == (206, 100)
        assert ask(f"{url}titles/%2e%2e/%2e%2e/etc/passwd")[0] in (400, 404)
        for hidden in ("metrics", "//metrics", "%6detrics", "qoe", "qoe/feed", f"qoe/{session[:16]}/log", "./q%6fe"):
            assert ask(f"{url}{hidden}")[0] == 404, hidden
        assert ask(f"{server}qoe/{session[:16]}/log")[0] == 200
        assert ask(f"{server}metrics")[0] == 200


@pytest.mark.skipif(not FAST_PATH, reason="without the fast path the server sends the bytes itself")
def test_nginx_sends_by_itself_what_the_server_decides(tmp_path):
    (tmp_path / "library").mkdir()
    library = enhanced_library(tmp_path / "library")
    config = tmp_path / "server.toml"
    config.write_text("accel_location = '/library/'\n")
    with (
        served("--library", str(library), "--config", str(config)) as server,
        nginx_before(server, tmp_path) as url,
    ):
        session = json.loads(ask(f"{url}sessions", b'{"title": "bbb"}')[1])["id"]
        _, body, headers = ask(f"{url}sessions/{session}/video/1.m4s", CMCD_Request="bl=2000,mtp=3000")
        rendition = headers["Toprung-Rendition"]
        file = library / "bbb" / "video" / rendition / "seg-00001.m4s"
        assert body == file.read_bytes()
        assert "ETag" not in headers, "the server's own answers have one"
        assert f'r="{rendition}"' in headers["CMSD-Dynamic"] and headers["Toprung-Reason"]
        assert headers["Cache-Control"] == "private, no-store" and headers["Content-Type"] == "video/iso.segment"
        assert headers["Access-Control-Allow-Origin"] == headers["Timing-Allow-Origin"] == "*"
        _, silent, headers = ask(f"{url}sessions/{session}/video/2.m4s")
        assert silent and "ETag" in headers, "of who tells nothing the server must see its own sends"
        assert ask(f"{url}titles/bbb/video/{rendition}/seg-00001.m4s")[1] == file.read_bytes()
        assert ask(f"{url}library/bbb/video/{rendition}/seg-00001.m4s")[0] == 404, "not by asking for it"
        asked = ask(f"{server}titles/bbb/title.json", X_Accel_Location="/library/")
        assert asked[0] == 200 and asked[1], "only media is referred to"


def test_the_tools_image_prepares_and_plays_with_nothing_but_what_it_holds(tmp_path):
    extras = re.findall(r"pip install .*'\.\[(.+)\]'", (DOCKER / "tools.Dockerfile").read_text())
    assert extras == ["player"]
    image = Installation(tmp_path / "image", *extras)
    (tmp_path / "library").mkdir()
    with served("--library", str(enhanced_library(tmp_path / "library"))) as url:
        plain = ("--families", "none", "--speed", "max", "--out", tmp_path / "report")
        done = image.run("play", url, "--title", "bbb", *plain)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()
    done = image.run("prepare", CLIP, "--library", tmp_path / "out", "--heights", "90", "--preset", "ultrafast")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["server", "tools"])
def test_images_run_as_somebody_and_get_no_more_than_they_need(name):
    dockerfile = (DOCKER / f"{name}.Dockerfile").read_text()
    assert re.search(r"^USER \d{4,}$", dockerfile, re.MULTILINE)
    ignored = (DOCKER / f"{name}.Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*", "only what is named is sent to the builder"
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for path in copied.split():
            assert (DOCKER.parent / path).exists()
            assert f"!{path}" in ignored


def test_compose_takes_the_composition(tmp_path):
    """Debian's docker-compose (1.29) does not know `name` yet; everything else it checks."""
    shutil.copytree(DOCKER, tmp_path / "docker")
    file = tmp_path / "docker" / "compose.yaml"
    file.write_text(COMPOSE.replace("name: toprung\n", "", 1))
    done = subprocess.run(
        [program("docker-compose"), "-f", str(file), "config", "--services"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    usual = {"nginx", "server", "redis", "prepare", "viewer", "prometheus", "grafana"}
    assert set(done.stdout.split()) - {"edge"} == usual, "the edge node comes only with its profile"


def test_addresses_of_their_own_are_given_to_nobody_else():
    """Else a server that starts first may take nginx's."""
    given = ip_network(re.findall(r"ip_range: (\S+)", COMPOSE)[0])
    subnet = ip_network(re.findall(r"subnet: (\S+)", COMPOSE)[0])
    fixed = [ip_address(found) for found in re.findall(r"ipv4_address: (\S+)", COMPOSE)]
    assert given.subnet_of(subnet) and len(fixed) == 2
    assert all(address in subnet and address not in given for address in fixed)


def test_the_servers_know_where_the_proxy_has_the_library():
    told = re.search(r"X-Accel-Location (\S+);", (DOCKER / "nginx" / "nginx.conf").read_text())
    assert told
    assert f"TOPRUNG_ACCEL_LOCATION: {told[1]} " in COMPOSE


def test_the_servers_trust_the_proxy_and_prometheus_by_their_addresses():
    trusted = re.search(r"TOPRUNG_TRUSTED_PEERS: (\S+)", COMPOSE)[1].split(",")
    assert set(re.findall(r"ipv4_address: (\S+)", COMPOSE)) == set(trusted) - {"127.0.0.1"}


def test_every_service_is_hardened_and_every_file_it_mounts_is_there():
    services = re.split(r"\n  (?=\w+:\n)", COMPOSE.split("\nservices:\n")[1].split("\nnetworks:")[0])
    assert len(services) == 7
    for service in services:
        assert "<<: *hardened" in service, service
    for mounted in re.findall(r"- (\./\S+?):", COMPOSE):
        assert (DOCKER / mounted).exists(), mounted
