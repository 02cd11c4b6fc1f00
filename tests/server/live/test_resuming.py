"""A process that is killed in mid-stream and begun again: the stream goes on, as after a break of its source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import m3u8
import msgspec
import pytest
from broadcast import CHUNK_FRAMES, SEGMENT_FRAMES, Broadcast
from live_process import finish, live
from mpegdash.parser import MPEGDASHParser
from oracle import decode
from ports import free_port
from publisher import Show, taken
from waiting import wait_until

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import segment_file
from abr.errors import ToprungError
from abr.records import dumps_pretty, load
from server.live.resuming import interrupted
from server.live_edge.growing import read_part
from server.media.live_title import LIVE_FILE, LiveTitle, load_live

FRAME_S = Fraction(1, 25)
LADDER = ("--preset", "ultrafast", "--segment-seconds", "1", "--audio-bitrate", "64k", "--measure-share", "0")
SHOW = Show(is_loud=True)


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What was offered when it was killed, and the folder after all. part: the first one of the segment under way."""

    folder: Path
    before: LiveTitle
    part: bytes | None
    said: str


def reaches(folder: Path, segment: int, chunks: int) -> None:
    def is_there() -> bool:
        try:
            return (now := load_live(folder)).end > segment or now.has(segment, chunks - 1)
        except ToprungError:
            return False

    wait_until(is_there, f"segment {segment} of {folder.name}")


def killed_and_begun_again(library: Path, chunk: str, heights: Sequence[str], *more: str) -> Killed:
    """Seventy frames, a kill, and 55 more into a process with the second of the `heights`."""
    folder, port = library / "cam", free_port()
    command = [f"rtmp://127.0.0.1:{port}/live/key", "--listen", "--name", "cam", "--chunk", chunk, *LADDER, *more]
    with live(library, *command, "--heights", heights[0]) as process:
        published = taken(port, 200, SHOW)
        for _ in range(69):
            next(published)
        reaches(folder, 2, 1 if chunk != "0" else 0)
        process.kill()
        process.wait()
    before = load_live(folder)
    part = read_part(folder / "video" / "90p" / segment_file(2), 0) if chunk != "0" else None
    with suppress(OSError, av.error.FFmpegError):
        published.close()  # type: ignore[attr-defined]
    with live(library, *command, "--heights", heights[1]) as process:
        assert sum(1 for _ in taken(port, 55, SHOW)) == 54
        wait_until(lambda: load_live(folder).state == "paused" and load_live(folder).end >= 3, "all that came")
        said = finish(process)
    return Killed(folder=folder, before=before, part=part, said=said)


@pytest.fixture(scope="module", params=["0", "0.5"])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return killed_and_begun_again(tmp_path_factory.mktemp("killed"), str(request.param), ["90,180", "90,180"])


@pytest.mark.parametrize("part", ["video/90p", "video/180p"])
def test_its_viewers_get_all_that_was_offered_and_all_that_came_later(killed: Killed, part: str):
    frames = 50 + (13 if killed.before.chunks else 0) + 55
    files = [killed.folder / part / "init.mp4", *sorted((killed.folder / part).glob("seg-*.m4s"))]
    pictures = decode(b"".join(file.read_bytes() for file in files))
    assert pictures.warnings == "" and pictures.times == [index * FRAME_S for index in range(frames)]


def test_it_is_the_same_stream_and_says_so(killed: Killed):
    after = load_live(killed.folder)
    assert after.version == killed.before.version and after.state == "ended"
    began = 4 if killed.before.chunks else 3
    assert f"cam: it goes on where it was killed, with segment {began}." in killed.said
    assert after.end == began + 2 and after.first_segment == 0
    load(killed.folder / TABLES_FILE, LiveTables).check("tables")


def test_what_viewers_had_of_the_segment_under_way_stays_as_it_was(killed: Killed):
    if killed.part is None:
        assert killed.before.chunks == 0
        return
    for path in (
        killed.folder / "video" / "90p" / segment_file(2),
        killed.folder / "audio" / "audio" / segment_file(2),
    ):
        assert read_part(path, 1) is None
    assert (killed.folder / "video" / "90p" / segment_file(2)).read_bytes() == killed.part
    assert not list(killed.folder.rglob("*.growing"))


def test_manifests_tell_of_one_break(killed: Killed):
    mpd = MPEGDASHParser.parse((killed.folder / "manifest.mpd").read_text())
    assert [period.id for period in mpd.periods] == ["0", "1"]
    whole_s = (63 if killed.before.chunks else 50) / 25
    assert mpd.periods[0].duration == f"PT{whole_s:.6f}S"
    for name in ("90p", "180p", "audio"):
        segments = m3u8.load(str(killed.folder / f"{name}.m3u8")).segments
        assert [bool(each.discontinuity) for each in segments].count(True) == 1
        assert segments[3 if killed.before.chunks else 2].discontinuity
        assert segments[-1].program_date_time > segments[0].program_date_time


def test_another_ladder_begins_anew(tmp_path: Path):
    killed = killed_and_begun_again(tmp_path, "0", ["90,180", "90"])
    after = load_live(killed.folder)
    assert after.version != killed.before.version and after.end == 3 and "goes on where" not in killed.said
    assert sorted(path.name for path in (killed.folder / "video").iterdir()) == ["90p"]


@pytest.mark.parametrize(
    "ago_s, state, goes_on", [(20.0, "running", True), (31.0, "running", False), (1.0, "ended", False)]
)
def test_only_what_was_killed_just_now_is_gone_on_with(tmp_path: Path, ago_s: float, state: str, goes_on: bool):
    sent = Broadcast(tmp_path, lambda: time.time() - ago_s, chunk_frames=CHUNK_FRAMES, window_s=60.0)
    sent.send(3)
    told = msgspec.structs.replace(load_live(sent.folder), recipe="0" * 16, state=state)
    (sent.folder / LIVE_FILE).write_bytes(dumps_pretty(told))
    found = interrupted(sent.folder, 30.0)
    assert (found is not None) == goes_on
    if found is not None:
        found.wait(30.0)
        waiting = load_live(sent.folder)
        assert waiting.state == "paused" and waiting.waits_s == 30 and waiting.end == 3
        assert not load(sent.folder / TABLES_FILE, LiveTables).grows


def test_a_break_that_was_open_when_it_was_killed_stays_one_break(tmp_path: Path):
    sent = Broadcast(tmp_path, time.time, window_s=60.0)
    sent.send(3)
    sent.publication.close_span(3, 3 * SEGMENT_FRAMES, waits_s=30.0)
    tables = load(sent.folder / TABLES_FILE, LiveTables)
    assert tables.spans[-1].number == 0, "what is not listed yet is told with what is"
    sent.publication.resume(time.time())
    sent.send()
    (sent.folder / LIVE_FILE).write_bytes(
        dumps_pretty(msgspec.structs.replace(load_live(sent.folder), recipe="0" * 16))
    )
    found = interrupted(sent.folder, 30.0)
    assert found is not None
    spans = found.take_up(sent.plan).spans
    assert [(each.first_segment, each.breaks) for each in spans] == [(0, 0), (3, 1), (4, 2)]
