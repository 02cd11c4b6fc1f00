"""Manifests of a running stream as other programs read them: mpegdash and m3u8."""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree

import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser
from msgspec.structs import replace as with_fields

from abr.core.title import AudioTrack, Rendition
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ
from server.ingest.ladder import plan_sizes
from server.live.clock import WallClock
from server.live.edge.manifests import live_manifests, peak_bandwidth_bps
from server.live.edge.presentation import LivePresentation
from server.live.ladder.caps import caps_by_size

BEGUN_S = 1_800_000_000.0
LOW = Rendition(
    id="180p",
    width_px=320,
    height_px=180,
    codecs="avc3.64000D",
    bandwidth_bps=400_000,
    average_bps=300_000,
    init_bytes=700,
    segment_bytes=(75_000,),
)
HIGH = with_fields(LOW, id="360p", width_px=640, height_px=360, bandwidth_bps=1_100_000, average_bps=900_000)
SOUND = AudioTrack(
    id="audio",
    codecs="mp4a.40.2",
    bandwidth_bps=160_000,
    sample_rate_hz=RATE_HZ,
    channels=2,
    init_bytes=700,
    segment_bytes=(32_000,),
    language="nb",
)


def presentation(
    first: int = 7,
    count: int = 5,
    rate: tuple[int, int] = (30000, 1001),
    last: int = 0,
    ended: bool = False,
    chunks: int | None = None,
) -> LivePresentation:
    length = round(2 * rate[0] / rate[1])
    frames = [*[length] * (count - 1), last or length]
    return LivePresentation(
        name="cam",
        display_width_px=640,
        display_height_px=360,
        frame_rate=rate,
        segment_frames=length,
        window_s=10,
        clock=WallClock(BEGUN_S),
        renditions=(LOW, HIGH),
        audio=(SOUND,),
        first=first,
        frames=tuple(frames),
        published_s=BEGUN_S + 24.5,
        ended=ended,
        chunk_frames=0 if chunks is None else -(-length // 4),
        chunks=chunks or 0,
    )


def spans(adaptation_set) -> list[tuple[Fraction, Fraction]]:
    template = adaptation_set.segment_templates[0]
    found, at = [], None
    for entry in template.segment_timelines[0].Ss:
        at = entry.t if entry.t is not None else at
        for _ in range((entry.r or 0) + 1):
            found.append((Fraction(at, template.timescale), Fraction(entry.d, template.timescale)))
            at += entry.d
    return found


def test_the_mpd_of_a_running_stream_is_dynamic_and_tells_players_when_to_look_again():
    mpd = MPEGDASHParser.parse(live_manifests(presentation(rate=(25, 1)))["manifest.mpd"].decode())
    assert mpd.type == "dynamic" and mpd.media_presentation_duration is None
    assert mpd.availability_start_time == "2027-01-15T08:00:00.000Z"
    assert mpd.publish_time == "2027-01-15T08:00:24.500Z"
    assert mpd.minimum_update_period == "PT2.000000S"
    assert mpd.time_shift_buffer_depth == "PT10.000000S"
    assert mpd.suggested_presentation_delay == "PT6.000000S"
    assert mpd.utc_timings[0].scheme_id_uri == "urn:mpeg:dash:utc:http-iso:2014"
    assert mpd.utc_timings[0].value == "time"
    (period,) = mpd.periods
    assert (period.start, period.duration) == ("PT0S", None)


@pytest.mark.parametrize("rate", [(25, 1), (30000, 1001), (24, 1)])
def test_the_timeline_lists_the_window_and_sound_keeps_within_an_aac_frame(rate: tuple[int, int]):
    shown = presentation(rate=rate)
    mpd = MPEGDASHParser.parse(live_manifests(shown)["manifest.mpd"].decode())
    video, sound = mpd.periods[0].adaptation_sets
    for adaptation_set in (video, sound):
        assert adaptation_set.segment_templates[0].start_number == 8
        assert len(spans(adaptation_set)) == 5
        assert adaptation_set.segment_templates[0].presentation_time_offset in (None, 0)
    assert spans(video) == [
        ((shown.begin_s + index * shown.segment_frames / shown.rate), shown.segment_frames / shown.rate)
        for index in range(5)
    ]
    apart = [abs(seen[0] - heard[0]) for seen, heard in zip(spans(video), spans(sound), strict=True)]
    assert max(apart) <= Fraction(FRAME_SAMPLES, RATE_HZ)


def test_an_ended_stream_is_static_and_keeps_its_times():
    mpd = MPEGDASHParser.parse(live_manifests(presentation(rate=(25, 1), last=20, ended=True))["manifest.mpd"].decode())
    assert mpd.type == "static" and mpd.minimum_update_period is None and not mpd.utc_timings
    assert mpd.media_presentation_duration == "PT22.830000S", "told to end after its media: they end at 22.8 s"
    (period,) = mpd.periods
    assert (period.start, period.duration) == ("PT0S", "PT22.830000S"), "to the end of the last segment"
    for adaptation_set in period.adaptation_sets:
        assert adaptation_set.segment_templates[0].presentation_time_offset in (None, 0)
    assert spans(period.adaptation_sets[0])[0] == (14, 2)
    assert spans(period.adaptation_sets[0])[-1] == (22, Fraction(20, 25))


def test_live_playlists_slide_and_tell_the_time_of_day():
    playlist = m3u8.loads(live_manifests(presentation(rate=(25, 1)))["180p.m3u8"].decode())
    assert playlist.media_sequence == 8 and playlist.target_duration == 2
    assert not playlist.is_endlist and playlist.playlist_type is None
    assert playlist.segments[0].uri == "video/180p/seg-00008.m4s"
    assert playlist.segments[0].init_section.uri == "video/180p/init-avc1.mp4"
    assert [segment.program_date_time.timestamp() for segment in playlist.segments] == [
        BEGUN_S + 14 + 2 * index for index in range(5)
    ]


def test_playlists_of_an_ended_stream_say_so():
    files = live_manifests(presentation(ended=True))
    for name in ("180p.m3u8", "360p.m3u8", "audio.m3u8"):
        assert m3u8.loads(files[name].decode()).is_endlist


@pytest.mark.parametrize("rate", [(25, 1), (30000, 1001)])
def test_the_target_duration_never_changes_and_no_segment_is_longer(rate: tuple[int, int]):
    targets = set()
    for first, last in ((0, 0), (7, 0), (7, 3)):
        files = live_manifests(presentation(first=first, rate=rate, last=last))
        for name in ("180p.m3u8", "audio.m3u8"):
            playlist = m3u8.loads(files[name].decode())
            targets.add(playlist.target_duration)
            assert max(int(s.duration + 0.5) for s in playlist.segments) <= playlist.target_duration
    assert len(targets) == 1


def test_variants_name_sound_and_never_promise_less_than_a_segment_can_take():
    master = m3u8.loads(live_manifests(presentation())["master.m3u8"].decode())
    assert [variant.uri for variant in master.playlists] == ["180p.m3u8", "360p.m3u8"]
    assert all(variant.stream_info.codecs.startswith("avc1.") for variant in master.playlists)
    assert master.media[0].uri == "audio.m3u8" and master.media[0].language == "nb"
    assert master.playlists[0].stream_info.bandwidth > peak_bandwidth_bps(400_000, 2.002)


def test_caps_follow_size_and_rate_unless_they_are_given():
    rungs = plan_sizes(1280, 720, (180, 360, 720))
    caps = [rung.cap_bps for rung in caps_by_size(rungs, Fraction(30), {360: 700_000})]
    assert caps[1] == 700_000 and 350_000 < caps[0] < 500_000 and 3_300_000 < caps[2] < 3_700_000
    assert caps_by_size(rungs, Fraction(60), {})[2].cap_bps > 1.5 * caps[2]


@pytest.mark.parametrize("chunks", [0, 2])
@pytest.mark.parametrize("rate", [(25, 1), (30000, 1001)])
def test_low_latency_playlists_list_parts_up_to_the_one_that_comes_next(rate: tuple[int, int], chunks: int):
    files = live_manifests(presentation(rate=rate, chunks=chunks))
    for name, folder in (("180p", "video/180p"), ("audio", "audio/audio")):
        playlist = m3u8.loads(files[f"{name}.m3u8"].decode())
        target_s = playlist.part_inf.part_target
        assert playlist.server_control.can_block_reload == "YES"
        assert playlist.server_control.part_hold_back >= 3 * target_s
        whole = [segment for segment in playlist.segments if segment.uri]
        listed = [len(segment.parts) for segment in playlist.segments]
        assert listed == [0, 0, 4, 4, 4, chunks][: len(listed)] and len(whole) == 5
        for segment in playlist.segments:
            lengths_s = [part.duration for part in segment.parts]
            assert all(0.85 * target_s <= length_s <= target_s for length_s in lengths_s[:-1])
            assert all(0 < length_s <= target_s for length_s in lengths_s)
            if segment in whole and lengths_s:
                assert sum(lengths_s) == pytest.approx(segment.duration, abs=1e-4)
                assert segment.parts[0].independent == "YES"
        assert playlist.preload_hint.uri == f"{folder}/seg-00013.{chunks + 1}.m4s"
        others = {"180p.m3u8", "360p.m3u8", "audio.m3u8"} - {f"{name}.m3u8"}
        assert {report.uri for report in playlist.rendition_reports} == others
        last = {(report.last_msn, report.last_part) for report in playlist.rendition_reports}
        assert last == ({(13, 1)} if chunks else {(12, 3)})


def test_a_low_latency_mpd_offers_segments_from_their_first_chunk_on():
    shown = presentation(rate=(25, 1), chunks=1)
    text = live_manifests(shown)["manifest.mpd"].decode()
    mpd = MPEGDASHParser.parse(text)
    assert mpd.suggested_presentation_delay == "PT4.000000S"
    root = ElementTree.fromstring(text)
    names = [child.tag.rpartition("}")[2] for child in root]
    assert names == ["ProgramInformation", "ServiceDescription", "Period", "UTCTiming"]
    assert root.find("{*}ServiceDescription/{*}Latency").get("target") == "2080"
    for adaptation_set in mpd.periods[0].adaptation_sets:
        template = adaptation_set.segment_templates[0]
        assert template.availability_time_offset == pytest.approx(2 - 13 / 25)
        assert len(spans(adaptation_set)) == 5 + 2, "and the one under way, and the next"
    templates = list(root.iter("{urn:mpeg:dash:schema:mpd:2011}SegmentTemplate"))
    assert [template.get("availabilityTimeComplete") for template in templates] == ["false", "false"]
    for reference in root.iterfind("{*}Period/{*}AdaptationSet/{*}ProducerReferenceTime"):
        assert reference.get("wallClockTime") == mpd.availability_start_time
        assert reference.get("presentationTime") == "0"


def test_without_chunks_and_after_the_end_nothing_is_offered_early():
    for shown in (presentation(), presentation(ended=True, chunks=0)):
        files = live_manifests(shown)
        told = b"".join(files[name] for name in ("manifest.mpd", "180p.m3u8", "audio.m3u8", "driven.mpd"))
        assert b"availabilityTime" not in told and b"EXT-X-PART" not in told and b"BLOCK" not in told
    files = live_manifests(presentation(chunks=2))
    assert {name for name in files if name.startswith("whole/")} == {
        f"whole/{name}" for name in ("180p.m3u8", "360p.m3u8", "audio.m3u8", "master.m3u8", "manifest.mpd")
    }
    assert files["whole/manifest.mpd"] == live_manifests(presentation())["manifest.mpd"]
    assert b"EXT-X-PART" not in files["whole/180p.m3u8"]


def test_parts_of_a_session_are_named_by_the_segment_alone():
    shown = presentation(chunks=2)
    driven, standard = (live_manifests(shown)[name].decode() for name in ("driven-video.m3u8", "180p.m3u8"))
    (ours, theirs) = (
        [(part.uri, part.duration) for segment in m3u8.loads(text).segments for part in segment.parts]
        for text in (driven, standard)
    )
    assert [duration for _, duration in ours] == [duration for _, duration in theirs]
    assert ours[-1][0] == f"video/{shown.end + 1}.2.m4s" and ours[-3][0] == f"video/{shown.end}.4.m4s"
    assert f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="video/{shown.end + 1}.3.m4s"' in driven
