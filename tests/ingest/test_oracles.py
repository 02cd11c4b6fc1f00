"""Programs that are not us read what `toprung prepare` wrote: mpegdash, m3u8 and the static ffmpeg."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser
from oracle import decode
from titles import prepared_title

from abr.core.title import Title, segment_file
from server.ingest.manifests.title import ENHANCEMENT_URN


@pytest.fixture(scope="module")
def title() -> Title:
    return prepared_title()[0]


@pytest.fixture(scope="module")
def folder() -> Path:
    return prepared_title()[1]


def joined(folder: Path, choice: list[str]) -> bytes:
    """Init segment of the first rung of the ladder and, segment by segment, the chosen renditions."""
    parts = [folder / "video" / "180p" / "init.mp4"]
    parts += [folder / "video" / rendition / segment_file(n) for n, rendition in enumerate(choice)]
    return b"".join(part.read_bytes() for part in parts)


def grid(title: Title) -> list[Fraction]:
    return [n / Fraction(*title.frame_rate) for n in range(sum(title.segment_frames))]


@pytest.mark.parametrize("init", ["init.mp4", "init-avc1.mp4"])
@pytest.mark.parametrize("rendition", ["180p", "240p", "360p", "720p"])
def test_every_rendition_decodes_to_exactly_its_frames(title: Title, folder: Path, rendition: str, init: str) -> None:
    files = [folder / "video" / rendition / init, *sorted((folder / "video" / rendition).glob("seg-*"))]
    decoded = decode(b"".join(file.read_bytes() for file in files))
    assert decoded.times == grid(title)
    assert decoded.warnings == ""


@pytest.mark.parametrize("seed", range(4))
def test_any_mix_of_renditions_decodes_as_one_representation(title: Title, folder: Path, seed: int) -> None:
    choose = random.Random(seed)
    names = [rendition.id for rendition in title.renditions]
    decoded = decode(joined(folder, [choose.choice(names) for _ in title.segment_frames]))
    assert decoded.times == grid(title)
    assert decoded.warnings == ""


def test_each_segment_alone_starts_on_a_key_frame_at_its_time(title: Title, folder: Path) -> None:
    starts = [0, *accumulate(title.segment_frames)]
    for rendition in title.renditions:
        home = folder / "video" / rendition.id
        for segment, frames in enumerate(title.segment_frames):
            for init in ("init.mp4", "init-avc1.mp4"):
                decoded = decode((home / init).read_bytes() + (home / segment_file(segment)).read_bytes())
                assert len(decoded.times) == frames
                assert decoded.times[0] == starts[segment] / Fraction(*title.frame_rate)
                assert decoded.warnings == ""


def test_sound_lasts_as_long_as_the_picture_within_a_frame(title: Title, folder: Path) -> None:
    home = folder / "audio" / title.audio[0].id
    sound = decode(b"".join(f.read_bytes() for f in [home / "init.mp4", *sorted(home.glob("seg-*"))]), kind="a:0")
    assert sound.times[0] == 0
    assert sound.warnings == ""
    assert abs(sound.end_s - len(grid(title)) / Fraction(*title.frame_rate)) <= 1 / Fraction(*title.frame_rate)


@pytest.mark.parametrize("stream", ["v:0", "v:3", "a:0"])
def test_another_player_plays_the_mpd(title: Title, folder: Path, stream: str) -> None:
    decoded = decode(folder / "manifest.mpd", kind=stream)
    assert decoded.warnings == ""
    assert decoded.times[0] == 0
    if stream.startswith("v"):
        assert decoded.times == grid(title)


@pytest.mark.parametrize("rendition", ["180p", "720p"])
def test_another_player_plays_the_hls_playlists(title: Title, folder: Path, rendition: str) -> None:
    decoded = decode(folder / f"{rendition}.m3u8")
    assert decoded.warnings == ""
    assert decoded.times == grid(title)


def test_mpd_tells_the_truth_about_every_segment(title: Title, folder: Path) -> None:
    mpd = MPEGDASHParser.parse(str(folder / "manifest.mpd"))
    assert mpd.type == "static"
    assert "urn:mpeg:dash:profile:isoff-live:2011" in mpd.profiles
    video, sound, *_more = mpd.periods[0].adaptation_sets
    assert [r.id for r in video.representations] == [r.id for r in title.renditions]
    assert {p.scheme_id_uri for p in video.supplemental_properties} == {ENHANCEMENT_URN}
    for adaptation_set in (video, sound):
        template = adaptation_set.segment_templates[0]
        spans = [s.d for s in template.segment_timelines[0].Ss for _ in range((s.r or 0) + 1)]
        assert abs(sum(spans) / template.timescale - title.duration_s) < 1 / title.fps
        for representation in adaptation_set.representations:
            for index, span in enumerate(spans):
                name = template.media.replace("$RepresentationID$", representation.id)
                size = (folder / name.replace("$Number%05d$", f"{template.start_number + index:05d}")).stat().st_size
                assert size * 8 <= representation.bandwidth * max(spans) / template.timescale
                assert span > 0


def test_codecs_and_shape_are_what_the_files_carry(title: Title, folder: Path) -> None:
    video = MPEGDASHParser.parse(str(folder / "manifest.mpd")).periods[0].adaptation_sets[0]
    for representation in video.representations:
        files = [folder / "video" / representation.id / name for name in ("init-avc1.mp4", segment_file(0))]
        part = folder.parents[1] / "joined.mp4"
        part.write_bytes(b"".join(file.read_bytes() for file in files))
        with av.open(part) as container:
            stream = container.streams.video[0]
            assert stream.codec_tag == "avc1"
            assert representation.codecs.startswith("avc1.64")
            assert (stream.width, stream.height) == (representation.width, representation.height)
            assert stream.display_aspect_ratio == Fraction(16, 9)
            frame = next(container.decode(video=0))
            assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)


def test_what_the_server_drives_is_avc3_and_what_players_drive_is_avc1(title: Title, folder: Path) -> None:
    """Segments of several rungs after one init segment need parameter sets in band; some players take `avc1` only."""
    kinds = {name: (folder / name).read_text() for name in ("manifest.mpd", "master.m3u8", "driven.mpd", "driven.m3u8")}
    for name, text in kinds.items():
        wanted, other = ("avc3.", "avc1.") if name.startswith("driven") else ("avc1.", "avc3.")
        assert wanted in text and other not in text, name
    assert "init-avc1.mp4" in kinds["manifest.mpd"] and "init-avc1.mp4" in (folder / "180p.m3u8").read_text()
    assert "init-avc1.mp4" not in kinds["driven.mpd"] + (folder / "driven-video.m3u8").read_text()


def test_driven_mpd_offers_one_representation(title: Title, folder: Path) -> None:
    mpd = MPEGDASHParser.parse(str(folder / "driven.mpd"))
    video, sound, *_more = mpd.periods[0].adaptation_sets
    (driven,) = video.representations
    template = video.segment_templates[0]
    assert (driven.id, driven.codecs) == ("driven", title.renditions[-1].codecs)
    assert (template.media, template.initialization) == ("video/$Number$.m4s", "video/init.mp4")
    assert driven.bandwidth >= max(rendition.bandwidth_bps for rendition in title.renditions)
    assert sound.base_urls[0].base_url_value == f"../../titles/{title.id}/v-{title.version}/"
    assert sum((s.r or 0) + 1 for s in template.segment_timelines[0].Ss) == len(title.segment_frames)


def test_playlists_list_the_same_files(title: Title, folder: Path) -> None:
    master = m3u8.load(str(folder / "master.m3u8"))
    rungs = [rung for rung in title.renditions for _sounds in ("stereo", "5.1")]
    assert [p.uri for p in master.playlists] == [f"{r.id}.m3u8" for r in rungs]
    assert [p.stream_info.resolution for p in master.playlists] == [(r.width_px, r.height_px) for r in rungs]
    assert master.media[0].uri == f"{title.audio[0].id}.m3u8"
    for name in [p.uri for p in master.playlists] + [master.media[0].uri]:
        playlist = m3u8.load(str(folder / name))
        assert playlist.is_endlist
        assert len(playlist.segments) == len(title.segment_frames)
        assert all((folder / segment.uri).is_file() for segment in playlist.segments)
        assert max(segment.duration for segment in playlist.segments) < playlist.target_duration + 0.5
        assert sum(s.duration for s in playlist.segments) == pytest.approx(title.duration_s, abs=1 / title.fps)


def test_a_player_reads_a_playlist(title: Title, folder: Path) -> None:
    decoded = decode(folder / "240p.m3u8")
    assert decoded.times == grid(title)
    assert decoded.warnings == ""


def test_title_counts_the_bytes_that_are_there(title: Title, folder: Path) -> None:
    tracks = [("video", track) for track in title.renditions] + [("audio", track) for track in title.audio]
    for kind, track in tracks:
        home = folder / kind / track.id
        assert track.init_bytes == (home / "init.mp4").stat().st_size
        assert list(track.segment_bytes) == [file.stat().st_size for file in sorted(home.glob("seg-*"))]


def test_higher_rungs_cost_more_and_look_better(title: Title) -> None:
    rates = [rendition.average_bps for rendition in title.renditions]
    assert rates == sorted(rates)
    for metric in ("vmaf", "vmaf_neg", "ssim", "psnr_y_db"):
        columns = zip(*(getattr(title.plain_quality[r.id], metric) for r in title.renditions), strict=True)
        assert all(list(column) == sorted(column) for column in columns)
    assert min(title.plain_quality["720p"].vmaf) > 80
