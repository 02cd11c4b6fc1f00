"""Players that know nothing of us play standard and server-driven titles, in a real Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from browser import chromium
from restless import RESTLESS
from served import serving
from stock_players import PLAYERS, asked_heights, decisions, opened_session, session_log, stage, watch
from titles import CLIP, MINUTE, prepared_library

from abr.core.control import Controller, Decision, Observation
from abr.core.events import Decided, Downloaded
from abr.core.title import Title
from abr.registry import Registry


class Adviser:
    """The same rung always."""

    def __init__(self, rung: int) -> None:
        self._rung = rung

    def decide(self, seen: Observation) -> Decision:
        return Decision(option=self._rung, reason=f"rung {self._rung} is enough")


ADVISERS: Registry[Callable[[], Controller]] = Registry("controller")
ADVISERS.add("lower", lambda: Adviser(1))
ADVISERS.add("top", lambda: Adviser(3))

FILM = Path(os.environ.get("TOPRUNG_FILM") or CLIP)
"""What is played to its end: `make players FILM=…`."""
QUICK = ("dashjs-5", "hls.js")
players = [pytest.param(name, marks=() if name in QUICK else pytest.mark.matrix) for name in PLAYERS]


@pytest.mark.parametrize("player", players)
async def test_server_driven_every_segment_is_shown_at_the_height_that_the_server_chose(player: str):
    library = prepared_library(FILM)
    title = library.title("bbb")
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "bbb")
        manifest = opened["hls_url" if player == "hls.js" else "manifest_url"]
        limit_s = 60 + 2 * title.duration_s
        viewing, page = await watch(browser, theatre, player, url + manifest.removeprefix("/"), limit_s=limit_s)
        decided = await decisions(url, opened["id"])
    chosen = {event.segment: {title.rendition(event.rendition).height_px} for event in decided}
    assert viewing.heights(title) == [chosen[segment] for segment in range(len(title.segment_frames))]
    assert all(a != b for a, b in pairwise(viewing.heights(title))), "each segment at another height"
    _watchable(viewing, page, title)


@pytest.mark.parametrize("player", players)
async def test_standard_manifests_play_to_the_end_at_the_heights_asked_for(player: str):
    library = prepared_library(FILM)
    title = library.title("bbb")
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        name = "master.m3u8" if player == "hls.js" else "manifest.mpd"
        limit_s = 60 + 2 * title.duration_s
        viewing, page = await watch(browser, theatre, player, f"{url}titles/bbb/{name}", limit_s=limit_s)
    shown, asked = viewing.heights(title), asked_heights(title, viewing.requests)
    assert all(heights and heights <= wanted for heights, wanted in zip(shown, asked, strict=True)), (shown, asked)
    _watchable(viewing, page, title)


@pytest.mark.matrix
@pytest.mark.parametrize("player", PLAYERS)
async def test_seeks_past_the_buffer_and_back_show_what_was_chosen_once(player: str):
    library = prepared_library(MINUTE)
    title = library.title("bbb")
    seeks, stop_s = [[3.0, 40.0], [44.0, 1.5]], 8.0
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "bbb")
        source = url + opened["hls_url" if player == "hls.js" else "manifest_url"].removeprefix("/")
        viewing, page = await watch(browser, theatre, player, source, buffer_s=6, stop_s=stop_s, seeks=seeks)
        decided = await decisions(url, opened["id"])
    chosen = {event.segment: title.rendition(event.rendition).height_px for event in decided}
    assert len(chosen) == len(decided), "each segment is decided once"
    assert sorted(chosen) != list(range(max(chosen) + 1)), "the first seek left the buffer"
    for segment, heights in enumerate(viewing.heights(title)):
        assert heights <= {chosen.get(segment)}
    times_s = [media_s for media_s, *_ in viewing.frames]
    jumps = [(round(a), round(b)) for a, b in pairwise(times_s) if abs(b - a) > 1]
    assert jumps == [(3, 40), (44, 2)] and times_s[-1] == pytest.approx(stop_s, abs=0.5)
    assert viewing.errors == [] and page.complaints == [] and page.refused == [] and len(viewing.stalls) <= 1


@pytest.mark.parametrize("manifest", ["manifest.mpd", pytest.param("master.m3u8", marks=pytest.mark.matrix)])
@pytest.mark.parametrize("advice, height_px", [("lower", 240), pytest.param("top", 720, marks=pytest.mark.matrix)])
@pytest.mark.parametrize("player", ["shaka-5", pytest.param("shaka-4", marks=pytest.mark.matrix)])
async def test_shaka_chooses_for_itself_as_high_as_advised(player: str, advice: str, height_px: int, manifest: str):
    library = prepared_library()
    title = library.title("bbb")
    async with serving(str(library.root), ADVISERS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "bbb", controller=advice)
        source = url + opened["advised_url"].removeprefix("/").replace("manifest.mpd", manifest)
        viewing, page = await watch(browser, theatre, player, source)
    *shown, last = viewing.heights(title)[1:]
    assert last == {height_px} and max(set().union(*shown)) <= height_px, "from the first advice on"
    _watchable(viewing, page, title)


async def test_the_manifest_alone_makes_dashjs_tell_what_decisions_need():
    library = prepared_library()
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "bbb")
        source = url + opened["manifest_url"].removeprefix("/")
        await watch(browser, theatre, "dashjs-5", source, cmcd="off")
        seen = [event.seen for event in await decisions(url, opened["id"])]
    assert seen[-1].downloads != () and seen[-1].buffer_s > 1.0


async def test_dashjs_reports_each_delivery_by_cmcd_version_2():
    library = prepared_library()
    title = library.title("bbb")
    async with serving(str(library.root), RESTLESS) as url, stage() as theatre, chromium() as browser:
        opened = await opened_session(url, "bbb")
        source, target = url + opened["manifest_url"].removeprefix("/"), f"{url}sessions/{opened['id']}/cmcd"
        viewing, page = await watch(browser, theatre, "dashjs-5", source, cmcd=target)
        log = await session_log(url, opened["id"])
    assert viewing.errors == [] and page.refused == [] and page.complaints == []
    chosen = {event.segment: event for event in log if isinstance(event, Decided)}
    came = {event.segment: event for event in log if isinstance(event, Downloaded)}
    assert sorted(came) == list(range(len(title.segment_frames)))
    assert all(came[n].size_bytes == title.rendition(chosen[n].rendition).segment_bytes[n] for n in came)
    assert all(0 <= event.latency_s <= event.duration_s for event in came.values())
    assert chosen[2].seen.downloads, "and the next decisions know of them"


def _watchable(viewing, page, title: Title) -> None:
    assert viewing.errors == [] and page.complaints == [] and page.refused == []
    assert viewing.frames[-1][0] == pytest.approx(title.duration_s, abs=3 / title.fps), "to the end"
    assert len(viewing.stalls) <= 1
    assert viewing.audio_bytes > 0 and viewing.apart_s() < 0.1
