"""Whole sessions: the real server on a real socket in the same virtual-time loop, real bytes, real decoding."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import viewers
from aiohttp import web
from msgspec import structs
from served import listening, serving
from titles import prepared_library, prepared_title
from viewers import EAGER, FAST_MACHINE, PROMISED_S, Bench, enhanced_library, of_kind, profile

from abr.controllers import CONTROLLERS
from abr.core.control import Controller
from abr.core.device import EnergySource, Wish
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, Family
from abr.core.events import (
    AnyEvent,
    Decided,
    Downloaded,
    Ended,
    Failed,
    Playing,
    Shown,
    Stalled,
    Stepped,
    dumps_log,
    loads_log,
)
from abr.core.pricing import price
from abr.errors import InputError
from abr.records import load
from abr.registry import Registry
from abr.simulation.replay import replay
from abr.simulation.traces import Trace, constant, make
from abr.virtual_time import VirtualTimeLoop, run_virtual
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch
from client_player.session.summary import Summary, as_table, summarise

FAST = constant(8e6, 0.05)


@pytest.fixture(scope="module")
def plain_library() -> Path:
    return prepared_library().root


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enhanced_library(tmp_path_factory.mktemp("enhanced"))


Controllers = Registry[Callable[[], Controller]]


def _watch(
    library: Path,
    folder: Path,
    request: PlayRequest,
    bench: Bench | None = None,
    controllers: Controllers = CONTROLLERS,
) -> Played:
    async def main() -> Played:
        loop = asyncio.get_running_loop()
        bench_ = bench or Bench()
        bench_.loop = loop if isinstance(loop, VirtualTimeLoop) else None
        async with serving(str(library), controllers) as url:
            return await watch(replace(request, url=url), folder / "shown.y", opener=bench_.open)

    return run_virtual(main(), wall_rate=FAST_MACHINE)


def _request(trace: Trace = FAST, **more: object) -> PlayRequest:
    title, _ = prepared_title()
    return replace(PlayRequest(url="", trace=trace, profile=profile(title), families=(Family.CONTENT,)), **more)


def _plain(trace: Trace = FAST, **more: object) -> PlayRequest:
    return replace(PlayRequest(url="", trace=trace, families=()), **more)


def _numbers(played: Played) -> Summary:
    return summarise(played.events, played.title)


def test_every_frame_is_shown_once_and_on_time(plain_library: Path, tmp_path: Path) -> None:
    played = _watch(plain_library, tmp_path, _plain())
    summary = _numbers(played)
    assert summary.ended == "finished"
    assert summary.frames == sum(played.title.segment_frames) == 132
    assert summary.stalls == 0 and summary.failures == 0
    assert summary.late_frames <= 1
    assert [event.segment for event in of_kind(played.events, Shown)] == [0, 1, 2]
    ended, playing = of_kind(played.events, Ended)[0], of_kind(played.events, Playing)[0]
    assert ended.t_s - playing.startup_s == pytest.approx(played.title.duration_s, abs=0.05)


def test_sound_stays_with_the_picture(plain_library: Path, tmp_path: Path) -> None:
    played = _watch(plain_library, tmp_path, _plain())
    came = [event.segment for event in of_kind(played.events, Downloaded) if event.kind == "audio"]
    assert came == [0, 1, 2]
    assert played.audio_offset_max_s < 1 / played.title.fps


def test_a_viewer_who_tells_a_group_is_decided_by_its_share_of_the_link(plain_library: Path, tmp_path: Path) -> None:
    for group in ("our flat", ""):
        decided = of_kind(_watch(plain_library, tmp_path, _plain(group=group)).events, Decided)
        assert ["among 1 on the link" in event.reason for event in decided] == [False, bool(group), bool(group)]


def test_stalls_are_what_the_trace_makes_them(plain_library: Path, tmp_path: Path) -> None:
    """A link that dies for six seconds: the stall ends when the bytes that the trace holds back have come."""
    trace = make("dies", [(1.2, 3e6, 0.05), (6.0, 0.0, 0.05), (60.0, 3e6, 0.05)])
    played = _watch(plain_library, tmp_path, _plain(trace, buffer_max_s=4.0))
    stalls = of_kind(played.events, Stalled)
    media = [event for event in of_kind(played.events, Downloaded) if event.kind in ("video", "audio")]
    startup_s = of_kind(played.events, Playing)[0].startup_s
    durations = played.title.segment_duration_s
    ready = [max(event.t_s for event in media if event.segment == n) for n in range(len(durations))]
    until_s, expected = startup_s, 0.0
    for at_s, duration_s in zip(ready, durations, strict=True):
        expected += max(0.0, at_s - until_s) if at_s != ready[0] else 0.0
        until_s = max(until_s, at_s) + duration_s
    stalled = sum(event.duration_s for event in stalls)
    assert 1.0 < expected <= stalled < expected + 2.0 * len(stalls), "a stall lasts until first frames are decoded too"
    ended_s = of_kind(played.events, Ended)[0].t_s
    assert ended_s == pytest.approx(startup_s + stalled + played.title.duration_s, abs=0.02)


def test_the_server_knows_what_the_player_knows(plain_library: Path, tmp_path: Path) -> None:
    """What the server logged of each decision is what the player measured, sound included, to the millisecond."""
    played = _watch(plain_library, tmp_path, _plain())
    decided = of_kind(played.events, Decided)
    media = [event for event in of_kind(played.events, Downloaded) if event.kind in ("video", "audio")]
    assert len(decided) == 3 and all(event.seen is not None for event in decided)
    for number, event in enumerate(decided[1:], start=1):
        assert event.seen is not None and len(event.seen.downloads) == number
        started_s, duration_s, latency_s, size_bytes = event.seen.downloads[-1]
        before = [each for each in media if each.segment == number - 1]
        assert size_bytes == sum(each.size_bytes for each in before)
        asked_s = min(each.started_s for each in before)
        begun_s = min(each.started_s + each.latency_s for each in before)
        ended_s = max(each.started_s + each.duration_s for each in before)
        assert (started_s, duration_s, latency_s) == pytest.approx(
            (asked_s, ended_s - asked_s, begun_s - asked_s), abs=0.0011
        )
        assert event.seen.buffer_s > 0


def test_sound_comes_with_the_picture_and_costs_no_latency_of_its_own(plain_library: Path, tmp_path: Path) -> None:
    played = _watch(plain_library, tmp_path, _plain(constant(8e6, 0.4)))
    came = {(event.kind, event.segment): event for event in of_kind(played.events, Downloaded)}
    for segment in range(3):
        picture, sound = came["video", segment], came["audio", segment]
        assert picture.started_s <= sound.started_s < picture.started_s + 0.1
        assert picture.t_s <= sound.t_s < picture.t_s + 0.3, "the picture goes first"


def test_enhancement_reaches_the_screen(library: Path, tmp_path: Path) -> None:
    bench = Bench()
    played = _watch(library, tmp_path, _request(constant(6e5, 0.05)), bench, EAGER)
    summary = _numbers(played)
    assert summary.enhanced_share > 0.8 and summary.frames == 132
    assert summary.mbytes_weights > 0
    assert summary.vmaf_promised > sum(played.title.plain_quality["180p"].vmaf) / 3
    assert len(bench.opened) == len(set(bench.opened)), "each enhancer is opened once"


def test_weights_count_in_the_download_that_the_server_hears_of(library: Path, tmp_path: Path) -> None:
    played = _watch(library, tmp_path, _request(constant(6e5, 0.05)), controllers=EAGER)
    downloads = of_kind(played.events, Downloaded)
    weights = sum(event.size_bytes for event in downloads if event.kind == "weights")
    media = [event for event in downloads if event.kind in ("video", "audio") and event.segment == 0]
    heard = of_kind(played.events, Decided)[1].seen
    assert heard is not None and weights > 0
    assert heard.downloads[-1][3] == sum(event.size_bytes for event in media) + weights
    assert heard.owned


def test_a_slow_device_steps_down_before_frames_are_late(library: Path, tmp_path: Path) -> None:
    """The profile promised 16 ms for high; it takes 90. Frames of 40 ms must still come on time."""
    bench = Bench(cost_s=lambda architecture, _count: 0.090 if architecture == "test-high" else 0.004)
    played = _watch(library, tmp_path, _request(constant(6e5, 0.05)), bench, EAGER)
    summary = _numbers(played)
    steps = of_kind(played.events, Stepped)
    assert steps and all(step.reason for step in steps)
    assert summary.late_frames <= 1
    assert summary.frames == 132


def test_a_device_throttled_in_mid_session_keeps_its_deadlines(library: Path, tmp_path: Path) -> None:
    def cost_s(architecture: str, count: int) -> float:
        return PROMISED_S[architecture.removeprefix("test-")] * (4.0 if count > 20 else 1.0)

    played = _watch(library, tmp_path, _request(constant(6e5, 0.05)), Bench(cost_s=cost_s), EAGER)
    assert _numbers(played).late_frames <= 1
    assert of_kind(played.events, Stepped)


def test_an_enhancer_that_breaks_is_survived_and_told(library: Path, tmp_path: Path) -> None:
    played = _watch(library, tmp_path, _request(constant(6e5, 0.05)), Bench(break_at=10), EAGER)
    summary = _numbers(played)
    assert summary.ended == "finished" and summary.frames == 132
    assert summary.controller == "eager", "the server's choice for who names none"
    assert any("exploded" in event.detail for event in of_kind(played.events, Failed))


def test_a_live_session_replayed_takes_the_same_decisions(library: Path, tmp_path: Path) -> None:
    trace = make("varied", [(2.0, 1.5e6, 0.05), (2.0, 4e5, 0.1), (3.0, 2.5e6, 0.05)])
    request = _request(trace)
    for name in ("toprung", "bola", "bones"):
        played = _watch(library, tmp_path, replace(request, controller=name))
        table = load(library / "bbb" / ENHANCEMENTS_FILE, EnhancementTable)
        prices = price(played.title, table, request.profile, families=request.families)
        again = replay(loads_log(dumps_log(list(played.events))), prices, CONTROLLERS.get(name)())
        assert again.decisions == 3
        assert again.differences == ()


def test_two_sessions_over_one_trace_decide_alike(plain_library: Path, tmp_path: Path) -> None:
    choices = [
        [
            (event.rendition, event.enhancer)
            for event in of_kind(_watch(plain_library, tmp_path, _plain()).events, Decided)
        ]
        for _ in range(2)
    ]
    assert choices[0] == choices[1]


def test_the_log_is_written_as_it_happened(plain_library: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pair.json").write_text("left by an earlier session")
    played = _watch(plain_library, tmp_path, _plain(out=tmp_path / "out"))
    assert not (tmp_path / "out" / "pair.json").exists()
    assert loads_log((tmp_path / "out" / "session.jsonl").read_bytes()) == list(played.events)


def test_the_server_has_the_players_events_too(plain_library: Path, tmp_path: Path) -> None:
    async def main() -> list[AnyEvent]:
        async with serving(str(plain_library)) as url:
            played = await watch(replace(_plain(), url=url), tmp_path / "shown.y")
            session = played.events[0].session  # type: ignore[union-attr]
            async with aiohttp.ClientSession() as pool, pool.get(f"{url}sessions/{session}/log") as answer:
                return loads_log(await answer.read())

    kinds = {type(event) for event in run_virtual(main(), wall_rate=FAST_MACHINE)}
    assert {Decided, Downloaded, Playing, Shown, Ended} <= kinds


def test_png_samples_are_pictures_of_display_size(plain_library: Path, tmp_path: Path) -> None:
    played = _watch(plain_library, tmp_path, _plain(sink=f"png:{tmp_path / 'png'}", every=50))
    files = sorted(path.name for path in (tmp_path / "png").iterdir())
    assert files == ["frame-00000.png", "frame-00050.png", "frame-00100.png"]
    head = (tmp_path / "png" / files[0]).read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert int.from_bytes(head[16:20]) == played.title.display_width_px


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"title": "absent"}, "bbb"),
        ({"controller": "absent"}, "no controller named 'absent'"),
        ({"sink": "tape:x"}, "y4m:PATH"),
    ],
)
def test_what_cannot_be_played_is_said_in_a_sentence(
    plain_library: Path, tmp_path: Path, change: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        _watch(plain_library, tmp_path, replace(_plain(), **change))


def test_a_standard_manifest_is_played_with_decisions_taken_here(plain_library: Path, tmp_path: Path) -> None:
    request = _plain(local=True, controller="bola")
    played = _watch(plain_library, tmp_path, request)
    summary = _numbers(played)
    assert summary.frames == 132 and summary.failures == 0 and summary.late_frames <= 1
    again = replay(played.events, price(played.title), CONTROLLERS.get("bola")())
    assert again.decisions == 3 and again.differences == ()


def test_a_controller_of_ones_own_that_fails_is_counted(plain_library: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("class Mine:\n    def decide(self, seen):\n        raise RuntimeError('broke')\n")
    numbers = _numbers(_watch(plain_library, tmp_path, _plain(local=True, controller=f"{file}:Mine")))
    assert numbers.ended == "finished" and numbers.controller_failures == 3
    assert ("controller failed", "3 times") in as_table(numbers)
    assert _numbers(_watch(plain_library, tmp_path, _plain(local=True, controller="bola"))).controller_failures == 0


def test_a_manifest_of_strangers_is_played_too(tmp_path: Path) -> None:
    """Only the manifest and its segments: no title.json, no tables."""
    title, folder = prepared_title()
    app = web.Application()
    app.router.add_get("/title.json", _absent)
    app.router.add_static("/", folder)

    async def main() -> Played:
        async with listening(app) as url:
            request = _plain(local=True, url=f"{url}manifest.mpd", controller="throughput")
            return await watch(request, tmp_path / "shown.y")

    summary = _numbers(run_virtual(main(), wall_rate=FAST_MACHINE))
    assert summary.frames == sum(title.segment_frames)
    assert summary.ended == "finished" and summary.failures == 0


async def _absent(_: web.Request) -> web.Response:
    raise web.HTTPNotFound


def test_an_enhanced_session_without_a_server_session(library: Path, tmp_path: Path) -> None:
    played = _watch(library, tmp_path, _request(constant(6e5, 0.05), local=True, controller="highest_greedy"))
    assert _numbers(played).ended == "finished"
    assert all(event.seen is not None for event in of_kind(played.events, Decided))


@pytest.mark.parametrize(("times", "corrected"), [(1.6, True), (1.0, False)])
def test_a_player_that_decides_prices_anew_what_takes_longer_than_the_profile_says(
    library: Path, tmp_path: Path, times: float, corrected: bool
) -> None:
    bench = Bench(cost_s=lambda architecture, _: times * PROMISED_S[architecture.removeprefix("test-")])
    mine = Path(viewers.__file__)
    request = _request(constant(6e5, 0.05), local=True, controller=f"{mine}:Eager", buffer_max_s=4.0)
    played = _watch(library, tmp_path, request, bench)
    last = of_kind(played.events, Decided)[-1]
    assert ("priced anew: test-" in last.reason) == corrected
    (frame_ms,) = played.frame_ms.values()
    assert frame_ms == pytest.approx(times * 1000 * PROMISED_S["high"], rel=0.15)


def test_a_session_tells_what_enhancing_took_and_what_that_rests_on(library: Path, tmp_path: Path) -> None:
    known = profile(prepared_title()[0])
    rows = [structs.replace(m, energy_mj=30.0, energy_source=EnergySource.RAPL) for m in known.measurements]
    device = structs.replace(known, measurements=tuple(rows), wish=Wish.BALANCED)
    request = _request(constant(6e5, 0.05), local=True, controller=f"{viewers.__file__}:Eager", profile=device)
    played = _watch(library, tmp_path, request)
    enhanced = sum(event.enhanced_frames for event in of_kind(played.events, Shown))
    told_j = sum(event.energy_j or 0.0 for event in of_kind(played.events, Shown))
    assert enhanced > 40 and told_j == pytest.approx(0.030 * enhanced)
    summary = _numbers(played)
    assert summary.energy_mj_per_minute == pytest.approx(60_000 * told_j / played.title.duration_s, rel=0.01)
    (row,) = (value for name, value in as_table(summary) if name == "energy of enhancing")
    assert "rapl" in row and "balanced" in row and "estimated" not in row
    estimated = _numbers(_watch(library, tmp_path, replace(request, profile=known)))
    assert ("estimated" in dict(as_table(estimated))["energy of enhancing"]) and estimated.wish == "quality"
    plain = _numbers(_watch(library, tmp_path, _plain(local=True, controller="lowest")))
    assert "energy of enhancing" not in dict(as_table(plain))
