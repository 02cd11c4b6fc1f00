"""A publisher that goes and comes back: one stream, with a break in it that every kind of manifest tells of."""

from __future__ import annotations

import json
import re
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import m3u8
import numpy as np
import pytest
from broadcast import SEGMENT_FRAMES, Broadcast
from clips import make_clip
from live_process import finish, live, run_on
from mpegdash.parser import MPEGDASHParser
from oracle import decode
from ports import free_port
from publisher import Show, publish, taken
from waiting import wait_until

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.errors import ToprungError
from abr.quality.vmaf import ffmpeg_program
from abr.records import load
from server.live.source.address import Address
from server.media.library import Library
from server.media.live_title import LiveTitle, load_live

FRAME_S = Fraction(1, 25)
LADDER = ("--heights", "90,180", "--preset", "ultrafast", "--segment-seconds", "1", "--audio-bitrate", "64k")
WHOLE = ("--measure-share", "0", "--window", "60s", "--name", "cam")
FIRST = Show(is_loud=True)
OTHER = Show(size_px=(160, 120), rate=30, codec="flv", sound_hz=44100, is_loud=True, begin_s=7000)


def joined(folder: Path, part: str) -> bytes:
    files = [folder / part / "init.mp4", *sorted((folder / part).glob("seg-*.m4s"))]
    return b"".join(file.read_bytes() for file in files)


def state(folder: Path) -> LiveTitle | None:
    try:
        return load_live(folder)
    except ToprungError:
        return None


def wait_for_state(folder: Path, wanted: str) -> LiveTitle:
    def is_so() -> bool:
        told = state(folder)
        return told is not None and told.state == wanted

    wait_until(is_so, f"that {folder.name} is {wanted}")
    return load_live(folder)


