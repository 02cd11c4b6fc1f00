"""HDR10 and HLG kept: ladders of ten bits that say what they are, beside those for ordinary displays."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import m3u8
import numpy as np
import pytest
from click.testing import CliRunner
from hdr_film import FFMPEG, HEIGHT_PX, film, run
from mpegdash.parser import MPEGDASHParser
from oracle import decode
from served import serving
from stock_players import opened_session
from titles import SMALL_CLIP

from abr.cli import root
from abr.core.title import Hdr, Title, load_title
from abr.media.display_filters import hdr_filters
from abr.media.probe import probe
from abr.media.source_frames import display_frames
from client_player.source.mpd import loads_mpd
from server.ingest.cli import prepare

TRANSFERS = {"pq": "smpte2084", "hlg": "arib-std-b67"}
PREPARE = ("--heights", "90,180", "--vmaf-every", "60", "--panel-every", "0", "--segment-seconds", "0.5")
NUMBERS = {"pq": 16, "hlg": 18}
"""ITU-T H.273, table 3."""
DISPLAY = (13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450, 10_000_000, 1)
"""Green, blue, red, white and luminance, as the film's encoder was told them."""
TOLD_DISPLAY = (
    "r(0.6800,0.3200) g(0.2650,0.6900) b(0.1500 0.0600) wp(0.3127, 0.3290) "
    "min_luminance=0.000100, max_luminance=1000.000000"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with both."""
    made = tmp_path_factory.mktemp("hdr")
    for transfer, name in TRANSFERS.items():
        command = ["prepare", str(film(made, name)), "--library", str(made / "library"), "--id", transfer, *PREPARE]
        command += ["--codec", "h264,hevc", "--preset", "ultrafast,ultrafast", "--hdr", "av1,hevc"]
        done = CliRunner().invoke(root, command)
        assert done.exit_code == 0, done.output
    return made


@pytest.fixture(params=list(TRANSFERS))
def transfer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def title(folder: Path, transfer: str) -> Title:
    return load_title(folder / "library" / transfer)


@pytest.fixture
def hdr(title: Title) -> Hdr:
    assert title.hdr
    return title.hdr


def init_of(folder: Path, title: Title, rung: str) -> Path:
    return folder / "library" / title.id / "video" / rung / "init.mp4"


def test_each_codec_has_the_rungs_of_the_ordinary_ladder_and_sessions_none_of_them(title, hdr, transfer):
    assert [each.id for each in hdr.renditions] == [
        f"{height}p-{codec}-{transfer}" for codec in ("hevc", "av1") for height in (90, 180)
    ]
    assert [len(each.segment_bytes) for each in hdr.renditions] == [2] * 4
    assert [each.codecs.split(".")[0] for each in title.renditions] == ["avc3"] * 2 + ["hev1"] * 2
    assert hdr.colour.transfer == transfer
    assert "hdr hevc preset ultrafast, crf 27, hdr av1 preset 7, crf 35" in title.encoder


def test_init_segments_hold_the_boxes_and_another_ffmpeg_reads_them(folder, title, hdr, transfer):
    for rendition in hdr.renditions:
        path = init_of(folder, title, rendition.id)
        init = path.read_bytes()
        read = subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr
        assert f"yuv420p10le(tv, bt2020nc/bt2020/{TRANSFERS[transfer]})" in read
        assert init.count(b"colr") == 1
        assert struct.unpack_from(">4s3HB", init, init.index(b"colr") + 4) == (b"nclx", 9, NUMBERS[transfer], 9, 0)
        assert rendition.init_bytes == len(init)
        if transfer == "hlg":  # this one says nothing of the display that it was mastered on, and nothing is made up
            assert b"mdcv" not in init and b"clli" not in init
            continue
        assert struct.unpack_from(">8H2I", init, init.index(b"mdcv") + 4) == DISPLAY
        assert struct.unpack_from(">2H", init, init.index(b"clli") + 4) == (1000, 200)
        assert TOLD_DISPLAY in read and "MaxCLL=1000, MaxFALL=200" in read
    for rendition in title.renditions:
        assert b"mdcv" not in init_of(folder, title, rendition.id).read_bytes()


def test_segments_tell_it_again_and_hold_exactly_the_frames_of_the_film(folder, title, hdr, transfer):
    reference = [frame.to_ndarray() for frame in kept_frames(film(folder, TRANSFERS[transfer]))]
    grid = [n / Fraction(*title.frame_rate) for n in range(sum(title.segment_frames))]
    for rendition in hdr.renditions:
        path = init_of(folder, title, rendition.id)
        whole = b"".join(each.read_bytes() for each in [path, *sorted(path.parent.glob("seg-*"))])
        decoded = decode(whole)
        assert (decoded.times, decoded.warnings) == (grid, "")
        shown = pictures(whole, rendition.width_px, rendition.height_px)
        colours = np.mean([mean_planes(each) for each in shown], axis=0)
        assert colours == pytest.approx(np.mean([mean_planes(each) for each in reference], axis=0), abs=4), "of 1023"
        if rendition.height_px < HEIGHT_PX:
            continue
        assert [psnr_db(a, b) > 30 for a, b in zip(shown, reference, strict=True)] == [True] * len(grid)
        if transfer == "pq":
            asked = [FFMPEG, "-hide_banner", "-i", "-", "-frames:v", "1", "-vf", "showinfo", "-f", "null", "-"]
            told = subprocess.run(asked, input=whole, capture_output=True).stderr.decode()
            assert "side data - Content light level metadata: MaxCLL=1000, MaxFALL=200" in told
            assert "max_luminance=1000.000000" in told.partition("side data - ")[2]


def kept_frames(path: Path) -> Any:
    footage = probe(path)
    return display_frames(path, footage, filters=hdr_filters(footage))


def pictures(whole: bytes, width_px: int, height_px: int) -> list[np.ndarray]:
    """(H·3/2, W) of ten bits."""
    command = [FFMPEG, "-v", "error", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-"]
    raw = subprocess.run(command, input=whole, capture_output=True, check=True).stdout
    return list(np.frombuffer(raw, "<u2").reshape(-1, height_px * 3 // 2, width_px))


def mean_planes(picture: np.ndarray) -> np.ndarray:
    """Of luma, blue and red difference."""
    height_px = len(picture) * 2 // 3
    return np.array([picture[:height_px].mean(), *picture[height_px:].reshape(2, -1).mean(axis=1)])


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(20 * np.log10(1023 / np.sqrt(np.mean((a.astype(float) - b) ** 2))))


def test_dash_marks_them_as_essentially_other_and_playlists_by_their_range(folder, title, hdr, transfer):
    below = folder / "library" / title.id
    sets = MPEGDASHParser.parse(str(below / "manifest.mpd")).periods[0].adaptation_sets
    assert len({each.id for each in sets}) == len(sets)
    videos = [each for each in sets if each.content_type == "video"]
    marks = [
        {mark.scheme_id_uri.rpartition(":")[2]: mark.value for mark in each.essential_properties or ()}
        for each in videos
    ]
    mark = {"ColourPrimaries": "9", "TransferCharacteristics": str(NUMBERS[transfer]), "MatrixCoefficients": "9"}
    assert marks == [{}] * (len(videos) - 2) + [mark] * 2
    told = [
        {mark.value for mark in each.supplemental_properties if "cicp" in mark.scheme_id_uri} for each in videos[:-2]
    ]
    assert told == [{"1"}] * len(told), "BT.709: Shaka goes by what each set says of itself"
    assert [each.selection_priority for each in videos] == [2] * len(told) + [None] * 2
    assert [each.id for kept in videos[-2:] for each in kept.representations] == [each.id for each in hdr.renditions]
    colours = f".10.0.110.09.{NUMBERS[transfer]}.09.0"
    assert all(each.codecs.endswith(colours) for each in videos[-1].representations)
    ranges = [each.stream_info.video_range for each in m3u8.load(str(below / "master.m3u8")).playlists]
    assert ranges == ["SDR"] * 4 + [transfer.upper()] * 4
    for alone in ("manifest-hevc.mpd", "driven-hevc.mpd", "master-hevc.m3u8", "driven-hevc.m3u8"):
        assert f"-{transfer}" not in (below / alone).read_text()
    ours = loads_mpd((below / "manifest.mpd").read_bytes(), "http://here/manifest.mpd")
    assert {track.id for track in ours.video} == {each.id for each in title.renditions}, "our player is no HDR player"
    uris = [each.segments[0].init_section.uri for each in map(playlist(below), hdr.renditions)]
    assert all((below / uri).is_file() for uri in uris)


def playlist(folder: Path) -> Any:
    return lambda rendition: m3u8.load(str(folder / f"{rendition.id}.m3u8"))


def test_the_titles_command_lists_them(folder, title, transfer):
    shown = CliRunner().invoke(root, ["show", title.id, "--library", str(folder / "library")])
    assert shown.exit_code == 0, shown.output
    (line,) = [each for each in shown.output.splitlines() if f"180p-hevc-{transfer}" in each]
    assert "320x180" in line and line.endswith("HDR  hev1.2.4.L60.90")


async def test_a_session_has_the_ordinary_ladder_and_is_answered_as_before(folder, title):
    import aiohttp

    async with serving(str(folder / "library")) as url, aiohttp.ClientSession() as pool:
        opened = await opened_session(url, title.id, codecs=["hevc"])
        for link in ("manifest_url", "hls_url"):
            async with pool.get(url + opened[link].removeprefix("/")) as answer:
                body = await answer.text()
                assert answer.status == 200 and "cicp" not in body and "VIDEO-RANGE" not in body
        kept = title.hdr.renditions[-1].id
        async with pool.get(f"{url}titles/{title.id}/video/{kept}/seg-00001.m4s") as answer:
            assert len(await answer.read()) == title.hdr.renditions[-1].segment_bytes[0]


def test_a_film_in_standard_range_has_none_and_says_so(tmp_path):
    source = tmp_path / "film.mkv"
    run("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=0.4", str(source))
    command = ["prepare", str(source), "--library", str(tmp_path), "--id", "film", "--heights", "90", "--hdr", "av1"]
    done = CliRunner().invoke(root, [*command, "--preset", "ultrafast", "--vmaf-every", "100", "--panel-every", "0"])
    assert done.exit_code == 0
    assert "it is in standard dynamic range, so that no HDR is kept" in done.stderr
    assert b'"hdr"' not in (tmp_path / "film" / "title.json").read_bytes(), "older players read it"


@pytest.mark.parametrize(
    ("given", "told"),
    [("h264", "--hdr 'h264' is none of hevc, av1, which code ten bits."), ("av1,av1", "names a codec twice")],
)
def test_what_codes_no_ten_bits_is_refused(given, told, tmp_path):
    done = CliRunner().invoke(prepare, [str(SMALL_CLIP), "--library", str(tmp_path), "--hdr", given])
    assert done.exit_code == 2 and told in " ".join(done.output.replace("│", " ").split())
