"""`toprung play` on a stream that runs: decided segments, lifted by generic weights, at a distance to the live edge."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from broadcast import Broadcast
from faulty import Fault, faulty
from live_process import TEST_SOURCE, live, wait_for_segment
from ports import free_port
from redis_server import redis_in
from serve_process import counted, served, serving
from viewers import of_kind
from waiting import wait_until

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import Tier
from abr.core.events import AnyEvent, Decided, Failed, Shown, Stalled, loads_log
from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.errors import InputError, ToprungError
from abr.quality.vmaf import ffmpeg_program
from abr.records import load
from client_player.session.archive import LOG_FILE
from client_player.session.report import REPORT_FILE
from client_player.session.request import PlayRequest
from client_player.session.run import SessionOutcome, play, watch
from client_player.source.live_session import spread_title
from enhancers.networks import catalog
from server.media.live_title import load_live

FILM = Path(__file__).parents[3] / "client_player" / "sample" / "bbb_60s.mp4"
SOURCE = (f"movie={FILM}:loop=0,setpts=N/FRAME_RATE/TB,scale=320:180", "--format", "lavfi", "--pace")
"""Endless."""
SMALL = ("--heights", "90", "--preset", "ultrafast", "--measure-share", "1")
CAMERA = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440")
CODECS = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac")
LADDER = (*SMALL, "--segment-seconds", "1", "--chunk", "0.5")


def lifting_device() -> DeviceProfile:
    """It runs the generic networks on 90 lines with ease."""
    device = Device(name="box", processor="a processor", cores=2, memory_bytes=0)
    tiers = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
    measurements = tuple(
        Measurement(
            architecture=str(catalog.architecture(2.0, tier)),
            width_px=160,
            height_px=90,
            backend="openvino-int8",
            threads=1,
            p50_ms=4.0,
            p95_ms=8.0,
        )
        for tier in tiers
    )
    return DeviceProfile(device=device, measurements=measurements)


def offers(folder: Path) -> bool:
    """Whether the live title offers an enhancer by now."""
    try:
        tables = load(folder / TABLES_FILE, LiveTables)
    except ToprungError:
        return False
    return tables.end >= 8 and tables.enhancements is not None and bool(tables.enhancements.enhancers)


@dataclass
class Viewing:
    outcome: SessionOutcome
    out: Path
    tables: LiveTables
    refused: str

    def of(self, kind: type[AnyEvent]) -> list:
        return of_kind(self.outcome.events, kind)


@pytest.fixture(scope="module")
def viewing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewing]:
    library, out = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("out")
    with served("--library", str(library)) as url, live(library, *SOURCE, *LADDER, "--name", "cam") as stream:
        wait_until(lambda: offers(library / "cam"), "an enhancer on offer")
        try:
            play(PlayRequest(url=url, title="cam"))
            refused = ""
        except InputError as error:
            refused = str(error)
        request = PlayRequest(url=url, title="cam", virtual_time=False, profile=lifting_device(), out=out)
        shown: list[AnyEvent] = []

        def end_after_some(event: AnyEvent) -> None:
            if isinstance(event, Shown):
                shown.append(event)
                if len(shown) == 8:  # once: a second signal would end it at once
                    stream.send_signal(signal.SIGINT)

        outcome = play(request, listener=end_after_some)
        yield Viewing(outcome, out, load(library / "cam" / TABLES_FILE, LiveTables), refused)


@pytest.mark.slow
def test_it_plays_from_near_the_live_edge_to_the_end_of_the_stream(viewing: Viewing):
    summary, shown = viewing.outcome.summary, viewing.of(Shown)
    assert summary.ended == "finished"
    busy = ("broke off", "Nothing new has come")  # the machine, so that the stream stands still for a while
    assert [event for event in viewing.of(Failed) if not any(words in event.detail for words in busy)] == []
    segments = [event.segment for event in shown]
    assert segments[0] > 0 and segments[-1] == viewing.tables.end - 1
    assert segments == sorted(set(segments))
    assert [event.segment for event in viewing.of(Decided)] == segments


@pytest.mark.slow
def test_its_pictures_are_lifted_by_the_weights_that_ship_with_it(viewing: Viewing):
    assert viewing.outcome.summary.enhanced_share > 0
    lifted = {event.enhancer for event in viewing.of(Decided)} - {"none"}
    assert lifted and all(name.startswith("generic-") for name in lifted)
    assert viewing.outcome.summary.mbytes_weights == 0


@pytest.mark.slow
def test_it_tells_how_far_behind_the_live_edge_it_is(viewing: Viewing):
    summary = viewing.outcome.summary
    assert summary.latency_s is not None and summary.latency_p95_s is not None
    assert viewing.tables.latency_s - 1 <= summary.latency_s <= summary.latency_p95_s < 60
    assert all(event.latency_s >= 0 for event in viewing.of(Shown))


@pytest.mark.slow
def test_a_report_can_be_made_of_it(viewing: Viewing):
    assert "cam" in (viewing.out / REPORT_FILE).read_text()
    assert len(loads_log((viewing.out / LOG_FILE).read_bytes())) == len(viewing.outcome.events)


@pytest.mark.slow
def test_virtual_time_is_refused_with_a_sentence(viewing: Viewing):
    assert viewing.refused == "cam is live: it plays at its own rate, so leave out --speed max."


def test_a_stream_that_begins_anew_ends_the_session_with_a_sentence(tmp_path: Path):
    """The first segments are there; then another stream is, before the next one could come."""
    with served("--library", str(tmp_path)) as url:
        cam = Broadcast(tmp_path, time.time, window_s=30.0)
        cam.send(4)
        begins = threading.Event()

        def begin_anew(event: AnyEvent) -> None:
            if isinstance(event, Decided) and not begins.is_set():
                begins.set()
                cam.remove()
                Broadcast(tmp_path, time.time, window_s=30.0, version="0" * 15 + "2").send(4)

        with pytest.raises(ToprungError, match="began anew"):
            play(PlayRequest(url=url, title="cam", virtual_time=False), listener=begin_anew)


def test_a_server_that_is_killed_and_comes_back_is_gone_on_with(tmp_path: Path):
    """Its viewer stands still for no longer than the server is away, and asks for a new session in the same stream."""
    port, shown = str(free_port()), 0
    ladder = ("--heights", "90", "--preset", "ultrafast", "--segment-seconds", "1", "--chunk", "0.5")
    with ExitStack() as stack:
        url, server = stack.enter_context(serving("--library", str(tmp_path), "--port", port))
        stream = stack.enter_context(live(tmp_path, *TEST_SOURCE, *ladder, "--measure-share", "0", "--name", "cam"))

        def kill_and_end(event: AnyEvent) -> None:
            nonlocal shown
            shown += isinstance(event, Shown)
            if isinstance(event, Shown) and shown == 1:
                server.kill()
                server.communicate()
                stack.enter_context(serving("--library", str(tmp_path), "--port", port))
            elif isinstance(event, Shown) and shown == 4:
                stream.send_signal(signal.SIGINT)

        wait_for_segment(tmp_path / "cam", 2)
        outcome = play(PlayRequest(url=url, title="cam", virtual_time=False), listener=kill_and_end)
    segments = [event.segment for event in of_kind(outcome.events, Shown)]
    assert outcome.summary.ended == "finished" and len(segments) >= 5
    assert segments == list(range(segments[0], segments[-1] + 1)), "what was missed meanwhile is shown late"
    stalls_s = [event.duration_s for event in of_kind(outcome.events, Stalled)]
    assert sum(stalls_s) < 5.0 and len(stalls_s) <= 2


def test_a_segment_that_was_refused_and_then_is_not_there_is_asked_for_again_and_not_lost(tmp_path: Path):
    """As where a stream ends on a busy machine: first nothing has come for a while, then there is no such segment."""

    async def main(url: str, stream: subprocess.Popen[str]) -> Sequence[AnyEvent]:
        segment = r"/video/6\.m4s"
        busy, absent = Fault(path=segment, kind="503", times=1), Fault(path=segment, kind="404", times=3)

        def end_after_some(event: AnyEvent) -> None:
            if isinstance(event, Shown) and event.segment == 7:
                stream.send_signal(signal.SIGINT)

        async with faulty(url, busy, absent) as proxy:
            request = PlayRequest(url=proxy.url, title="cam", virtual_time=False)
            played = await watch(request, tmp_path / "luma", listener=end_after_some)
            assert (proxy.hits[busy], proxy.hits[absent]) == (1, 3)
        return played.events

    with served("--library", str(tmp_path)) as url, live(tmp_path, *TEST_SOURCE, *LADDER, "--name", "cam") as stream:
        wait_for_segment(tmp_path / "cam", 2)
        events = asyncio.run(main(url, stream))
    assert not [event.detail for event in of_kind(events, Failed) if event.what == "segment"]
    segments = [event.segment for event in of_kind(events, Shown)]
    assert segments == list(range(segments[0], segments[-1] + 1)) and segments[-1] >= 7


def test_an_encoder_that_is_killed_and_begun_again_is_gone_on_with(tmp_path: Path):
    """The camera goes on meanwhile. The viewer keeps its session, and misses no segment that was made."""
    where = f"udp://127.0.0.1:{free_port()}"
    arguments = (where, "--heights", "90", "--preset", "ultrafast", "--segment-seconds", "1", "--measure-share", "0")
    camera = [
        ffmpeg_program(),
        "-nostdin",
        "-v",
        "error",
        "-re",
        *CAMERA,
        *CODECS,
        "-f",
        "mpegts",
        f"{where}?pkt_size=1316",
    ]
    stops = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(killed_at_end(camera))
        url = stack.enter_context(served("--library", str(tmp_path)))
        first = stack.enter_context(live(tmp_path, *arguments, "--name", "cam"))
        wait_for_segment(tmp_path / "cam", 4)
        again: list[subprocess.Popen[str]] = []

        def kill_and_begin_again(event: AnyEvent) -> None:
            if not isinstance(event, Shown):
                return
            if not again:
                first.kill()
                first.wait()
                again.append(stack.enter_context(live(tmp_path, *arguments, "--name", "cam")))
            elif not stops.is_set() and breaks_of(tmp_path / "cam", event.segment):
                stops.set()
                again[0].send_signal(signal.SIGINT)

        outcome = play(PlayRequest(url=url, title="cam", virtual_time=False), listener=kill_and_begin_again)
    segments = [event.segment for event in of_kind(outcome.events, Shown)]
    assert stops.is_set() and outcome.summary.ended == "finished"
    assert segments == list(range(segments[0], segments[-1] + 1))
    assert outcome.summary.stall_s < 5.0


def test_a_publisher_that_goes_and_comes_back_ends_no_viewing(tmp_path: Path):
    where = f"rtmp://127.0.0.1:{free_port()}/live/key"
    ladder = ("--heights", "90", "--preset", "ultrafast", "--segment-seconds", "1", "--measure-share", "0")
    with ExitStack() as stack:
        url = stack.enter_context(served("--library", str(tmp_path)))
        stream = stack.enter_context(live(tmp_path, where, "--listen", *ladder, "--chunk", "0.5", "--name", "cam"))
        publisher = stack.enter_context(publishing(where))
        wait_for_segment(tmp_path / "cam", 3)
        seen: list[str] = []

        def go_and_come_back(event: AnyEvent) -> None:
            if not isinstance(event, Shown):
                return
            if not seen:
                os.killpg(publisher.pid, signal.SIGKILL)
                wait_until(lambda: load_live(tmp_path / "cam").state == "paused", "that the stream waits")
                seen.append("paused")
                stack.enter_context(publishing(where))
            elif len(seen) == 1 and breaks_of(tmp_path / "cam", event.segment):
                seen.append("back")
                stream.send_signal(signal.SIGINT)

        outcome = play(PlayRequest(url=url, title="cam", virtual_time=False), listener=go_and_come_back)
    segments = [event.segment for event in of_kind(outcome.events, Shown)]
    assert seen == ["paused", "back"] and outcome.summary.ended == "finished"
    assert segments == list(range(segments[0], segments[-1] + 1))


def publishing(where: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A camera that publishes by RTMP at its own rate, as soon as there is a listener. Its group is its own."""
    command = [ffmpeg_program(), "-nostdin", "-v", "quiet", "-re", *CAMERA, *CODECS, "-f", "flv", where]
    return killed_at_end(["sh", "-c", 'until "$@"; do :; done', "sh", *command])


