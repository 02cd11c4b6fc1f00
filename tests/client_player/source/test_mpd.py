"""Manifests: the same segments as another parser finds, the rules of the standard, and no harm from hostile ones."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpegdash.parser import MPEGDASHParser
from titles import prepared_title

from abr.errors import FormatError
from client_player.source.mpd import SEGMENTS_MAX, loads_mpd

URL = "http://host/titles/x/manifest.mpd"


def _mpd(inside: str, *, attributes: str = 'mediaPresentationDuration="PT10S"', before: str = "") -> bytes:
    root = f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" {attributes}>'
    return f'<?xml version="1.0"?>{before}{root}<Period>{inside}</Period></MPD>'.encode()


def _video(template: str, extra: str = "") -> str:
    return (
        f'<AdaptationSet contentType="video" frameRate="30000/1001">{template}'
        f'<Representation id="v1" bandwidth="1000" width="640" height="360" codecs="avc1.64001E">{extra}'
        "</Representation></AdaptationSet>"
    )


def test_our_manifest_read_as_mpegdash_reads_it() -> None:
    title, folder = prepared_title()
    document = (folder / "manifest.mpd").read_bytes()
    ours = loads_mpd(document, URL)
    theirs = MPEGDASHParser.parse(document.decode()).periods[0]
    expected = {
        representation.id: sum((entry.r or 0) + 1 for entry in template.segment_timelines[0].Ss)
        for adaptation in theirs.adaptation_sets
        if adaptation.content_type != "image"
        for representation in adaptation.representations
        for template in (representation.segment_templates or adaptation.segment_templates)
    }
    assert {track.id: len(track.segments) for track in (*ours.video, *ours.audio)} == expected
    assert [track.id for track in ours.video] == [rendition.id for rendition in title.renditions]
    for track in (*ours.video, *ours.audio):
        paths = [track.init_url, *(span.url for span in track.segments)]
        assert all((folder / path.removeprefix("http://host/titles/x/")).is_file() for path in paths)
    assert [span.duration_s for span in ours.video[0].segments] == pytest.approx(list(title.segment_duration_s))
    assert ours.video[0].frame_rate == Fraction(*title.frame_rate)


@pytest.mark.parametrize("media", ["s-" + "$Number%099d$" * 50, "s-" + "x" * 5000])
def test_urls_cannot_be_made_to_grow(media: str) -> None:
    template = f'<SegmentTemplate duration="1" media="{media}" initialization="i.mp4"/>'
    with pytest.raises(FormatError, match="4096 at most"):
        loads_mpd(_mpd(_video(template)), URL)


def test_segments_are_bounded_over_all_tracks() -> None:
    template = '<SegmentTemplate media="s-$Number$.m4s" initialization="i.mp4"><SegmentTimeline><S d="1" r="40000"/>'
    line = _video(template + "</SegmentTimeline></SegmentTemplate>")
    assert len(loads_mpd(_mpd(line), URL).video[0].segments) == 40_001
    with pytest.raises(FormatError, match="segments in all"):
        loads_mpd(_mpd(line * 3), URL)


def test_what_is_nested_deeply_is_refused_and_not_followed() -> None:
    with pytest.raises(FormatError, match="0 periods"):
        loads_mpd(b"<MPD>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</MPD>", URL)


def test_fixed_durations_count_up_to_the_end() -> None:
    template = (
        '<SegmentTemplate timescale="1000" duration="4000" startNumber="7" media="s-$Number%03d$.m4s" '
        'initialization="i-$RepresentationID$.mp4"/>'
    )
    (track,) = loads_mpd(_mpd(_video(template)), URL).video
    assert [span.url for span in track.segments] == [f"http://host/titles/x/s-{n:03d}.m4s" for n in (7, 8, 9)]
    assert [span.duration_s for span in track.segments] == [4.0, 4.0, 2.0]
    assert track.init_url.endswith("/i-v1.mp4")


def test_timelines_repeat_to_the_next_entry_or_the_end() -> None:
    lines = '<SegmentTimeline><S t="100" d="200" r="-1"/><S t="700" d="100" r="-1"/></SegmentTimeline>'
    template = (
        f'<SegmentTemplate timescale="100" presentationTimeOffset="100" media="$Time$.m4s">{lines}</SegmentTemplate>'
    )
    (track,) = loads_mpd(_mpd(_video(template)), URL).video
    assert [span.url.rsplit("/", 1)[1] for span in track.segments[:4]] == ["100.m4s", "300.m4s", "500.m4s", "700.m4s"]
    assert track.segments[0].start_s == 0.0
    assert track.segments[-1].start_s + track.segments[-1].duration_s == pytest.approx(10.0)


def test_base_urls_and_attributes_are_inherited_from_the_outside_in() -> None:
    inside = "<BaseURL>a/</BaseURL>" + _video(
        '<BaseURL>b/</BaseURL><SegmentTemplate duration="10" media="$Bandwidth$$$.m4s"/>', "<BaseURL>c/</BaseURL>"
    )
    (track,) = loads_mpd(_mpd(inside), URL).video
    assert track.segments[0].url == "http://host/titles/x/a/b/c/1000$.m4s"
    assert track.frame_rate == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"not xml at all", "not XML"),
        (b"<MPD", "not XML"),
        (b"\xff\xfe<\x00M\x00", "not XML"),
        (b"<html/>", "no DASH manifest"),
        (b"<MPD/>", "0 periods"),
        (_mpd("", attributes='type="dynamic"'), "live"),
        (_mpd(""), "no video"),
        (_mpd("", attributes='mediaPresentationDuration="P1000000D"'), "duration"),
        (_mpd(_video("")), "SegmentTemplate"),
        (_mpd(_video('<SegmentTemplate media="x" duration="0"/>')), "neither"),
        (_mpd(_video('<SegmentTemplate media="x" duration="-1"/>')), "whole number"),
        (_mpd(_video('<SegmentTemplate media="file:///etc/passwd" duration="1"/>')), "http"),
        (_mpd(_video('<SegmentTemplate media="ftp://host/x" duration="1"/>')), "http"),
        (_mpd(_video('<SegmentTemplate timescale="1000000" media="x" duration="1"/>')), str(SEGMENTS_MAX)),
        (
            _mpd(
                _video(
                    '<SegmentTemplate media="x"><SegmentTimeline><S d="1" r="99999999"/>'
                    "</SegmentTimeline></SegmentTemplate>"
                )
            ),
            str(SEGMENTS_MAX),
        ),
        (
            _mpd("&lol;", before='<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>'),
            "document type",
        ),
        (_mpd("", before='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "document type"),
        (b"<MPD>" + b" " * (5 << 20) + b"</MPD>", "bytes"),
    ],
)
def test_what_cannot_be_played_is_refused_with_a_reason(document: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        loads_mpd(document, URL)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
def test_damaged_manifests_either_parse_or_are_refused(at: int, junk: bytes) -> None:
    _, folder = prepared_title()
    document = bytearray((folder / "manifest.mpd").read_bytes())
    at %= len(document)
    document[at : at + len(junk)] = junk
    try:
        presentation = loads_mpd(bytes(document), URL)
    except FormatError:
        return
    assert all(span.url.startswith(("http://", "https://")) for track in presentation.video for span in track.segments)
