"""What comes of a source: all of its frames in step, whatever its clock and its sound do, or one clear sentence."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from pathlib import Path

import av
import m3u8
import numpy as np
import pytest
from clips import make_clip, picture
from live_process import LIVE, SMALL, finish, live, run, run_on, wait_for_segment
from oracle import decode
from ports import free_port
from publisher import publish, taken
from serve_process import clean_environment
from waiting import wait_until

from server.live.pictures import Listeners, SpanPictures
from server.live.source import reader as source_module
from server.live.source.address import Address
from server.live.source.early_sound import EARLY_MAX_S
from server.live.source.reader import Arrived, LiveSource
from server.live.source.spans import LOOK_AHEAD_S, SourceSpan, begin

RATE = 25
FRAME_S = Fraction(1, RATE)
SMALLER = ("--heights", "64,108", "--preset", "ultrafast", "--segment-seconds", "0.5", "--audio-bitrate", "64k")
WHOLE = ("--window", "60s", "--name", "cam", "--json")


def joined(folder: Path, part: str) -> bytes:
    files = [folder / part / "init.mp4", *sorted((folder / part).glob("seg-*.m4s"))]
    return b"".join(file.read_bytes() for file in files)


def check_whole(library: Path, frames: int, *, rendition: str = "108p", with_sound: bool = True) -> None:
    """All frames are there, once and in order, in segments that decode; sound is as long to an AAC frame."""
    pictures = decode(joined(library / "cam", f"video/{rendition}"))
    assert pictures.times == [index * FRAME_S for index in range(frames)]
    assert pictures.warnings == ""
    if with_sound:
        sound = decode(joined(library / "cam", "audio/audio"), kind="a:0")
        assert sound.times[0] == 0 and sound.warnings == ""
        assert 0 <= pictures.end_s - sound.end_s < FRAME_S


def flash(width_px: int, height_px: int, index: int) -> np.ndarray:
    """White from the thirtieth picture on."""
    return np.full((height_px, width_px, 3), 255 if index >= 30 else 20, np.uint8)


def first_bright_s(library: Path) -> float:
    part = library / "pictures.mp4"
    part.write_bytes(joined(library / "cam", "video/108p"))
    with av.open(part) as container:
        return next(frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)


def first_loud_s(library: Path) -> float:
    part = library / "sound.mp4"
    part.write_bytes(joined(library / "cam", "audio/audio"))
    with av.open(part) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return int(np.argmax(np.abs(samples) > 0.1)) / 48000


def test_a_flash_and_its_beep_come_together(tmp_path: Path):
    clip = make_clip(tmp_path / "flash.mp4", frames=70, paint=flash, sound_s=1.6, sound_from_s=1.2)
    done = run(tmp_path, str(clip), *SMALLER, *WHOLE)
    assert done.returncode == 0, done.stderr
    check_whole(tmp_path, 70)
    assert first_bright_s(tmp_path) == pytest.approx(1.2)
    assert abs(first_loud_s(tmp_path) - 1.2) < 0.04


def test_sound_that_stops_and_pictures_that_go_on(tmp_path: Path):
    clip = make_clip(tmp_path / "short.mp4", frames=120, sound_s=1.0)
    done = run(tmp_path, str(clip), *SMALLER, *WHOLE)
    assert done.returncode == 0, done.stderr
    check_whole(tmp_path, 120)
    assert json.loads(done.stdout)["frames"] == 120


def test_a_last_segment_shorter_than_an_aac_frame_has_sound(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", frames=121, rate=Fraction(60), sound_s=2.1)
    arguments = ("--heights", "64,108", "--preset", "ultrafast", "--segment-seconds", "2", *WHOLE)
    done = run(tmp_path, str(clip), *arguments)
    assert done.returncode == 0, done.stderr
    playlist = m3u8.load(str(tmp_path / "cam" / "audio.m3u8"))
    assert [round(segment.duration * 48000 / 1024) for segment in playlist.segments] == [94, 1]
    sound = (tmp_path / "cam" / "manifest.mpd").read_text().partition('contentType="audio"')[2]
    assert [int(found) for found in re.findall(r' d="([0-9]+)"', sound)] == [94 * 1024, 1024]


def test_a_source_without_sound(tmp_path: Path):
    clip = make_clip(tmp_path / "silent.mp4", frames=40)
    assert run(tmp_path, str(clip), *SMALLER, *WHOLE).returncode == 0
    check_whole(tmp_path, 40, with_sound=False)
    assert "audio" not in (tmp_path / "cam" / "master.m3u8").read_text()


def transport_stream(path: Path, begin_s: int, size_px: tuple[int, int] = (192, 108)) -> bytes:
    """Two seconds of MPEG-TS whose timestamps begin there, with a key frame in each second."""
    width_px, height_px = size_px
    with av.open(path, "w", options={"mpegts_copyts": "1"}, format="mpegts") as container:
        video, sound = container.add_stream("libx264", rate=RATE), container.add_stream("aac", rate=48000)
        video.width, video.height, video.pix_fmt = width_px, height_px, "yuv420p"
        video.codec_context.gop_size = RATE
        for index in range(2 * RATE):
            frame = av.VideoFrame.from_ndarray(picture(width_px, height_px, index), format="rgb24")
            frame.pts, frame.time_base = begin_s * RATE + index, FRAME_S
            container.mux(video.encode(frame))
            for block in range(index * 48000 // RATE // 1024, (index + 1) * 48000 // RATE // 1024):
                heard = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
                heard.sample_rate, heard.pts, heard.time_base = (
                    48000,
                    begin_s * 48000 + block * 1024,
                    Fraction(1, 48000),
                )
                container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("second_s", [70_000, 3])
def test_timestamps_that_jump_do_not_part_pictures_and_sound(tmp_path: Path, second_s: int):
    parts = [transport_stream(tmp_path / f"{begin_s}.ts", begin_s) for begin_s in (10, second_s)]
    done = run_on(tmp_path, b"".join(parts), *SMALLER, *WHOLE)
    assert done.returncode == 0, done.stderr
    assert b"its timestamps jumped" in done.stderr
    check_whole(tmp_path, 100)


def test_another_size_in_mid_stream_is_brought_to_the_first(tmp_path: Path):
    parts = [transport_stream(tmp_path / "a.ts", 10), transport_stream(tmp_path / "b.ts", 12, (160, 120))]
    done = run_on(tmp_path, b"".join(parts), *SMALLER, *WHOLE)
    assert done.returncode == 0, done.stderr
    check_whole(tmp_path, 100)


def test_a_stream_that_turns_up_on_the_way_is_left_aside(tmp_path: Path):
    clips = [make_clip(tmp_path / "a.ts", frames=50), make_clip(tmp_path / "b.ts", frames=50, sound_s=2.0)]
    done = run_on(tmp_path, b"".join(clip.read_bytes() for clip in clips), *SMALLER, *WHOLE)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    check_whole(tmp_path, 100, with_sound=False)


def test_huge_pictures_wait_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source_module, "_QUEUE_PX", 2 * 192 * 108)
    clip = make_clip(tmp_path / "clip.mp4", frames=60, sound_s=2.4)
    source = LiveSource(Address(place=str(clip)))
    source.start()
    assert source.opened() is not None
    waiting = [source._pixels for arrived in source.frames() if arrived.is_picture]
    assert len(waiting) == 60 and max(waiting) <= 2 * 192 * 108


def test_a_source_that_falls_silent_ends_its_stream_with_what_there_is(tmp_path: Path):
    data = transport_stream(tmp_path / "a.ts", 10)
    reader, writer = os.pipe()
    command = [*SMALLER, *WHOLE, "--silence", "3s"]
    process = subprocess.Popen(
        [*LIVE, "-", *command, "--library", str(tmp_path)],
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    os.close(reader)
    threading.Thread(target=os.write, args=(writer, data), daemon=True).start()
    out, said = process.communicate(timeout=120)  # the pipe stays open all the while
    os.close(writer)
    assert process.returncode == 0, said
    assert b"has sent nothing for 3 s" in said and b"is complete with" in said
    assert json.loads(out)["frames"] > RATE
    check_whole(tmp_path, json.loads(out)["frames"])


def test_a_publisher_sends_to_us_and_a_second_one_is_refused(tmp_path: Path):
    port = free_port()
    address = f"rtmp://127.0.0.1:{port}/live/key"
    with live(tmp_path, address, "--listen", "--reconnect", "0", *SMALL, "--window", "60s", "--name", "cam") as process:
        for index in taken(port, 150):
            if index == 100:
                wait_for_segment(tmp_path / "cam", 2)
                with pytest.raises((OSError, av.error.FFmpegError)):
                    next(publish(port, 1))
        said = finish(process, None)
    assert "is complete with" in said
    check_whole(tmp_path, 150, rendition="180p")


def test_a_transport_stream_comes_by_udp(tmp_path: Path):
    port = free_port()
    data = transport_stream(tmp_path / "a.ts", 10)
    arguments = (
        f"udp://127.0.0.1:{port}",
        *SMALLER,
        "--window",
        "60s",
        "--name",
        "cam",
        "--silence",
        "10s",
        "--reconnect",
        "0",
    )
    stopped = threading.Event()

    def send() -> None:
        """The same two seconds again and again: what nobody hears yet is lost."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not stopped.is_set():
                for at in range(0, len(data), 1316):
                    out.sendto(data[at : at + 1316], ("127.0.0.1", port))
                    stopped.wait(0.01)

    sender = threading.Thread(target=send)
    with live(tmp_path, *arguments) as process:
        sender.start()
        try:
            wait_until(lambda: (tmp_path / "cam" / "master.m3u8").is_file() or process.poll() is not None, "a segment")
        finally:
            stopped.set()
            sender.join()
        said = finish(process, None)
    assert "has sent nothing for 10 s" in said
    decoded = decode(joined(tmp_path / "cam", "video/108p"))
    assert decoded.warnings == "" and decoded.times == [index * FRAME_S for index in range(len(decoded.times))]


