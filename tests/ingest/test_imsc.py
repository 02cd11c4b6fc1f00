"""IMSC text in MP4, beside WebVTT: the same words at the same times, told in both kinds of manifests."""

from __future__ import annotations

import io
import shutil
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import av
import m3u8
import pytest
from imsc_title import imsc_library
from mpegdash.parser import MPEGDASHParser

from abr.core.title import segment_file
from server.ingest.subtitles.cues import Cue
from server.ingest.subtitles.imsc import cues_within, write_document
from server.ingest.subtitles.ttml import loads_ttml
from server.media.library import Library
from server.media.versions import media_version
from server.publishing.title_objects import objects_of


def test_a_document_reads_as_it_was_written():
    cues = [
        Cue(start_s=1.5, end_s=3.25, text="Tom &amp; <i>Jerry &lt;3</i> <b>run</b>\n“ä” \x0bhere"),
        Cue(start_s=3661.0, end_s=3662.0, text="<u>late</u>"),
    ]
    first, second = loads_ttml(write_document(cues, 'x"y'))
    assert first == Cue(start_s=1.5, end_s=3.25, text="Tom &amp; <i>Jerry &lt;3</i> <b>run</b>\n“ä” here")
    assert second == cues[1]


def test_a_cue_that_outlasts_its_segment_goes_on_in_the_next():
    cue = Cue(start_s=0.5, end_s=2.5, text="words")
    spans = [list(cues_within([cue], Fraction(n), Fraction(n + 1))) for n in range(4)]
    assert [[(each.start_s, each.end_s) for each in span] for span in spans] == [[(0.5, 1)], [(1, 2)], [(2, 2.5)], []]


def test_ffmpeg_finds_a_document_for_each_segment_at_its_time():
    folder = imsc_library() / "film/subtitles/subtitles-2"
    data = b"".join((folder / name).read_bytes() for name in ("init.mp4", *map(segment_file, range(5))))
    with av.open(io.BytesIO(data), format="mp4") as container:
        (stream,) = container.streams
        found = [(float(each.pts * each.time_base), bytes(each)) for each in container.demux() if each.size]
        assert stream.type == "subtitle"
    assert [start_s for start_s, _ in found] == [0, 1, 2, 3, 4]
    words = ["".join(ElementTree.fromstring(each).itertext()).split() for _, each in found]
    assert words == [[], ["Hallo", "there,", "you", "&", "me"], ["Hallo", "there,", "you", "&", "me"], [], ["Schluss"]]


def test_manifests_offer_both_formats_of_each_language():
    folder = imsc_library() / "film"
    for name, kind, codecs in (
        ("manifest.mpd", "text/vtt", None),
        ("manifest-imsc.mpd", "application/mp4", "stpp.ttml.im1t"),
    ):
        sets = MPEGDASHParser.parse(str(folder / name)).periods[0].adaptation_sets
        texts = [each for each in sets if each.content_type == "text"]
        told = [(each.mime_type, each.lang, each.representations[0].codecs) for each in texts]
        assert told == [(kind, "en", codecs), (kind, "de", codecs)]
    master = m3u8.load(str(folder / "master.m3u8"))
    offered = {(each.group_id, each.language, each.uri) for each in master.media if each.type == "SUBTITLES"}
    assert ("subtitles-imsc", "de", "subtitles-2-imsc.m3u8") in offered and len(offered) == 4
    for variant in master.playlists:
        has_imsc = "stpp.ttml.im1t" in variant.stream_info.codecs
        assert variant.stream_info.subtitles == ("subtitles-imsc" if has_imsc else "subtitles")
    playlist = m3u8.load(str(folder / "subtitles-2-imsc.m3u8"))
    assert sum(each.duration for each in playlist.segments) == pytest.approx(5.0)
    assert playlist.segments[0].init_section.uri == "subtitles/subtitles-2/init.mp4"


def test_caches_keep_the_subtitles_of_a_version_and_another_cue_is_another_version(tmp_path):
    objects = objects_of(Library(imsc_library()), "film", now_s=0)
    subtitles = [each for each in objects if "/subtitles/" in each.key]
    assert {each.path.suffix for each in subtitles} == {".vtt", ".m4s", ".mp4"}
    assert all(each.is_lasting for each in subtitles)
    changed = Path(shutil.copytree(imsc_library() / "film", tmp_path / "film"))
    cues = changed / "subtitles/subtitles-2.vtt"
    cues.write_text(cues.read_text().replace("Schluss", "Ende"))
    assert media_version(changed) != media_version(imsc_library() / "film")
