"""Subtitles in TTML and IMSC: the words at their times, whoever wrote them, and one sentence for what is none."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from many_tracks import GERMAN, write_film

from abr.cli import root
from abr.errors import MediaError
from server.ingest.subtitles.cues import place_cues
from server.ingest.subtitles.ttml import is_ttml, loads_ttml
from server.ingest.subtitles.webvtt import dumps_webvtt

NAMES = (
    'xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" '
    'xmlns:ttp="http://www.w3.org/ns/ttml#parameter"'
)
STYLES = (
    '<head><styling><style xml:id="s" tts:fontStyle="italic"/><style xml:id="t" style="s t" tts:fontWeight="bold"/>'
    "</styling></head>"
)

MANY_SPANS = "".join(f'<span begin="{n}ms">x</span>' for n in range(1100))

TIMED = "".join(f'<span begin="{n}ms" end="{n + 2}ms">x</span>' for n in range(400))
LOUD = f'<p end="1s">{"word " * 50_000}{TIMED}</p>'
FRAYED = f'<p end="1s">{"x<br/>" * 60_000}{TIMED}</p>'


def chained(styles: int, refers: str) -> str:
    """A head of styles, each of which refers to the next one, and a paragraph in the first."""
    found = [f'<style xml:id="s{n}" style="{refers.format(n + 1)}" tts:fontStyle="italic"/>' for n in range(styles)]
    return f'<head><styling>{"".join(found)}</styling></head><body><p end="1s" style="s0">x</p></body>'


def cues(body: str, parameters: str = "") -> list[tuple[float, float, str]]:
    document = f"<?xml version='1.0' encoding='UTF-8'?>\n<tt {NAMES} {parameters}>{STYLES}{body}</tt>"
    assert is_ttml(document.encode())
    return [(cue.start_s, cue.end_s, cue.text) for cue in loads_ttml(document.encode())]


def test_what_ffmpeg_writes_says_the_same_as_what_it_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(GERMAN, encoding="utf-8")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "a.srt")]
    subprocess.run([*command, str(tmp_path / "a.ttml")], check=True)
    subprocess.run([*command, str(tmp_path / "a.vtt")], check=True)
    ours = dumps_webvtt(place_cues(loads_ttml((tmp_path / "a.ttml").read_bytes()), 0.0, 60.0)).decode()
    theirs = (tmp_path / "a.vtt").read_text()

    def said(file: str) -> list[str]:
        """Times without hours, and words without entities."""
        plain = re.sub(r"\b00:(?=\d\d:\d\d\.)", "", file).replace("&amp;", "&")
        return [line for line in re.sub(r"</?i>", "", plain).splitlines() if line]

    assert said(ours) == said(theirs) and "Hallo there, you & me" in said(ours)


def test_times_are_counted_from_what_they_stand_in_one_after_the_other_or_at_once() -> None:
    body = """<body begin="1s"><div begin="1s" timeContainer="seq">
      <p dur="1s">Hallo <span style="s">you</span> &amp;<br/>   me &lt;3</p>
      <p dur="500ms"><span style="t">next</span></p></div>
      <div end="20s"><p begin="00:00:09:05" end="00:00:11.5">a <span begin="1s">b</span></p>
      <p begin="18s">to the end of its division</p></div></body>"""
    assert cues(body, 'ttp:frameRate="25"') == [
        (2.0, 3.0, "Hallo <i>you</i> &amp;\nme &lt;3"),
        (3.0, 3.5, "<i><b>next</b></i>"),
        (10.2, 11.2, "a"),
        (11.2, 12.5, "a b"),
        (19.0, 21.0, "to the end of its division"),
    ]


@pytest.mark.parametrize(
    ("written", "parameters", "seconds"),
    [
        ("00:01:02", "", 62.0),
        ("00:01:02.25", "", 62.25),
        ("100:00:00", "", 360_000.0),
        ("00:00:01:15", "", 1.5),
        ("00:00:01:12", 'ttp:frameRate="24" ttp:frameRateMultiplier="1000 1001"', 1 + 12 * 1001 / 24000),
        ("90f", "", 3.0),
        ("500000t", 'ttp:tickRate="1000000"', 0.5),
        ("50t", 'ttp:frameRate="25"', 2.0),
        ("3t", "", 3.0),
        ("1.5h", "", 5400.0),
        ("2m", "", 120.0),
        ("1500ms", "", 1.5),
    ],
)
def test_times_come_in_many_forms(written: str, parameters: str, seconds: float) -> None:
    ((start_s, _, _),) = cues(f'<body><div><p begin="{written}">x</p></div></body>', parameters)
    assert start_s == pytest.approx(seconds, abs=1e-9)


def test_words_that_are_hidden_or_tell_a_sound_are_left_out_and_blanks_as_they_are_meant() -> None:
    body = """<body><div>
      <p end="1s">  one
          line </p><p end="1s" xml:space="preserve">two
