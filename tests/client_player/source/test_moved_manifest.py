"""A manifest that a server sends on to another place: what it names, and what lies beside it, is there."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from served import listening, serving
from serving import enhanced_library

from client_player.source.base import SourceListener
from client_player.source.local_session import LocalRequest, LocalSource, open_local
from client_player.transport.http import HttpTransport, SessionClock, http_pool

QUIET = SourceListener(on_reply=lambda _kind, _reply: None, on_failure=lambda _detail: None)


async def moved(library: Path) -> tuple[LocalSource, str]:
    async with serving(str(library)) as home:

        async def redirect(_: web.Request) -> web.Response:
            raise web.HTTPFound(f"{home}titles/bbb/manifest.mpd")

        app = web.Application()
        app.router.add_get("/watch/film.mpd", redirect)
        async with listening(app) as old, http_pool() as pool:
            request = LocalRequest(manifest_url=f"{old}watch/film.mpd", controller="toprung", profile=None, families=())
            transport = HttpTransport(pool, SessionClock())
            return await open_local(request, transport=transport, listener=QUIET), home


async def test_relative_urls_start_from_where_the_manifest_came_from(tmp_path):
    source, home = await moved(enhanced_library(tmp_path))
    assert source.has_own_tables
    assert source.title_url == f"{home}titles/bbb/"
    for track in source.presentation.video:
        assert track.init_url.startswith(f"{home}titles/bbb/v-{source.title.version}/video/")
        assert all(segment.url.startswith(f"{home}titles/bbb/v-") for segment in track.segments)
