"""All sounds of a source come along, and its subtitles, each by its language, name and role."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import m3u8
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from many_tracks import GERMAN, TONES_HZ, loudest_hz, sound_of, write_film
from mpegdash.parser import MPEGDASHParser

from abr.cli import root
from abr.core.title import Chapter, Title, load_title
from abr.errors import ToprungError
from abr.media.tracks import SourceSound, SourceSubtitles, chapters_within, notes_on_clock
from server.ingest.audio import versions_of
from server.ingest.subtitles.cues import Cue, cue_text, place_cues
from server.ingest.subtitles.webvtt import dumps_webvtt

PREPARE = ("--heights", "90,180", "--preset", "ultrafast", "--vmaf-every", "60", "--panel-every", "0")
RATE_HZ = 48_000


def prepare(source: Path, library: Path, *options: str) -> list[str]:
    """What was said of the source."""
    command = ["prepare", str(source), "--library", str(library), "--id", "film", "--json", *PREPARE, *options]
    result = CliRunner().invoke(root, command)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["notes"]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tracks")
    french = folder / "film.fr.vtt"
    french.write_text("WEBVTT\n\n00:01.500 --> 00:02.000 line:10%\nSalut\n", encoding="utf-8")
    assert prepare(write_film(folder / "film.mkv"), folder / "library", "--subtitles", str(french)) == []
    return folder / "library" / "film"


@pytest.fixture(scope="module")
def title(film: Path) -> Title:
    return load_title(film)


def test_each_sound_is_the_one_that_it_says_and_begins_at_its_time(film, title):
    told = [(track.id, track.language, track.name, track.role, track.channels) for track in title.audio]
    assert told == [
        ("audio", "en", "", "main", 2),
        ("audio-2", "de", "Deutsche Fassung", "alternate", 2),
        ("audio-2-5.1", "de", "Deutsche Fassung", "alternate", 6),
        ("audio-3", "fr", "", "commentary", 2),
    ]
    for track, tone_hz in zip(title.audio, [TONES_HZ[0], *[TONES_HZ[1]] * 2, TONES_HZ[2]], strict=True):
        samples = sound_of(film, track.id, track.channels)
        left = samples[:, 0]
        assert loudest_hz(left[2 * RATE_HZ : 3 * RATE_HZ], RATE_HZ) == pytest.approx(tone_hz, abs=2)
        begins_s = np.argmax(np.abs(left) > 0.02) / RATE_HZ
        assert begins_s == pytest.approx(1.0, abs=0.025), "within an AAC frame"
        assert np.abs(samples[2 * RATE_HZ :]).max() < 1, "six channels become two without clipping"


def test_a_sound_of_six_channels_keeps_them_and_is_mixed_down_as_bs_775_has_it(film):
    """Each of the six has the same tone, of 0.2."""
    middle = slice(2 * RATE_HZ, 3 * RATE_HZ)
    surround, stereo = sound_of(film, "audio-2-5.1", 6)[middle], sound_of(film, "audio-2")[middle]
    amplitudes = np.sqrt(2) * np.sqrt((surround**2).mean(axis=0))
    assert amplitudes[[0, 1, 2, 4, 5]] == pytest.approx([0.2] * 5, rel=0.05), "left, right, centre, surrounds"
    mixed = np.sqrt(2) * np.sqrt((stereo**2).mean(axis=0))
    assert mixed == pytest.approx([0.2 * (1 + 2 * np.sqrt(0.5))] * 2, rel=0.05), "of the LFE nothing"


@given(st.lists(st.integers(0, 8), max_size=5))
def test_all_sounds_come_in_stereo_and_in_five_one_what_has_more_channels(channels: list[int]):
    made = versions_of([SourceSound(stream=number, channels=count) for number, count in enumerate(channels)])
    assert [number for number, count in made if count == 2] == list(range(len(channels)))
    assert [number for number, count in made if count == 6] == [n for n, count in enumerate(channels) if count > 2]


def test_subtitles_are_webvtt_on_the_clock_of_the_title(film, title):
    told = [(track.id, track.language, track.role) for track in title.subtitles]
    assert told == [
        ("subtitles", "en", "subtitle"),
        ("subtitles-2", "de", "caption"),
        ("subtitles-3", "fr", "subtitle"),
    ]
    assert (film / "subtitles/subtitles-2.vtt").read_text() == (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nHallo <i>there</i>, you &amp; me\n"
        "\n00:00:04.000 --> 00:00:05.000\nSchluss\n"
    ), "what outlasts the film ends with it"
    assert "00:00:01.500 --> 00:00:02.000\nSalut" in (film / "subtitles/subtitles-3.vtt").read_text()
    for track in title.subtitles:
        assert (film / f"subtitles/{track.id}.vtt").stat().st_size == track.size_bytes


def test_dash_offers_each_by_language_role_and_label(film, title):
    for file in ("manifest.mpd", "driven.mpd"):
        _, *others, _images = MPEGDASHParser.parse((film / file).read_text()).periods[0].adaptation_sets
        assert [each.content_type for each in others] == ["audio"] * 4 + ["text"] * 3
        assert [each.lang for each in others] == ["en", "de", "de", "fr", "en", "de", "fr"]
        roles = [role.value for each in others for role in each.roles]
        assert roles == ["main", "alternate", "alternate", "commentary", "subtitle", "caption", "subtitle"]
        assert [each.selection_priority for each in others[:4]] == [2, None, None, None]
        sounds = [each.representations[0].audio_channel_configurations[0].value for each in others[:4]]
        assert sounds == ["2", "2", "6", "2"]
        texts = [each.representations[0].base_urls[0].base_url_value for each in others[4:]]
        assert texts == [f"subtitles/{track.id}.vtt" for track in title.subtitles]
        assert all((film / text).is_file() for text in texts)
        assert "<Label>Deutsche Fassung</Label>" in (film / file).read_text()


def test_hls_offers_each_and_prices_one_sound_with_each_variant(film, title):
    master = m3u8.load(str(film / "master.m3u8"))
    told = [(each.group_id, each.name, each.language, each.default, each.autoselect) for each in master.media]
    assert told == [
        *(
            line
            for group in ("audio", "audio-5.1")
            for line in (
                (group, "en", "en", "YES", "YES"),
                (group, "Deutsche Fassung", "de", "NO", "YES"),
                (group, "fr", "fr", "NO", "NO"),
            )
        ),
        ("subtitles", "en", "en", "NO", "YES"),
        ("subtitles", "de", "de", "NO", "YES"),
        ("subtitles", "fr", "fr", "NO", "YES"),
    ]
    assert [each.channels for each in master.media[:6]] == ["2", "2", "2", "2", "6", "2"]
    assert "describes-music-and-sound" in master.media[7].characteristics
    assert len(master.playlists) == 2 * len(title.renditions), "each with either group of sounds"
    for place, variant in enumerate(master.playlists):
        info, rendition = variant.stream_info, title.renditions[place // 2]
        assert (info.audio, info.subtitles) == (("audio", "audio-5.1")[place % 2], "subtitles")
        assert info.codecs.count("mp4a") == 1
        heard = [track.bandwidth_bps for track in title.audio if track.channels == 2 or place % 2]
        assert info.bandwidth < rendition.bandwidth_bps * 1.2 + max(heard) + 1
    driven = m3u8.load(str(film / "driven.m3u8"))
    assert [(each.name, each.autoselect) for each in driven.media if each.type == "AUDIO"] == [
        ("en", "YES"),
        ("Deutsche Fassung", "YES"),
        ("Deutsche Fassung (5.1)", "NO"),
        ("fr", "NO"),
    ]
    assert len(driven.playlists) == 1
    for media in master.media:
        playlist = m3u8.load(str(film / media.uri))
        assert all((film / segment.uri).is_file() for segment in playlist.segments)
        assert sum(segment.duration for segment in playlist.segments) == pytest.approx(title.duration_s, abs=0.03)


def test_chapters_are_those_of_the_source_and_hls_leads_to_them(film, title):
    assert title.chapters == (Chapter(start_s=0.0, name="The hello, “ä”"), Chapter(start_s=4.0))
    for file in ("master.m3u8", "driven.m3u8"):
        (led,) = m3u8.load(str(film / file)).session_data
        assert led.data_id == "com.apple.hls.chapters" and led.uri.endswith("chapters.json")
    assert json.loads((film / "chapters.json").read_text()) == [
        {
            "chapter": 1,
            "start-time": 0.0,
            "duration": 4.0,
            "titles": [{"language": "und", "title": "The hello, “ä”"}],
        },
        {
            "chapter": 2,
            "start-time": 4.0,
            "duration": pytest.approx(title.duration_s - 4),
            "titles": [{"language": "und", "title": "Chapter 2"}],
        },
    ]


def test_chapters_begin_within_the_title_on_its_clock():
    told = [(12.0, "c"), (0.0, "before"), (9.0, "under way"), (12.0, "nested"), (30.0, "after")]
    chapters = [Chapter(start_s=at_s, name=name) for at_s, name in told]
    found = chapters_within(chapters, 10.0, 20.0)
    assert [(each.start_s, each.name) for each in found] == [(0.0, "under way"), (2.0, "nested")]


def test_subtitles_and_chapters_that_cannot_be_placed_are_told_of():
    subtitles, chapters = [SourceSubtitles(stream=2)], [Chapter(start_s=1.0)]
    assert list(notes_on_clock(subtitles, chapters, ())) == list(notes_on_clock([], [], ((10, -5.0),))) == []
    assert list(notes_on_clock(subtitles, chapters, ((10, -5.0),))) == [
        "its subtitles are left out, since its timestamps restart or jump",
        "its chapters are left out, since its timestamps restart or jump",
    ]


def test_two_of_one_name_are_told_apart(tmp_path):
    from abr.core.title import SubtitleTrack
    from server.ingest.manifests.hls import names_of

    same = [SubtitleTrack(id=f"s{number}", size_bytes=1, language="en", name='The "end"') for number in range(3)]
    assert names_of(same) == ["The 'end'", "The 'end' (2)", "The 'end' (3)"]


def test_a_sound_that_cannot_be_decoded_is_left_out_and_the_next_is_the_main_one(tmp_path):
    film = write_film(tmp_path / "film.mkv", seconds=2)
    broken = tmp_path / "broken.mkv"
    with av.open(str(film)) as source, av.open(str(broken), "w") as target:
        copies = {
            each.index: target.add_stream_from_template(each) for each in source.streams if each.type != "subtitle"
        }
        for packet in source.demux(*[each for each in source.streams if each.index in copies]):
            if packet.dts is not None and packet.stream.index != 1:  # a sound that is declared, and empty
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    notes = prepare(broken, tmp_path / "library")
    assert notes == ["1 of its 3 tracks of sound cannot be decoded and are left out"]
    title = load_title(tmp_path / "library/film")
    assert [(track.id, track.role) for track in title.audio] == [
        ("audio", "main"),
        ("audio-5.1", "main"),
        ("audio-2", "alternate"),
    ]
    for track, tone_hz in zip(title.audio, [TONES_HZ[1], *TONES_HZ[1:]], strict=True):
        assert loudest_hz(
            sound_of(tmp_path / "library/film", track.id, track.channels)[RATE_HZ:, 0], RATE_HZ
        ) == pytest.approx(tone_hz, abs=2)


def test_the_player_takes_the_sound_of_the_language_that_is_asked_for(film, tmp_path):
    from serve_process import served

    with served("--library", str(film.parent)) as url:
        for language, track in (("", "audio"), ("de", "audio-2")):
            out = tmp_path / (language or "any")
            options = ["--families", "none", "--speed", "max", "--language", language, "--out", str(out)]
            result = CliRunner().invoke(root, ["play", url, "--title", "film", *options])
            assert result.exit_code == 0, result.output
            log = (out / "session.jsonl").read_text()
            assert f'"name":"{track}"' in log and log.count('"name":"audio') == log.count(f'"name":"{track}"')
        result = CliRunner().invoke(root, ["play", url, "--title", "film", "--language", "sv"])
    assert result.exit_code != 0
    assert str(result.exception) == "There is no sound in 'sv'; there is en, de, fr."


@pytest.mark.parametrize(
    ("given", "content", "sentence"),
    [
        ("de=none.srt", None, "There is no file none.srt"),
        ("german=a.srt", GERMAN.encode(), "'german' is no language"),
        ("de=a.srt", b"\x00\x01\x02 nothing", "cannot be read as subtitles"),
        ("de=a.srt", "1\n00:00:01,000 --> 00:00:02,000\nGrün\n".encode("latin-1"), "in UTF-8"),
        ("de=a.srt", b"1\n01:00:01,000 --> 01:00:02,000\nLate\n", "is it of this film"),
    ],
)
def test_a_file_that_is_no_subtitles_of_this_film_is_one_clear_sentence(
    tmp_path, monkeypatch, given, content, sentence
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("a.srt").write_bytes(content)
    write_film(tmp_path / "film.mkv", seconds=1.5)
    with pytest.raises(ToprungError, match=sentence):
        prepare(tmp_path / "film.mkv", tmp_path / "library", "--subtitles", given)
    assert not (tmp_path / "library/film").exists()


def test_other_subtitles_make_another_title(tmp_path):
    film = write_film(tmp_path / "film.mkv", seconds=1.5)
    more = tmp_path / "more.it.srt"
    more.write_text(GERMAN.replace("Hallo", "Ciao"), encoding="utf-8")
    prepare(film, tmp_path / "library", "--subtitles", str(more))
    prepare(film, tmp_path / "library", "--subtitles", str(more))
    more.write_text(GERMAN, encoding="utf-8")
    with pytest.raises(ToprungError, match="by another recipe"):
        prepare(film, tmp_path / "library", "--subtitles", str(more))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (r"0,0,Default,,0,0,0,,{\i1}Hello{\i0}\Nyou", "<i>Hello</i>\nyou"),
        (r"0,0,Default,,0,0,0,,{\an8\b1}bold{\i1}both{\b0}italic", "<b>bold<i>both</i></b><i>italic</i>"),
        (r"0,0,Default,,0,0,0,,a, b <c> & d\N\N\Ne", "a, b &lt;c&gt; &amp; d\ne"),
        (r"0,0,Default,,0,0,0,,{\pos(1,2)}", ""),
    ],
)
def test_styles_become_tags_that_nest_and_the_rest_goes(line, text):
    assert cue_text(line) == text


@given(st.text(alphabet=r"{}\ibuN01h<>&, x" + "\n-", max_size=60))
def test_whatever_a_line_holds_webvtt_keeps_its_form(written):
    text = cue_text(f"0,0,Default,,0,0,0,,{written}")
    assert "\n\n" not in text and "-->" not in text.replace("--&gt;", "")
    opened: list[str] = []
    for tag in re.findall(r"</?[ibu]>", text):
        if tag[1] == "/":
            assert opened.pop() == tag[2]
        else:
            opened.append(tag[1])
    assert opened == []


@given(st.lists(st.tuples(st.floats(-5, 20), st.floats(-1, 10)), max_size=20))
def test_cues_keep_inside_the_title_and_in_order(spans):
    cues = place_cues([Cue(start_s=start, end_s=start + lasts, text="x") for start, lasts in spans], 2.0, 8.0)
    assert all(0 <= cue.start_s < cue.end_s <= 8 for cue in cues)
    assert [cue.start_s for cue in cues] == sorted(cue.start_s for cue in cues)
    assert dumps_webvtt(cues).count(b"-->") == len(cues)