lines</p><p end="1s" tts:display="none">x</p><p end="1s">a<span tts:visibility="hidden">x</span>b</p>
      <p end="1s"><span tts:ruby="container"><span tts:ruby="base">水</span><span tts:ruby="text">みず</span></span></p>
      <p end="1s"><metadata>x</metadata><span tts:textDecoration="underline">u</span><span> </span></p>
    </div></body>"""
    assert [words for *_, words in cues(body)] == ["one line", "two\nlines", "ab", "水", "<u>u</u>"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("<tt/>", "its outermost element is 'tt', not {http://www.w3.org/ns/ttml}tt"),
        ("<html/>", "no TTML"),
        (f"<tt {NAMES}>", "no TTML"),
        (f'<!DOCTYPE x [<!ENTITY a "b">]><tt {NAMES}/>', "document type"),
        (f'<tt {NAMES} ttp:timeBase="clock"/>', "clock on the wall"),
        (f'<tt {NAMES}><body><p begin="1;2">x</p></body></tt>', "'1;2' is no time"),
        (f"<tt {NAMES}><body>{'<div>' * 100}{'</div>' * 100}</body></tt>", "nested"),
        (f"<tt {NAMES}><body><p>{'<span>' * 100}{'</span>' * 100}</p></body></tt>", "nested"),
        (
            f"<tt {NAMES}><body><p>{MANY_SPANS}</p></body></tt>",
            "more than 500 spans",
        ),
        (f"<tt {NAMES}><body>{LOUD}</body></tt>", "more than 16 million characters"),
        (f"<tt {NAMES}><body>{FRAYED}</body></tt>", "change too often"),
        (f"<tt {NAMES}>{chained(2000, 's{}')}</tt>", "nested"),
    ],
)
def test_what_is_no_subtitles_is_one_clear_sentence(document: str, told: str) -> None:
    with pytest.raises(MediaError, match=re.escape(told)):
        loads_ttml(document.encode())


def test_files_of_before_the_standard_are_read_too() -> None:
    older = "http://www.w3.org/2006/04/ttaf1"
    names = f'xmlns="{older}" xmlns:s="{older}#style" xmlns:p="{older}#parameter"'
    said = '<body><div><p begin="25f" end="50f" s:fontStyle="italic">x</p></div></body>'
    (cue,) = loads_ttml(f'<tt {names} p:frameRate="25">{said}</tt>'.encode())
    assert (cue.start_s, cue.end_s, cue.text) == (1.0, 2.0, "<i>x</i>")


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(1, 5_000), st.text(st.characters(codec="utf-8"), max_size=20)),
        max_size=8,
    )
)
def test_any_words_come_back_as_webvtt_and_stay_inside_their_times(spoken: list[tuple[int, int, str]]) -> None:
    plain = [
        (begin, lasts, "".join(letter for letter in words if letter.isprintable())) for begin, lasts, words in spoken
    ]
    body = "".join(
        f'<p begin="{begin}ms" dur="{lasts}ms">{words.replace("&", "&amp;").replace("<", "&lt;")}</p>'
        for begin, lasts, words in plain
    )
    found = cues(f"<body><div>{body}</div></body>")
    assert [(start_s, end_s) for start_s, end_s, _ in found] == [
        (float(Fraction(begin, 1000)), float(Fraction(begin + lasts, 1000)))
        for begin, lasts, words in plain
        if words.strip()
    ]
    assert all("-->" not in words and "<" not in words and "\n\n" not in words for *_, words in found)


def test_styles_that_fan_out_are_each_looked_at_once() -> None:
    (cue,) = loads_ttml(f"<tt {NAMES}>{chained(60, 's{0} s{0} s{0}')}</tt>".encode())
    assert cue.text == "<i>x</i>"


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    try:
        loads_ttml(b"<tt " + NAMES.encode() + b">" + data + b"</tt>")
    except MediaError as error:
        assert len(str(error)) < 300


def test_a_file_beside_the_source_becomes_a_track_of_its_own(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", seconds=1.5)
    given = tmp_path / "film.sv.ttml"
    given.write_text(f'<tt {NAMES}><body><div><p begin="0.5s" end="1s">Hej</p></div></body></tt>', encoding="utf-8")
    command = ["prepare", str(film), "--library", str(tmp_path / "library"), "--id", "film", "--heights", "90"]
    command += ["--preset", "ultrafast", "--vmaf-every", "60", "--panel-every", "0", "--subtitles", str(given)]
    done = CliRunner().invoke(root, command)
    assert done.exit_code == 0, done.output
    written = (tmp_path / "library/film/subtitles/subtitles-3.vtt").read_text()
    assert written == "WEBVTT\n\n00:00:00.500 --> 00:00:01.000\nHej\n"
    assert 'LANGUAGE="sv"' in (tmp_path / "library/film/master.m3u8").read_text()
