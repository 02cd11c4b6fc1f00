"""How a stream may end: kept as a title, killed, or begun anew; what is served is whole at every moment."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import m3u8
import pytest
from click.testing import CliRunner
from clips import make_clip, picture
from live_process import SMALL, TEST_SOURCE, fetched, finish, live, run
from oracle import decode
from ports import free_port
from serve_process import ask, served
from waiting import wait_until

from abr.cli import root
from abr.errors import InputError, MediaError, ToprungError, UnknownNameError
from server.live import stream as stream_module
from server.media.cli import list_titles
from server.media.library import Library
from server.media.live_title import LiveTitle, load_live
from server.media.removal import remove_title

FRAME_S = Fraction(1, 25)
NEVER = ("--silence", "10m")
MEASURED = ("--panel-every", "0", "--vmaf-every", "30")
FAST = ("--heights", "64,108", "--preset", "ultrafast", "--segment-seconds", "1")


def is_live(folder: Path, holds: Callable[[LiveTitle], bool]) -> bool:
    """Whether there is a live title of which that holds; not while a new one takes the place of an old one."""
    try:
        return holds(load_live(folder))
    except ToprungError:
        return False


def wait_for_segment(folder: Path, number: int) -> None:
    """Until all renditions list segment `number` (1-based), or a later one: `live.json` is written after them."""
    wait_until(
        lambda: is_live(folder, lambda told: told.first_segment + told.segments >= number),
        f"segment {number} of {folder.name}",
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a stream that has become a title: longer than its window."""
    home = tmp_path_factory.mktemp("kept")
    clip = make_clip(home / "clip.mp4", frames=110, sound_s=4.4)
    recording = str(home / "film.nut")
    chunks = ("--chunk", "0.5")
    arguments = (*FAST, *chunks, "--window", "3s", "--name", "film", "--keep", *MEASURED, "--recording", recording)
    done = run(home / "library", str(clip), *arguments)
    assert done.returncode == 0, done.stderr
    return home / "library"


def test_a_kept_stream_is_a_whole_title_with_its_quality(kept: Path):
    title = Library(kept).title("film")
    assert title.segment_frames == (25, 25, 25, 25, 10)
    for rendition in title.renditions:
        home = kept / "film" / "video" / rendition.id
        files = sorted(home.glob("seg-*.m4s"))
        assert tuple(file.stat().st_size for file in files) == rendition.segment_bytes
        decoded = decode((home / "init.mp4").read_bytes() + b"".join(file.read_bytes() for file in files))
        assert decoded.times == [index * FRAME_S for index in range(110)] and decoded.warnings == ""
        quality = title.plain_quality[rendition.id]
        assert len(quality.vmaf) == 5 and all(0 < vmaf <= 100 for vmaf in quality.vmaf)
    low, high = (title.plain_quality[rendition.id].ssim for rendition in title.renditions)
    assert sum(high) > sum(low) and sum(high) / len(high) > 0.9, "measured against the right frames"
    assert len(title.audio[0].segment_bytes) == 5


def test_nothing_of_the_work_stays(kept: Path):
    assert {entry.name.partition("-")[0] for entry in kept.iterdir()} == {"film", ".replaced"}
    assert Library(kept).live_titles() == []


def test_the_recording_is_what_training_takes(kept: Path):
    from abr.media.source_frames import reference_frames

    title = Library(kept).title("film")
    assert sum(1 for _ in reference_frames(kept.parent / "film.nut", title)) == 110


def test_the_server_treats_a_kept_stream_as_any_title(kept: Path):
    with served("--library", str(kept)) as url:
        (line,) = json.loads(ask(f"{url}titles")[1])["titles"]
        assert "live" not in line and line["duration_s"] == pytest.approx(4.4)
        status, body, _ = ask(f"{url}sessions", b'{"title": "film"}')
        assert status == 201, body
        session = json.loads(body)["id"]
        decided = [ask(f"{url}sessions/{session}/video/{number}.m4s") for number in range(1, 6)]
        assert [status for status, *_ in decided] == [200] * 5
        init = ask(f"{url}sessions/{session}/video/init.mp4")[1]
        assert len(decode(init + b"".join(body for _, body, _ in decided)).times) == 110
        assert b'type="static"' in ask(f"{url}titles/film/manifest.mpd")[1]
        assert ask(f"{url}titles/film/time")[0] == 404


