"""Titles in HEVC and AV1: what another FFmpeg reads of them, and what is offered and refused."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from oracle import decode
from titles import CLIP

from abr.core.enhancement import Tier
from abr.core.title import Title, segment_file
from abr.media.video_codecs import VideoCodec, codec_of
from enhancers.measurement.offers import list_candidates
from enhancers.prepared_title import open_title
from server.ingest.cli import prepare
from server.ingest.cmaf import INIT_FILE, standalone_init_file
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
CODECS = (VideoCodec.HEVC, VideoCodec.AV1)
FAST = {VideoCodec.H264: "ultrafast", VideoCodec.HEVC: "ultrafast", VideoCodec.AV1: "10"}


@cache
def _library(root: Path, codec: VideoCodec) -> Library:
    library = Library(root / codec)
    recipe = EncodeSettings(
        codec=codec, crf=40, preset=FAST[codec], heights_px=(90, 180), segment_s=1, vmaf_every=60, panel_every=0
    )
    prepare_title(CLIP, library, recipe, title_id="bbb")
    return library


@pytest.fixture(scope="module", params=CODECS)
def codec(request: pytest.FixtureRequest) -> VideoCodec:
    return VideoCodec(request.param)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("codecs")


@pytest.fixture
def title(root: Path, codec: VideoCodec) -> Title:
    return _library(root, codec).title("bbb")


@pytest.fixture
def folder(root: Path, codec: VideoCodec) -> Path:
    return _library(root, codec).root / "bbb"


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
    parts = [folder / "video" / "180p" / INIT_FILE]
    parts += [
        folder / "video" / choose.choice(title.renditions).id / segment_file(n)
        for n in range(len(title.segment_frames))
    ]
    decoded = decode(b"".join(part.read_bytes() for part in parts))
    assert (decoded.times, decoded.warnings) == (_grid(title), "")


def test_manifests_name_the_codec_and_what_stands_by_itself(title: Title, folder: Path, codec: VideoCodec):
    mpd, driven = ((folder / name).read_text() for name in ("manifest.mpd", "driven.mpd"))
    assert f'codecs="{codec.standalone_entry}.' in mpd and standalone_init_file(codec) in mpd
    assert f'codecs="{title.renditions[-1].codecs}"' in driven
    assert f'"{codec.standalone_entry}.' in (folder / "master.m3u8").read_text()
    assert standalone_init_file(codec) in (folder / "90p.m3u8").read_text()


def test_enhancers_that_follow_motion_need_a_decoder_that_tells_it(root: Path, codec: VideoCodec):
    offered = list_candidates(open_title(_library(root, codec).root, "bbb", CLIP), {}, TIERS)
    assert {each.tier for each in offered} == set(TIERS)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--codec", "h264", "--crf", "52"), "--crf 52 is more than h264 has: 0 to 51."),
        (("--codec", "av1", "--crf", "30.5"), "--crf 30.5 is not whole"),
        (("--codec", "av1", "--preset", "faster"), "--preset 'faster' is none of av1's: 10, 9,"),
        (("--codec", "hevc", "--preset", "8"), "--preset '8' is none of hevc's: ultrafast,"),
    ],
)
def test_what_an_encoder_does_not_know_is_refused(given: tuple[str, ...], told: str, tmp_path: Path):
    done = CliRunner().invoke(prepare, [str(CLIP), "--library", str(tmp_path), *given])
    assert done.exit_code == 2 and told in " ".join(done.output.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