def test_a_store_that_is_killed_and_comes_back_is_not_noticed(tmp_path: Path):
    library, stored = tmp_path / "library", tmp_path / "redis"
    library.mkdir()
    stored.mkdir()
    with ExitStack() as stack:
        store, redis = stack.enter_context(redis_in(stored))
        url = stack.enter_context(served("--library", str(library), "--redis-url", store))
        stream = stack.enter_context(live(library, *TEST_SOURCE, *LADDER, "--name", "cam"))
        wait_for_segment(library / "cam", 3)
        shown: list[int] = []

        def kill_and_bring_back(event: AnyEvent) -> None:
            if not isinstance(event, Shown):
                return
            shown.append(event.segment)
            if len(shown) == 1:
                redis.kill()
                redis.wait()
            elif len(shown) == 4:
                stack.enter_context(redis_in(stored))
            elif len(shown) == 6:
                stream.send_signal(signal.SIGINT)

        outcome = play(PlayRequest(url=url, title="cam", virtual_time=False), listener=kill_and_bring_back)
        degraded = counted(url, "toprung_decisions_degraded_total")
    assert outcome.summary.ended == "finished" and len(shown) >= 6
    assert shown == list(range(shown[0], shown[-1] + 1)) and degraded >= 1
    assert outcome.summary.stall_s < 5.0


def breaks_of(folder: Path, segment: int) -> int:
    """Before a segment."""
    return load(folder / TABLES_FILE, LiveTables).timeline.span_of(segment).breaks


@contextmanager
def killed_at_end(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_usual_segment_stands_for_all_in_reports(viewing: Viewing):
    title = spread_title(viewing.tables.typical, 3)
    assert len(title.segment_frames) == 3 and title.duration_s == pytest.approx(3 * viewing.tables.segment_s)
    assert all(len(quality.vmaf) == 3 for quality in title.plain_quality.values())