def test_a_transport_stream_comes_by_http(tmp_path: Path):
    data = transport_stream(tmp_path / "a.ts", 10)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run(tmp_path, f"http://user:secret@127.0.0.1:{server.server_port}/a?token=hidden", *SMALLER, *WHOLE)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stderr + done.stdout and "hidden" not in done.stderr + done.stdout
    check_whole(tmp_path, 50)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("garbage.bin", "cannot be opened as a live source"),
        ("empty.mp4", "cannot be opened as a live source"),
        ("list.m3u8", "cannot be opened as a live source"),
        ("sound.wav", "has no video stream"),
        ("nowhere.mp4", "There is no file"),
        ("http://[::1/x", "'http://[::1/x' is no address"),
        ("gopher://127.0.0.1/x", "gopher:// is no source that can be taken"),
        ("srt://127.0.0.1:1", "let a relay such as MediaMTX take it"),
        ("rtsp://127.0.0.1:1/x", "cannot be opened as a live source"),
    ],
)
def test_what_is_no_source_is_one_sentence_and_leaves_nothing(tmp_path: Path, place: str, sentence: str):
    (tmp_path / "garbage.bin").write_bytes(np.random.default_rng(1).bytes(200_000))
    (tmp_path / "empty.mp4").touch()
    make_clip(tmp_path / "a.mp4", frames=10)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    with av.open(tmp_path / "sound.wav", "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    library = tmp_path / "library"
    done = run(library, place if "://" in place else str(tmp_path / place), *WHOLE)
    assert done.returncode == 2 and sentence in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not library.exists() or list(library.iterdir()) == []


def test_connections_that_are_no_publishers_do_not_end_the_wait(tmp_path: Path):
    port = free_port()
    address = f"rtmp://127.0.0.1:{port}/live/key"

    def held_s(words: bytes, *, leave: bool) -> float | None:
        """How long the listener kept a guest that says so much; None when there was no listener."""
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)) as guest:
            begun_s = time.monotonic()
            with suppress(ConnectionError):
                guest.sendall(words)
                while not leave and guest.recv(4096):
                    pass
            return time.monotonic() - begun_s
        return None

    patience = ("--silence", "5s", "--reconnect", "0")
    with live(tmp_path, address, "--listen", *patience, *SMALL, "--window", "60s", "--name", "cam") as process:
        for words in (b"", b"GET / HTTP/1.0\r\n\r\n", b"x" * 2000):
            wait_until(lambda words=words: held_s(words, leave=True) is not None, "the listener")
        wait_until(lambda: (held_s(b"", leave=False) or 0) > 4, "a silent guest that is let go after --silence")
        assert sum(1 for _ in taken(port, 50)) == 49
        said = finish(process, None)
    assert "is complete with" in said
    check_whole(tmp_path, 50, rendition="180p")


