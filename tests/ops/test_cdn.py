"""The server decides, a CDN sends: a real nginx that keeps what it fetched."""

from __future__ import annotations

from cdn import asked, cdn
from ports import free_port
from serve_process import counted, served
from serving import enhanced_library

from abr.core.events import Decided
from abr.core.title import segment_file
from client_player.session.request import PlayRequest
from client_player.session.run import play
from server.media.library import Library


def test_each_file_is_fetched_once_however_many_watch(tmp_path):
    library = enhanced_library(tmp_path / "library")
    title, port = Library(library).title("bbb"), free_port()
    kept = tmp_path / "cdn"
    kept.mkdir()
    with (
        cdn(f"http://127.0.0.1:{port}", kept) as base,
        served("--library", str(library), "--port", str(port), "--media-base", base) as url,
    ):
        outcomes = [play(PlayRequest(url=url, title="bbb")) for _ in range(3)]
        redirects = counted(url, 'toprung_http_requests_total{method="GET",route="getSessionSegment",status="307"}')
        sent = counted(url, 'toprung_http_response_bytes_total{route="getSessionSegment"')
    chosen = [
        f"/titles/bbb/v-{title.version}/video/{event.rendition}/{segment_file(event.segment)}"
        for outcome in outcomes
        for event in outcome.events
        if isinstance(event, Decided)
    ]
    assert [outcome.summary.ended for outcome in outcomes] == ["finished"] * 3
    assert len(chosen) == redirects == 3 * len(title.segment_frames) and sent == 0
    told = asked(kept)
    for path in set(chosen):
        assert told["MISS", path] == 1 and told["HIT", path] == chosen.count(path) - 1, path
    sound = [path for _, path in told if "/audio/" in path]
    assert sound and all(told["MISS", path] == 1 for path in sound)
