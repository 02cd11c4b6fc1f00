"""A title in H.264, HEVC and AV1: what another FFmpeg reads of them, and what is offered and refused."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import m3u8
import pytest
from click.testing import CliRunner
from mpegdash.parser import MPEGDASHParser
from oracle import decode
from titles import CLIP, SMALL_CLIP, TITLE_ID, mixed_library

from abr.controllers.toprung.title_plans import plans_files
from abr.core.enhancement import Tier
from abr.core.title import INIT_FILE, Title, segment_file
from abr.media.ladders import codecs_in, in_codec
from abr.media.video_codecs import VideoCodec, codec_of
from enhancers.measurement.offers import list_candidates
from enhancers.prepared_title import open_title
from server.ingest.cli import prepare
from server.ingest.mp4.cmaf import standalone_init_file

TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)


@pytest.fixture(scope="module")
def folder() -> Path:
    return mixed_library().root / TITLE_ID


@pytest.fixture(params=list(VideoCodec))
def codec(request: pytest.FixtureRequest) -> VideoCodec:
    return VideoCodec(request.param)


@pytest.fixture
def title(codec: VideoCodec) -> Title:
    """As whoever watches it in that codec sees it."""
    return in_codec(mixed_library().title(TITLE_ID), codec)


def parsed(path: Path) -> Any:
    return MPEGDASHParser.parse(str(path)).periods[0].adaptation_sets


def _grid(title: Title) -> list[Fraction]:
    return [n / Fraction(*title.frame_rate) for n in range(sum(title.segment_frames))]


def test_every_rendition_decodes_to_exactly_its_frames(title: Title, folder: Path, codec: VideoCodec):
    for rendition in title.renditions:
        assert codec_of(rendition.codecs) is codec
        segments = sorted((folder / "video" / rendition.id).glob("seg-*"))
        assert len(segments) == len(title.segment_frames) > 4
        for init in (INIT_FILE, standalone_init_file(codec)):
            files = [folder / "video" / rendition.id / init, *segments]
            decoded = decode(b"".join(file.read_bytes() for file in files))
            assert (decoded.times, decoded.warnings) == (_grid(title), "")


@pytest.mark.parametrize("seed", range(3))
def test_any_mix_of_renditions_decodes_as_one_representation(title: Title, folder: Path, seed: int):
    choose = random.Random(seed)
    parts = [folder / "video" / title.renditions[-1].id / INIT_FILE]
    parts += [
        folder / "video" / choose.choice(title.renditions).id / segment_file(n)
        for n in range(len(title.segment_frames))
    ]
    decoded = decode(b"".join(part.read_bytes() for part in parts))
    assert (decoded.times, decoded.warnings) == (_grid(title), "")


def test_each_codec_has_an_adaptation_set_of_its_own_and_manifests_without_the_others(
    title: Title, folder: Path, codec: VideoCodec
):
    whole = [
        [each.codecs.partition(".")[0] for each in adaptation.representations]
        for adaptation in parsed(folder / "manifest.mpd")
        if adaptation.content_type == "video"
    ]
    assert whole == [[each.standalone_entry] * 2 for each in VideoCodec]
    ids = [adaptation.id for adaptation in parsed(folder / "manifest.mpd")]
    assert len(set(ids)) == len(ids)
    for name, entry in (("manifest", codec.standalone_entry), ("driven", codec.in_band_entry)):
        (video, *others) = parsed(folder / f"{name}-{codec}.mpd")
        assert {each.codecs.partition(".")[0] for each in video.representations} == {entry}
        assert {each.content_type for each in others} == {"audio", "image"}
    assert standalone_init_file(codec) in (folder / f"{title.renditions[0].id}.m3u8").read_text()


def test_playlists_offer_the_rungs_of_all_codecs_or_of_one(title: Title, folder: Path, codec: VideoCodec):
    def variants(name: str) -> list[tuple[str, str]]:
        """Without those that differ in their sounds alone."""
        all_of_them = m3u8.load(str(folder / name)).playlists
        return list(dict.fromkeys((each.uri, each.stream_info.codecs.partition(".")[0]) for each in all_of_them))

    listed = {name: variants(name) for name in ("master.m3u8", f"master-{codec}.m3u8", f"driven-{codec}.m3u8")}
    own = [(f"{each.id}.m3u8", codec.standalone_entry) for each in title.renditions]
    assert listed[f"master-{codec}.m3u8"] == own and set(own) < set(listed["master.m3u8"])
    assert len(listed["master.m3u8"]) == 6
    assert listed[f"driven-{codec}.m3u8"] == [("video.m3u8", codec.in_band_entry)]


def test_ladders_have_the_same_rungs_and_plans_of_their_own():
    title = mixed_library().title(TITLE_ID)
    assert codecs_in(title) == tuple(VideoCodec)
    assert [each.id for each in title.renditions[:3]] == ["90p", "180p", "90p-hevc"]
    sizes = [[(each.width_px, each.height_px) for each in ladder] for ladder in title.ladders]
    assert sizes[0] == sizes[1] == sizes[2]
    assert set(title.plain_quality) == {each.id for each in title.renditions}
    assert "libx264, libx265, libsvtav1 and aac" in title.encoder and "av1 preset 10, crf 45" in title.encoder
    assert list(plans_files(title)) == ["plans.bin", "plans-hev1.bin", "plans-av01.bin"]


def test_enhancers_that_follow_motion_need_a_decoder_that_tells_it(codec: VideoCodec):
    offered = list_candidates(open_title(mixed_library().root, TITLE_ID, SMALL_CLIP), {}, TIERS)
    in_ladder = {each.id for each in in_codec(mixed_library().title(TITLE_ID), codec).renditions}
    tiers = {each.tier for each in offered if each.rendition.id in in_ladder}
    assert tiers - {Tier.REUSE} == (set(TIERS) if tiers else set())
    assert Tier.REUSE not in tiers or codec is VideoCodec.H264


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--codec", "h264,vp9"), "--codec 'vp9' is none of h264, hevc, av1."),
        (("--codec", "av1,av1"), "names a codec twice"),
        (("--codec", "h264,av1", "--crf", "25"), "--crf 25 is for 1 codecs, and --codec names 2."),
        (("--codec", "h264", "--crf", "52"), "--crf 52 is not what h264 has: 0 to 51."),
        (("--codec", "av1", "--crf", "30.5"), "--crf 30.5 is not whole"),
        (("--codec", "av1", "--preset", "faster"), "--preset 'faster' is none of av1's: 10, 9,"),
        (("--codec", "hevc", "--preset", "8"), "--preset '8' is none of hevc's: ultrafast,"),
    ],
)
def test_what_an_encoder_does_not_know_is_refused(given: tuple[str, ...], told: str, tmp_path: Path):
    done = CliRunner().invoke(prepare, [str(CLIP), "--library", str(tmp_path), *given])
    assert done.exit_code == 2 and told in " ".join(done.output.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