@pytest.fixture(scope="module", params=["0", "0.5"])
def broken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A stream of 55 frames, a break, and 75 of another size, rate, codec and sample rate; kept, in its last state.

    With it what it said, and its tables in the break.
    """
    library, port = tmp_path_factory.mktemp("broken"), free_port()
    address = f"rtmp://127.0.0.1:{port}/live/key"
    arguments = (address, "--listen", "--chunk", str(request.param), *LADDER, *WHOLE)
    with live(library, *arguments) as process:
        assert sum(1 for _ in taken(port, 55, FIRST)) == 54
        paused = wait_for_state(library / "cam", "paused")
        assert paused.waits_s == 30 and paused.segments == 3 and paused.duration_s == pytest.approx(2.2)
        in_the_break = (library / "cam" / TABLES_FILE).read_text()
        assert sum(1 for _ in taken(port, 90, OTHER)) == 89
        wait_until(lambda: load_live(library / "cam").segments == 6, "all of what came")
        said = finish(process)
    return library / "cam", said, in_the_break


def test_it_goes_on_as_the_same_stream_without_a_frame_lost_or_doubled(broken: tuple[Path, str, str]):
    folder, said, _ = broken
    assert "its source has gone; what comes back within 30 s" in said and "its source is back" in said
    for rung in ("90p", "180p"):
        pictures = decode(joined(folder, f"video/{rung}"))
        assert pictures.warnings == ""
        assert pictures.times == [index * FRAME_S for index in range(130)]
    sound = decode(joined(folder, "audio/audio"), kind="a:0")
    assert sound.warnings == "" and sound.times[0] == 0
    assert 0 <= pictures.end_s - sound.end_s < FRAME_S
    gaps = [after - before for before, after in zip(sound.times, sound.times[1:], strict=False)]
    assert set(gaps) == {Fraction(1024, 48000)}


def test_what_comes_back_is_brought_to_the_size_that_it_began_with(broken: tuple[Path, str, str]):
    folder, *_ = broken
    (folder / "whole.mp4").write_bytes(joined(folder, "video/180p"))
    with av.open(folder / "whole.mp4") as container:
        shown = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    (folder / "whole.mp4").unlink()
    assert {each.shape for each in shown} == {(180, 320)}
    before, after = shown[50], shown[60]
    assert before[:, :30].mean() > 40, "the whole width"
    assert after[:, :30].max() < 30 and after[:, 60:260].mean() > 40, "4:3 between bars"


def test_the_sound_of_both_is_heard_to_the_break_and_from_it(broken: tuple[Path, str, str]):
    folder, *_ = broken
    (folder / "sound.mp4").write_bytes(joined(folder, "audio/audio"))
    with av.open(folder / "sound.mp4") as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    (folder / "sound.mp4").unlink()
    loud = [float(np.sqrt(np.mean(samples[at : at + 2400] ** 2))) > 0.1 for at in range(4800, 5 * 48000, 2400)]
    quiet = [0.1 + index * 0.05 for index, is_loud in enumerate(loud) if not is_loud]
    assert all(2.05 < at_s < 2.35 for at_s in quiet), quiet


def test_playlists_have_a_discontinuity_and_the_time_of_day_goes_on(broken: tuple[Path, str, str]):
    folder, *_ = broken
    for name in ("90p", "180p", "audio", "driven-video"):
        playlist = m3u8.load(str(folder / f"{name}.m3u8"))
        assert [segment.discontinuity for segment in playlist.segments] == [False] * 3 + [True, False, False]
        assert list(range(1, 7)) == [int(re.findall(r"([0-9]+)\.m4s", segment.uri)[0]) for segment in playlist.segments]
        times_s = [segment.program_date_time.timestamp() for segment in playlist.segments]
        assert times_s == sorted(times_s) and times_s[5] - times_s[3] == pytest.approx(2, abs=0.05)
        assert all(segment.duration <= playlist.target_duration + 0.5 for segment in playlist.segments)


def test_the_mpd_has_a_period_for_each_publisher(broken: tuple[Path, str, str]):
    folder, *_ = broken
    playlist = m3u8.load(str(folder / "180p.m3u8"))
    times_s = [segment.program_date_time.timestamp() for segment in playlist.segments]
    for name in ("manifest.mpd", "driven.mpd"):
        mpd = MPEGDASHParser.parse((folder / name).read_text())
        assert [period.id for period in mpd.periods] == ["0", "1"]
        first, second = mpd.periods
        assert (first.start, first.duration, second.duration) == ("PT0S", "PT2.200000S", "PT3.030000S")
        assert float(second.start[2:-1]) == pytest.approx(times_s[3] - times_s[0], abs=0.002)
        for adaptation_set in second.adaptation_sets:
            template = adaptation_set.segment_templates[0]
            assert template.start_number == 4
            assert Fraction(template.presentation_time_offset, template.timescale) == Fraction(55, 25)
            begins = Fraction(template.segment_timelines[0].Ss[0].t, template.timescale)
            assert 0 <= Fraction(55, 25) - begins < Fraction(1024, 48000)


def test_tables_know_the_break(broken: tuple[Path, str, str]):
    folder, _, in_the_break = broken
    assert json.loads(in_the_break)["waits_s"] == 30
    tables = load(folder / TABLES_FILE, LiveTables)
    tables.check("tables")
    assert [tables.frames(segment) for segment in range(6)] == [25, 25, 5, 25, 25, 25]
    assert tables.begin_s(3) == pytest.approx(2.2) and tables.end_s == pytest.approx(5.2)
    assert [tables.segment_at(media_s) for media_s in (0, 2.1, 2.21, 4.3)] == [0, 2, 3, 5]


def test_a_kept_stream_with_a_break_is_a_whole_title(tmp_path: Path):
    port = free_port()
    address = f"rtmp://127.0.0.1:{port}/live/key"
    arguments = (address, "--listen", *LADDER, *WHOLE, "--keep", "--panel-every", "0", "--vmaf-every", "30")
    with live(tmp_path, *arguments) as process:
        assert sum(1 for _ in taken(port, 30)) == 29
        wait_for_state(tmp_path / "cam", "paused")
        assert sum(1 for _ in taken(port, 30)) == 29
        wait_until(lambda: load_live(tmp_path / "cam").segments == 4, "all of what came")
        finish(process)
    title = Library(tmp_path).title("cam")
    assert title.segment_frames == (25, 5, 25, 5)
    assert len(decode(tmp_path / "cam" / "manifest.mpd").times) == 60
    assert all(len(quality.vmaf) == 4 for quality in title.plain_quality.values())


def test_one_that_does_not_come_back_ends_the_stream(tmp_path: Path):
    port = free_port()
    address = f"rtmp://127.0.0.1:{port}/live/key"
    with live(tmp_path, address, "--listen", "--reconnect", "1s", *LADDER, *WHOLE) as process:
        assert sum(1 for _ in taken(port, 30)) == 29
        said = finish(process, None)
    assert "did not come back within 1 s: cam is complete with 2 segments" in said
    assert load_live(tmp_path / "cam").state == "ended" and m3u8.load(str(tmp_path / "cam" / "90p.m3u8")).is_endlist
    mpd = MPEGDASHParser.parse((tmp_path / "cam" / "manifest.mpd").read_text())
    assert [(period.start, period.duration) for period in mpd.periods] == [("PT0S", "PT1.230000S")], "and a little more"


def test_stopped_in_a_break_it_ends_in_good_order(tmp_path: Path):
    port = free_port()
    with live(tmp_path, f"rtmp://127.0.0.1:{port}/live/key", "--listen", *LADDER, *WHOLE) as process:
        assert sum(1 for _ in taken(port, 30)) == 29
        wait_for_state(tmp_path / "cam", "paused")
        said = finish(process)
    assert "was stopped: cam is complete with 2 segments" in said


def test_a_second_publisher_reads_why_it_is_refused_and_the_first_goes_on(tmp_path: Path):
    port, clip = free_port(), make_clip(tmp_path / "clip.mp4", frames=50)
    where = f"rtmp://127.0.0.1:{port}/live/key"
    library = tmp_path / "library"
    with live(library, where, "--listen", "--reconnect", "0", *LADDER, *WHOLE) as process:
        sent = taken(port, 60)
        for index in sent:
            if index == 30:
                wait_until(lambda: state(library / "cam") is not None, "the stream")
                break
        command = [ffmpeg_program(), "-hide_banner", "-i", str(clip), "-c:v", "libx264", "-f", "flv", where]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert refused.returncode != 0
        assert "There is a publisher already; try again when it has gone." in refused.stderr, refused.stderr
        with pytest.raises((OSError, av.error.FFmpegError)):
            next(publish(port, 1))
        assert sum(1 for _ in sent) == 60 - 31
        said = finish(process, None)
    assert said.count("a second publisher was refused") == 1
    assert len(decode(joined(library / "cam", "video/90p")).times) == 60


def test_what_a_break_took_is_in_no_segment_and_between_periods(tmp_path: Path):
    now = SimpleNamespace(s=1_800_000_000.0)
    sent = Broadcast(tmp_path, lambda: now.s, window_s=60.0)
    sent.send(2)
    now.s += 2
    sent.publication.close_span(2, 2 * SEGMENT_FRAMES, waits_s=30.0)
    sent.publication.end()
    before = load(tmp_path / "cam" / TABLES_FILE, LiveTables)
    now.s += 21
    sent.publication.resume(now.s)
    sent.publication.note_picture(now.s, 2.0)
    sent.publication.note_picture(now.s - 0.46, 2.04)  # the one before was held for a while on its way
    sent.send(1)
    mpd = MPEGDASHParser.parse((tmp_path / "cam" / "manifest.mpd").read_text())
    assert [period.start for period in mpd.periods] == ["PT0S", "PT22.500000S"]
    tables = load(tmp_path / "cam" / TABLES_FILE, LiveTables)
    assert tables.came_s(2) - before.came_s(1) == pytest.approx(1 + 20.5)
    playlist = m3u8.load(str(tmp_path / "cam" / "108p.m3u8"))
    times_s = [segment.program_date_time.timestamp() for segment in playlist.segments]
    assert times_s[2] - times_s[1] == pytest.approx(21.5, abs=0.002)


def test_breaks_that_have_left_the_window_are_counted(tmp_path: Path):
    now = SimpleNamespace(s=1_800_000_000.0)
    sent = Broadcast(tmp_path, lambda: now.s)
    for count in range(1, 4):
        sent.send(3)
        sent.publication.close_span(3 * count, 3 * count * SEGMENT_FRAMES, waits_s=30.0)
        now.s += 10
        sent.publication.resume(now.s)
        sent.publication.note_picture(now.s, 3.0 * count)
    sent.send(2)
    playlist = m3u8.load(str(tmp_path / "cam" / "108p.m3u8"))
    assert playlist.media_sequence == 8 and playlist.discontinuity_sequence == 2
    assert [segment.discontinuity for segment in playlist.segments] == [False, False, True, False]
    mpd = MPEGDASHParser.parse((tmp_path / "cam" / "manifest.mpd").read_text())
    assert [(period.id, period.start) for period in mpd.periods] == [("2", "PT20.000000S"), ("3", "PT30.000000S")]
    tables = load(tmp_path / "cam" / TABLES_FILE, LiveTables)
    assert tables.first_stored == 2 and [span.number for span in tables.spans] == [0, 1, 2, 3]
    sent.send(20)
    assert [span.number for span in load(tmp_path / "cam" / TABLES_FILE, LiveTables).spans] == [3]
    assert m3u8.load(str(tmp_path / "cam" / "108p.m3u8")).discontinuity_sequence == 3


@pytest.mark.parametrize(
    ("place", "returns"),
    [
        ("rtmp://h/a/k", True),
        ("rtsp://h/a", True),
        ("udp://h:1", True),
        ("http://h/a.ts", False),
        ("film.mp4", False),
        ("-", False),
    ],
)
def test_what_may_be_a_file_does_not_come_back(place: str, returns: bool):
    assert Address(place=place, return_s=30).may_return is returns
    assert not Address(place=place).may_return


def test_a_clock_that_wraps_in_mid_stream_is_not_heard_or_seen(tmp_path: Path):
    """MPEG-TS counts 33 bits of 1/90000 s: it begins anew after 95443.7 s."""
    source = tmp_path / "wraps.ts"
    make_clip(tmp_path / "clip.mp4", frames=100, sound_s=4.0)
    shifted = ["-output_ts_offset", "95441.7", "-muxdelay", "0", "-c", "copy", "-f", "mpegts", str(source)]
    subprocess.run([ffmpeg_program(), "-v", "error", "-i", str(tmp_path / "clip.mp4"), *shifted], check=True)
    done = run_on(tmp_path, source.read_bytes(), *LADDER, "--heights", "64,108", *WHOLE, "--json")
    assert done.returncode == 0, done.stderr
    pictures, sound = (
        decode(joined(tmp_path / "cam", "video/108p")),
        decode(joined(tmp_path / "cam", "audio/audio"), kind="a:0"),
    )
    assert pictures.times == [index * FRAME_S for index in range(100)]
    assert 0 <= pictures.end_s - sound.end_s < FRAME_S