def test_whoever_watched_its_last_minutes_can_go_on(kept: Path):
    (replaced,) = kept.glob(".replaced-film-*")
    version = replaced.name.rpartition("-")[2]
    with served("--library", str(kept)) as url:
        where = f"{url}titles/film/v-{version}/108p.m3u8"
        playlist = ask(where)[1].decode()
        assert m3u8.loads(playlist).is_endlist
        decoded = decode(fetched(where, playlist))
        opened = json.loads(ask(f"{url}sessions", json.dumps({"title": "film", "version": version}).encode())[1])
        assert opened["live"] is True
        session = f"{url}sessions/{opened['id']}"
        numbers = [
            int(number) for number in re.findall(r"video/([0-9]+)\.m4s", ask(f"{session}/video.m3u8")[1].decode())
        ]
        assert [ask(f"{session}/video/{number}.m4s")[0] for number in numbers] == [200] * len(numbers) != []
    assert decoded.warnings == "" and decoded.times[-1] == 109 * FRAME_S


def test_a_name_that_is_a_title_is_refused(kept: Path):
    before = (kept / "film" / "title.json").read_bytes()
    done = run(kept, *TEST_SOURCE, "--name", "film")
    assert done.returncode == 2 and "already has a title 'film'" in done.stderr
    assert (kept / "film" / "title.json").read_bytes() == before


def test_killed_it_can_be_watched_up_to_its_last_segment_and_begins_anew(tmp_path: Path):
    arguments = (*TEST_SOURCE, *SMALL, "--window", "60s", "--name", "cam")
    with served("--library", str(tmp_path)) as url:
        where = f"{url}titles/cam/180p.m3u8"
        with live(tmp_path, *arguments) as process:
            wait_for_segment(tmp_path / "cam", 3)
            process.send_signal(signal.SIGKILL)
            process.wait()
        old = ask(where)[1].decode()
        decoded = decode(fetched(where, old))
        assert decoded.warnings == "" and len(decoded.times) == 12 * len(m3u8.loads(old).segments) >= 24
        before = load_live(tmp_path / "cam").version
        with live(tmp_path, *arguments) as process:
            wait_until(lambda: is_live(tmp_path / "cam", lambda told: told.version != before), "the new stream")
            wait_for_segment(tmp_path / "cam", 1)
            new = ask(where)[1].decode()
            last = f"{url}titles/cam/{old.splitlines()[-1]}"
            wait_until(lambda: ask(last)[0] == 410, "the server looks at the disk again")
            assert b"began anew" in ask(last)[1]
            finish(process)
        assert m3u8.loads(new).media_sequence == 1 and old.splitlines()[-1] not in new


def test_nothing_stays_of_a_killed_stream_that_is_removed(tmp_path: Path):
    with live(tmp_path, *TEST_SOURCE, *SMALL, "--name", "cam", "--keep") as process:
        wait_for_segment(tmp_path / "cam", 2)
        process.kill()
        process.wait()
    assert Library(tmp_path).building("cam").is_dir()
    remove_title(Library(tmp_path), "cam")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "manifest.mpd"])
def test_a_folder_that_is_no_live_title_is_refused_and_left_alone(tmp_path: Path, name: str):
    clip = make_clip(tmp_path / "clip.mp4", frames=10)
    theirs = tmp_path / "library" / "cam" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("somebody's")
    done = run(tmp_path / "library", str(clip), *FAST, "--name", "cam")
    assert done.returncode == 2 and "is there already and is no title" in done.stderr, done.stderr
    assert list((tmp_path / "library").rglob("*")) == [theirs.parent, theirs] and theirs.read_text() == "somebody's"


def test_a_recording_that_cannot_be_put_there_is_refused_at_once(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", frames=10)
    recording = str(clip / "film.nut")
    done = run(tmp_path / "library", str(clip), *FAST, "--name", "cam", "--keep", "--recording", recording)
    assert done.returncode == 2 and "choose another --recording" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "library" / "cam").exists()