def test_an_address_that_cannot_be_listened_at_is_told_at_once(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"rtmp://127.0.0.1:{taken.getsockname()[1]}/live/key"
        done = run(tmp_path, place, "--listen", "--wait", "10m", *WHOLE)
    assert done.returncode == 2 and "Address already in use" in done.stderr, done.stderr
    done = run(tmp_path, "rtmp://nowhere.invalid/live/key", "--listen", "--wait", "10m", *WHOLE)
    assert done.returncode == 2 and "cannot be opened as a live source" in done.stderr, done.stderr


def test_pictures_that_stop_while_sound_goes_on_end_the_stream(tmp_path: Path):
    place = "testsrc2=size=192x108:rate=25:duration=2[out0];sine[out1]"
    done = run(tmp_path, place, "--format", "lavfi", "--pace", "--silence", "3s", *SMALLER, *WHOLE)
    assert done.returncode == 0 and "has sent no picture for 3 s" in done.stderr, done.stderr
    check_whole(tmp_path, 50)


class Sender:
    """In place of a LiveSource: sends sound of 20 ms for ever, and a picture after so many seconds of it."""

    ended_by = ""
    address = Address(place="-")

    def __init__(self, picture_after_s: float) -> None:
        self.sent = 0
        self._picture_at = int(picture_after_s * 50)

    def opened(self) -> object:
        return object()

    def frames(self) -> Iterator[Arrived]:
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
        sound.sample_rate = 48000
        while self.sent < 100_000:
            yield Arrived(av.VideoFrame(16, 16) if self.sent == self._picture_at else sound, 0.0)
            self.sent += 1


@pytest.mark.parametrize(("picture_after_s", "early_s"), [(3, 3), (600, EARLY_MAX_S)])
def test_sound_that_waits_for_pictures_is_bounded(picture_after_s: float, early_s: float):
    sender = Sender(picture_after_s)
    ahead = begin(sender).ahead  # type: ignore[arg-type]
    before = next(index for index, each in enumerate(ahead) if each.is_picture)
    assert before / 50 == pytest.approx(early_s, abs=0.05)
    assert (len(ahead) - before) / 50 == pytest.approx(LOOK_AHEAD_S, abs=0.05)


def test_sound_beside_pictures_without_times_is_bounded():
    (*_, sound) = Sender(0).frames()
    arrivals = chain([Arrived(av.VideoFrame(16, 16), 0.0)], repeat(sound, 5000))
    span = SourceSpan(footage=None, filters=(), first_picture_s=0.0, arrivals=arrivals)  # type: ignore[arg-type]
    listeners = Listeners(publication=None, sound=object())  # type: ignore[arg-type]
    pictures = SpanPictures(span, listeners, Fraction(0))
    assert len(list(pictures._pictures())) == 1
    assert sum(each.sound_s for each in pictures._early) == pytest.approx(EARLY_MAX_S, abs=0.05)


def test_nobody_publishes(tmp_path: Path):
    begun_s = time.monotonic()
    done = run(tmp_path, f"rtmp://127.0.0.1:{free_port()}/live/key", "--listen", "--wait", "1s", *WHOLE)
    assert "waits for a publisher at rtmp://127.0.0.1" in done.stderr
    assert "/live" in done.stderr and "key" not in done.stderr, "it is as good as a password"
    assert done.returncode == 2 and "has sent nothing for 1 s" in done.stderr, done.stderr
    assert time.monotonic() - begun_s >= 1 and list(tmp_path.iterdir()) == []
