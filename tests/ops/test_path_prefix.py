"""Below a path of a proxy: links, manifests, pages and the player all stay there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import pytest
from aiohttp.test_utils import TestClient, TestServer
from nginx import nginx
from serve_process import ask, served
from serving import FAST_PATH, enhanced_library

from client_player.session.request import PlayRequest
from client_player.session.run import play
from server.app import create_app
from server.http.pages import WEB, page_files
from server.settings import Settings

CONFIG = """
worker_processes 1; pid /tmp/pid; error_log /tmp/error.log;
events {{ worker_connections 64; }}
http {{
  access_log /tmp/access.log;
  client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
  uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
  server {{ listen 8080;
    location /video/ {{ proxy_pass {server}; {said} proxy_http_version 1.1; }} }}
}}
"""
SAID = {"said": "proxy_set_header X-Forwarded-Prefix /video;", "not said": ""}


@contextmanager
def nginx_under_a_path(server: str, folder: Path, said: str) -> Iterator[str]:
    """The URL under which nginx shows the server."""
    with nginx(CONFIG.format(server=server, said=said), folder) as url:
        yield f"{url}video/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served("--library", str(enhanced_library(tmp_path_factory.mktemp("library")))) as url:
        yield url


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_our_player_plays_below_a_path(server, tmp_path, said):
    with nginx_under_a_path(server, tmp_path, said) as url:
        outcome = play(PlayRequest(url=url, title="bbb"))
    assert outcome.summary.ended == "finished"
    asked = re.findall(r'"[A-Z]+ (\S+) HTTP', (tmp_path / "access.log").read_text())
    assert any(path.endswith("/events") for path in asked)
    assert [path for path in asked if not path.startswith("/video/")] == []


def test_urls_in_answers_lead_where_they_should(server, tmp_path):
    with nginx_under_a_path(server, tmp_path, SAID["said"]) as url:
        links = json.loads(ask(url)[1])
        assert links["titles"] == "/video/titles"
        (title,) = json.loads(ask(urljoin(url, links["titles"]))[1])["titles"]
        status, body, headers = ask(f"{url}sessions", b'{"title": "bbb"}')
        opened = json.loads(body)
        assert status == 201
        for told in (
            *(links[name] for name in ("openapi", "metrics", "qoe")),
            *(title["manifest_url"], title["hls_url"], headers["Location"]),
            *(opened[name] for name in ("manifest_url", "hls_url", "advised_url", "title_url")),
        ):
            assert told.startswith("/video/")
            assert ask(urljoin(url, told))[0] == 200, told
        segment = f"/video/sessions/{opened['id']}/video/1.m4s"
        assert ask(urljoin(url, segment))[0] == 200


@pytest.mark.parametrize(
    ("page", "path"),
    [
        ("index.html", "/video/"),
        ("qoe.html", "/video/qoe"),
        ("session.html", "/video/qoe/x"),
        ("rate.html", "/video/rate"),
    ],
)
def test_pages_name_nothing_outside_of_their_path(page, path):
    for link in re.findall(r'(?:href|src)="([^"#]+)"', (WEB / page).read_text()):
        assert urljoin(path, link).startswith("/video/"), link


def test_scripts_ask_for_nothing_outside_of_their_path():
    scripts = {
        name: file.body.decode()
        for name, file in page_files().items()
        if name.endswith(".js") and "vendor/" not in name
    }
    absolute = re.compile(r"[\"'`]/(?:titles|sessions|qoe|web|metrics|healthz|openapi)\b")
    assert scripts and not [name for name, text in scripts.items() if absolute.search(text)]


@pytest.mark.parametrize(
    ("setting", "header", "prefix"),
    [
        ("", "", ""),
        ("/video", "", "/video"),
        ("/video/", "", "/video"),
        ("/video", "/tv", "/tv"),
        ("", "/a/b/", "/a/b"),
        ("", "//evil.example", ""),
        ("", '/x"y', ""),
        ("", "https://evil.example/", ""),
        ("", "/", ""),
    ],
)
async def test_the_prefix_is_told_by_the_proxy_or_set_and_nothing_but_a_path(library_folder, setting, header, prefix):
    settings = Settings(library=str(library_folder), path_prefix=setting, fast_path=FAST_PATH)
    async with TestClient(TestServer(create_app(settings))) as client:
        answer = await client.get("/", headers={"X-Forwarded-Prefix": header} if header else {})
        assert (await answer.json())["titles"] == f"{prefix}/titles"


@pytest.fixture
def library_folder(tmp_path) -> Path:
    return tmp_path