@pytest.mark.parametrize("error", [MediaError("The meter failed."), KeyboardInterrupt()])
def test_the_recording_stays_when_measuring_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(stream_module, "keep_title", fail)
    clip, recording = make_clip(tmp_path / "clip.mp4", frames=30), tmp_path / "new" / "film.nut"
    arguments = (*FAST, "--name", "cam", "--keep", "--recording", str(recording))
    done = CliRunner().invoke(root, ["live", str(clip), "--library", str(tmp_path / "library"), *arguments])
    assert done.exit_code != 0 and f"the recording of cam is {recording}" in done.stderr, done.stderr
    assert len(decode(recording.read_bytes()).times) == 30
    assert load_live(tmp_path / "library" / "cam").state == "ended"
    assert [entry.name for entry in (tmp_path / "library").iterdir()] == ["cam"]


def test_before_its_first_segment_a_stream_is_there_and_says_that_it_waits(tmp_path: Path):
    with served("--library", str(tmp_path)) as url, live(tmp_path, "-", *SMALL, *NEVER, "--name", "cam"):
        wait_until((tmp_path / "cam" / "live.json").is_file, "the stream")
        status, body, headers = ask(f"{url}titles/cam/manifest.mpd")
        assert status == 404 and b"has not begun" in body and headers["Retry-After"] == "2"
        assert json.loads(ask(f"{url}titles")[1])["titles"][0]["live"] == "waiting"
        assert b"has not begun" in ask(f"{url}sessions", b'{"title": "cam"}')[1]


def live_title(**changed: object) -> LiveTitle:
    given = {"id": "cam", "state": "running", "version": "0" * 16, "segment_s": 2.0, "window_s": 60.0}
    return LiveTitle(**{**given, "updated_s": 1000.0, **changed})  # type: ignore[arg-type]


def test_a_stream_that_completes_nothing_any_more_counts_as_interrupted():
    running = live_title()
    assert [running.state_at(now_s) for now_s in (1001, 1019, 1021)] == ["running", "running", "interrupted"]
    assert "was interrupted" in running.describe(2000)
    assert live_title(segment_s=10.0).state_at(1049) == "running"
    assert live_title(state="ended").state_at(9e9) == "ended"


def test_a_live_title_is_none_of_the_prepared_ones(tmp_path: Path):
    make_clip(tmp_path / "clip.mp4", frames=30)
    assert run(tmp_path, str(tmp_path / "clip.mp4"), *SMALL[2:], "--heights", "64,108", "--name", "cam").returncode == 0
    library = Library(tmp_path)
    assert library.titles() == [] and library.live_titles() == ["cam"]
    assert load_live(tmp_path / "cam").state == "ended"
    with pytest.raises(UnknownNameError):
        library.title("cam")


def test_a_live_title_is_listed_and_can_be_removed_once_it_has_ended(tmp_path: Path):
    with live(tmp_path, *TEST_SOURCE, *SMALL, "--name", "cam") as process:
        wait_for_segment(tmp_path / "cam", 1)
        with pytest.raises(InputError, match="cam is running: stop it"):
            remove_title(Library(tmp_path), "cam")
        finish(process)
    listed = CliRunner().invoke(list_titles, ["--library", str(tmp_path)])
    assert "The live stream 'cam' has ended" in listed.stderr
    remove_title(Library(tmp_path), "cam")
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from abr.cli import main
sys.argv[0] = "toprung"
main()
"""


@pytest.mark.parametrize(("limit_bytes", "something"), [(600, False), (9_000, True)])
def test_a_disk_that_takes_no_more_ends_the_stream_with_a_sentence(tmp_path: Path, limit_bytes: int, something: bool):
    """Two seconds are black, and small; then come segments that are too large for the disk."""
    clip = make_clip(tmp_path / "clip.mp4", frames=100, paint=lambda w, h, n: picture(w, h, n) * (n > 50))
    library = tmp_path / "library"
    command = ["live", str(clip), "--library", str(library), "--name", "cam", *FAST, "--crf", "10"]
    done = subprocess.run([sys.executable, "-c", FULL, str(limit_bytes), *command], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Cannot write" in done.stderr and "Traceback" not in done.stderr
    assert Library(library).live_titles() == (["cam"] if something else [])
    if something:
        assert load_live(library / "cam").state == "ended"
        assert m3u8.load(str(library / "cam" / "108p.m3u8")).is_endlist


def test_stopped_before_anything_came_nothing_is_left(tmp_path: Path):
    address = f"rtmp://127.0.0.1:{free_port()}/live/key"
    with live(tmp_path, address, "--listen", "--name", "cam") as process:
        wait_until((tmp_path / "cam" / "live.json").is_file, "the stream")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and said.endswith("Stopped.\n") and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
