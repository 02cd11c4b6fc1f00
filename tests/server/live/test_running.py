"""A stream while it runs, as viewers of `toprung serve` on the same library see it, and when it is ended in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import m3u8
import pytest
from live_process import SMALL, TEST_SOURCE, fetched, finish, listed_numbers, live, run, wait_for_segment
from mpegdash.parser import MPEGDASHParser
from oracle import Decoded, decode
from serve_process import ask, served

WINDOW_S = 4
FRAME_S = Fraction(1, 25)


@dataclass
class Seen:
    """What was asked for and answered, in order: while the stream ran, then after it had been ended."""

    library: Path
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    second: tuple[int, str] = (0, "")
    said: str = ""

    def text(self, name: str) -> str:
        return self.answers[name][1].decode()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    found = Seen(tmp_path_factory.mktemp("library"))
    arguments = (*TEST_SOURCE, *SMALL, "--window", f"{WINDOW_S}s", "--name", "cam")
    with served("--library", str(found.library)) as url, live(found.library, *arguments) as process:
        title = f"{url}titles/cam/"

        def note(name: str, where: str, data: bytes | None = None) -> str:
            found.answers[name] = ask(where, data)
            return found.answers[name][1].decode(errors="replace")

        wait_for_segment(found.library / "cam", 20)
        for name in ("90p", "180p", "audio"):
            playlist = note(name, f"{title}{name}.m3u8")
            found.pictures[name] = fetched(f"{title}{name}.m3u8", playlist)
        mpd = note("mpd", f"{title}manifest.mpd")
        note("master", f"{title}master.m3u8")
        note("list", f"{url}titles")
        note("time", f"{title}time")
        note("session", f"{url}sessions", b'{"title": "cam"}')
        note("gone", f"{title}video/90p/seg-00001.m4s")
        note("to come", f"{title}video/90p/seg-09999.m4s")
        number = listed_numbers(found.text("90p"))[-1]
        note("segment", f"{title}{_base(mpd)}video/90p/seg-{number:05d}.m4s")
        second = run(found.library, *arguments)
        found.second = second.returncode, second.stderr
        found.said = finish(process)
        for name in ("90p", "audio"):
            playlist = note(f"ended {name}", f"{title}{name}.m3u8")
            found.pictures[f"ended {name}"] = fetched(f"{title}{name}.m3u8", playlist)
        note("ended mpd", f"{title}manifest.mpd")
        note("ended list", f"{url}titles")
        note("ended session", f"{url}sessions", b'{"title": "cam"}')
        yield found


def _base(mpd: str) -> str:
    found = re.search(r"<BaseURL>(.+)</BaseURL>", mpd)
    assert found is not None
    return found[1]


def _is_whole(decoded: Decoded, playlist: m3u8.M3U8) -> bool:
    """Every frame from the first to the last listed one, once, in order."""
    first = (playlist.media_sequence - 1) * 12
    count = round(sum(segment.duration for segment in playlist.segments) * 25)
    return decoded.times == [(first + index) * FRAME_S for index in range(count)]


@pytest.mark.parametrize("rendition", ["90p", "180p", "ended 90p"])
def test_all_listed_segments_decode_to_their_frames_and_no_others(seen: Seen, rendition: str):
    decoded = decode(seen.pictures[rendition])
    assert decoded.warnings == ""
    assert _is_whole(decoded, m3u8.loads(seen.text(rendition)))


@pytest.mark.parametrize("when", ["", "ended "])
def test_sound_begins_and_ends_with_the_pictures(seen: Seen, when: str):
    pictures = decode(seen.pictures[f"{when}90p"])
    sound = decode(seen.pictures[f"{when}audio"], kind="a:0")
    assert sound.warnings == ""
    numbers = listed_numbers(seen.text(f"{when}90p")), listed_numbers(seen.text(f"{when}audio"))
    later = numbers[1][0] - numbers[0][0]  # the second playlist is read a little later
    assert abs(sound.times[0] - pictures.times[0] - later * 12 * FRAME_S) <= Fraction(1024, 48000)
    if when:
        assert 0 <= pictures.end_s - sound.end_s <= FRAME_S


def test_the_mpd_is_dynamic_and_lists_the_window(seen: Seen):
    mpd = MPEGDASHParser.parse(seen.text("mpd"))
    assert mpd.type == "dynamic" and mpd.minimum_update_period and mpd.utc_timings
    begun, published = (datetime.fromisoformat(text) for text in (mpd.availability_start_time, mpd.publish_time))
    video = mpd.periods[0].adaptation_sets[0]
    template = video.segment_templates[0]
    (entry,) = template.segment_timelines[0].Ss
    edge_s = (entry.t + entry.d * ((entry.r or 0) + 1)) / template.timescale
    assert entry.t / template.timescale > 0 and (entry.r or 0) + 1 == 9, "4 s of 0.48 s"
    assert (published - begun).total_seconds() > edge_s - 0.5, "nothing is listed before its time"
    assert [each.id for each in video.representations] == ["90p", "180p"]


def test_playlists_are_live_and_slide(seen: Seen):
    playlist = m3u8.loads(seen.text("90p"))
    assert not playlist.is_endlist and len(playlist.segments) == 9
    assert playlist.media_sequence > 1 and playlist.segments[0].program_date_time is not None


def test_manifests_are_kept_for_a_second_and_segments_for_good(seen: Seen):
    for name in ("mpd", "master", "90p", "audio"):
        assert seen.answers[name][2]["Cache-Control"] == "public, max-age=1", name
    assert "immutable" in seen.answers["segment"][2]["Cache-Control"]


def test_the_list_tells_that_it_is_live(seen: Seen):
    for when, state in (("list", "running"), ("ended list", "ended")):
        (line,) = json.loads(seen.answers[when][1])["titles"]
        assert line["live"] == state and line["duration_s"] == pytest.approx(4.3, abs=0.5)


def test_players_can_set_their_clock(seen: Seen):
    begun = datetime.fromisoformat(MPEGDASHParser.parse(seen.text("mpd")).availability_start_time)
    assert datetime.fromisoformat(seen.text("time")) > begun
    assert seen.answers["time"][2]["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["session", "ended session"])
def test_its_viewers_have_sessions(seen: Seen, name: str):
    status, body, _ = seen.answers[name]
    assert status == 201 and json.loads(body)["live"] is True


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("gone", 410, "Segment 1 of 'cam' has left the window"),
        ("to come", 404, "Segment 9999 of 'cam' is not there; the newest one is"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_sentence(seen: Seen, name: str, status: int, sentence: str):
    assert seen.answers[name][0] == status
    assert seen.answers[name][2]["Content-Type"].startswith("application/problem+json")
    assert sentence in json.loads(seen.answers[name][1])["detail"]


def test_a_second_stream_of_that_name_is_refused(seen: Seen):
    code, said = seen.second
    assert code == 2 and "named 'cam' is running" in said and said.count("\n") == 1


def test_ended_in_order_the_manifests_say_so(seen: Seen):
    assert "was stopped: cam is complete with" in seen.said and "(p99)" in seen.said
    assert m3u8.loads(seen.text("ended 90p")).is_endlist and m3u8.loads(seen.text("ended audio")).is_endlist
    mpd = MPEGDASHParser.parse(seen.text("ended mpd"))
    assert mpd.type == "static" and mpd.minimum_update_period is None


@pytest.mark.parametrize("rendition", ["90p", "180p"])
def test_no_segment_takes_more_than_the_playlist_promises(seen: Seen, rendition: str):
    master = m3u8.loads(seen.text("master"))
    (variant,) = (each for each in master.playlists if each.uri.endswith(f"/{rendition}.m3u8"))
    sizes = [path.stat().st_size for path in (seen.library / "cam" / "video" / rendition).glob("*.m4s")]
    heard = [path.stat().st_size for path in (seen.library / "cam" / "audio" / "audio").glob("*.m4s")]
    assert (max(sizes) + max(heard)) * 8 / 0.48 <= variant.stream_info.bandwidth
    mpd = MPEGDASHParser.parse(seen.text("mpd"))
    (told,) = (each for each in mpd.periods[0].adaptation_sets[0].representations if each.id == rendition)
    buffer_s = 1.5  # minBufferTime
    assert all(sum(sizes[:count]) * 8 <= told.bandwidth * (count * 0.48 + buffer_s) for count in range(1, len(sizes)))


def test_the_disk_holds_the_window_and_what_its_last_playlists_listed_and_nothing_else(seen: Seen):
    newest = listed_numbers(seen.text("ended 90p"))[-1]
    for part in ("video/90p", "video/180p", "audio/audio"):
        names = sorted(path.name for path in (seen.library / "cam" / part).glob("*.m4s"))
        numbers = [int(name[4:9]) for name in names]
        assert numbers == list(range(numbers[0], newest + 1))
        assert len(numbers) in (18, 19), "twice 4 s and a segment, in segments of 0.48 s; the last may be shorter"
    assert sorted(entry.name for entry in seen.library.iterdir()) == ["cam"]
