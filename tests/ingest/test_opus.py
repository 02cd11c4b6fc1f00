"""Sounds in Opus beside AAC: heard at their time, offered to players that decode them, and to no others."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import av
import m3u8
import msgspec
import numpy as np
import pytest
from many_tracks import TONES_HZ, loudest_hz, sound_of
from mpegdash.parser import MPEGDASHParser
from opus_title import opus_library
from protected_titles import KEY

from abr.core.title import Protection, Title, load_title
from server.ingest.manifests.title import master_playlist
from server.media.library import Library
from server.protection.protect import protect_title

RATE_HZ = 48_000


@pytest.fixture(scope="module")
def film() -> Path:
    return opus_library() / "film"


@pytest.fixture(scope="module")
def title(film: Path) -> Title:
    return load_title(film)


def test_each_sound_is_there_in_both_and_begins_at_its_time(film: Path, title: Title) -> None:
    ids = ["audio", "audio-2", "audio-2-5.1", "audio-3"]
    assert [each.id for each in title.audio] == [*ids, *(f"{each}-opus" for each in ids)]
    opus = title.audio[4:]
    assert {each.codecs for each in title.audio[:4]} == {"mp4a.40.2"} and {each.codecs for each in opus} == {"opus"}
    for track, tone_hz in zip(opus, [TONES_HZ[0], *[TONES_HZ[1]] * 2, TONES_HZ[2]], strict=True):
        samples = sound_of(film, track.id, track.channels)
        assert loudest_hz(samples[2 * RATE_HZ : 3 * RATE_HZ, 0], RATE_HZ) == pytest.approx(tone_hz, abs=2)
        assert np.argmax(np.abs(samples[:, 0]) > 0.02) / RATE_HZ == pytest.approx(1.0, abs=0.002)
        assert title.duration_s - 0.02 <= len(samples) / RATE_HZ <= title.duration_s
        most_bps = 128_000 * 3 // 4 * (3 if track.channels == 6 else 1)
        assert sum(track.segment_bytes) * 8 / title.duration_s < 1.05 * most_bps


def test_segments_follow_each_other_without_a_gap_and_need_no_edit_list(film: Path, title: Title) -> None:
    folder, end = film / "audio" / "audio-opus", 0
    init = (folder / "init.mp4").read_bytes()
    assert b"elst" not in init
    for path in sorted(folder.glob("seg-*")):
        with av.open(io.BytesIO(init + path.read_bytes())) as segment:
            packets = [each for each in segment.demux() if each.size]
        assert packets[0].pts == end and all(each.duration == 960 for each in packets)
        end = packets[-1].pts + 960
        assert abs(end - round(end / RATE_HZ) * RATE_HZ) <= 480, "with the pictures, to half a packet"


def test_dash_lets_players_take_opus_first_and_those_that_cannot_aac(film: Path) -> None:
    sets = MPEGDASHParser.parse((film / "manifest.mpd").read_text()).periods[0].adaptation_sets
    sounds = [each for each in sets if each.content_type == "audio"]
    assert [each.representations[0].codecs for each in sounds] == ["mp4a.40.2"] * 4 + ["opus"] * 4
    assert [each.selection_priority for each in sounds] == [2, None, None, None, 3, None, None, None]
    assert [each.lang for each in sounds] == ["en", "de", "de", "fr"] * 2
    assert len({each.id for each in sets}) == len(sets)
    spans = sounds[4].segment_templates[0].segment_timelines[0].Ss
    assert sum(each.d * (1 + (each.r or 0)) for each in spans) <= 5 * RATE_HZ and all(
        each.d % 960 == 0 for each in spans
    )


def test_hls_has_variants_of_either_codec_and_never_both_in_one(film: Path, title: Title) -> None:
    master = m3u8.load(str(film / "master.m3u8"))
    groups = ("audio", "audio-5.1", "audio-opus", "audio-5.1-opus")
    assert [each.stream_info.audio for each in master.playlists] == list(groups) * len(title.renditions)
    for variant in master.playlists:
        sound = "opus" if variant.stream_info.audio.endswith("opus") else "mp4a.40.2"
        assert variant.stream_info.codecs.split(",")[1:] == [sound]
    for group in groups:
        members = [each for each in master.media if each.group_id == group]
        assert [(each.name, each.default) for each in members] == [
            ("en", "YES"), ("Deutsche Fassung", "NO"), ("fr", "NO")
        ]  # fmt: skip
        for member in members:
            durations = [each.duration for each in m3u8.load(str(film / member.uri)).segments]
            assert sum(durations) == pytest.approx(title.duration_s, abs=0.03)


def test_a_sound_that_tells_no_language_has_the_same_name_in_every_group(title: Title) -> None:
    silent = tuple(msgspec.structs.replace(each, language="und", name="") for each in title.audio)
    master = m3u8.loads(master_playlist(msgspec.structs.replace(title, audio=silent)).decode())
    named = [(each.group_id, each.name) for each in master.media if each.type == "AUDIO"]
    groups = ("audio", "audio-5.1", "audio-opus", "audio-5.1-opus")
    assert named == [(group, name) for group in groups for name in ("audio", "audio-2", "audio-3")]


def test_sessions_have_what_all_players_play(film: Path) -> None:
    for name in ("driven.mpd", "driven.m3u8"):
        told = (film / name).read_text()
        assert "opus" not in told and "audio-2-5.1" in told


def test_protected_opus_is_read_with_the_key_alone(film: Path, tmp_path: Path) -> None:
    shutil.copytree(film, tmp_path / "film")
    protect_title(Library(tmp_path), "film", KEY, Protection(scheme="cenc", key_id=KEY.key_id), new_id="locked")

    def packets(name: str, key: str = "") -> list[bytes]:
        folder = tmp_path / name / "audio" / "audio-2-5.1-opus"
        data = (folder / "init.mp4").read_bytes() + (folder / "seg-00002.m4s").read_bytes()
        options = {"decryption_key": key} if key else {}
        with av.open(io.BytesIO(data), format="mp4", options=options) as container:
            return [bytes(each) for each in container.demux() if each.size]

    clear, locked = packets("film"), packets("locked")
    assert packets("locked", KEY.key) == clear and len(locked) == len(clear) and locked != clear
