"""HDR10 and HLG films look on an ordinary display as they were meant: held against FFmpeg's zscale and tonemap."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hdr_film import FFMPEG, HEIGHT_PX, WIDTH_PX, film, run
from hypothesis import given
from hypothesis import strategies as st
from vulkan import vulkan as vulkan

from abr.errors import MediaError
from abr.media.display_filters import apply_filters, check_filters
from abr.media.probe import probe
from abr.media.source_frames import display_frames, reference_frames
from abr.media.tone_mapping import WHITE_NITS, map_brightness, to_standard
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library

TO_STANDARD = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap={}:desat=0,zscale=t=bt709:m=bt709:r=tv"


def theirs(path: Path, tonemap: str) -> np.ndarray:
    """FFmpeg's first picture, (H·3/2, W)."""
    raw = run(
        "-i", str(path), "-frames:v", "1", "-vf", f"{TO_STANDARD.format(tonemap)},format=yuv420p", "-f", "rawvideo", "-"
    )
    return np.frombuffer(raw, np.uint8).reshape(HEIGHT_PX * 3 // 2, WIDTH_PX).astype(int)


def ours(path: Path) -> np.ndarray:
    return next(iter(display_frames(path, probe(path)))).to_ndarray().astype(int)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hdr")


def test_a_source_says_of_what_kind_it_is(folder):
    assert (probe(film(folder, "smpte2084")).transfer, probe(film(folder, "smpte2084")).peak_nits) == ("pq", 1000)
    assert (probe(film(folder, "arib-std-b67")).transfer, probe(film(folder, "arib-std-b67")).peak_nits) == (
        "hlg",
        1000,
    )


def by_zscale(codes: np.ndarray, transfer: str) -> np.ndarray:
    """(N, 3) full-range R'G'B' codes of BT.2020 → of BT.709, as zimg has them."""
    count = len(codes)
    green_blue_red = np.round(codes[:, [1, 2, 0]] * 65535).astype("<u2")
    planes = np.repeat(green_blue_red.T[:, None, :], 8, axis=1).tobytes()
    said = f"setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=gbr:range=pc"
    chain = f"{said},zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,zscale=t=bt709,format=gbrpf32le"
    command = [
        FFMPEG,
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gbrp16le",
        "-s",
        f"{count}x8",
        "-i",
        "-",
        "-vf",
        chain,
    ]
    made = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-"], input=planes, check=True, capture_output=True
    ).stdout
    return np.frombuffer(made, "<f4").reshape(3, 8, count)[[2, 0, 1], 0].T


def test_what_an_ordinary_display_can_show_has_the_colours_that_zimg_gives_it():
    """By HLG greys alone: zimg bends each component by itself there, and BT.2100 all by their luminance."""
    grey = np.linspace(0.05, 0.45, 9)[:, None].repeat(3, axis=1)
    colours = np.array([[0.4, 0.2, 0.2], [0.2, 0.4, 0.2], [0.2, 0.2, 0.4], [0.3, 0.4, 0.1], [0.45, 0.4, 0.3]])
    every = np.vstack([grey, colours])
    assert np.allclose(to_standard(every, "pq", 1000), by_zscale(every, "smpte2084"), atol=0.002)
    assert np.allclose(to_standard(grey, "hlg", 1000), by_zscale(grey, "arib-std-b67"), atol=0.002)


@pytest.mark.parametrize(("transfer", "mean_max"), [("smpte2084", 3.5), ("arib-std-b67", 1.5)])
def test_a_dark_film_looks_as_ffmpeg_shows_it(folder, transfer, mean_max):
    """What differs are colours at the edges of what BT.709 has: the table's cells are coarse there."""
    dark = film(folder, transfer, 0.3, transfer == "arib-std-b67")
    difference = np.abs(ours(dark) - theirs(dark, "clip"))
    assert difference.mean() < mean_max, "in 8-bit codes, luma and chroma"
    assert ours(dark)[:HEIGHT_PX].mean() == pytest.approx(theirs(dark, "clip")[:HEIGHT_PX].mean(), abs=3)


def mean_planes(picture: np.ndarray) -> np.ndarray:
    """Of luma, blue and red difference."""
    chroma = picture[HEIGHT_PX:].reshape(2, -1)
    return np.array([picture[:HEIGHT_PX].mean(), *chroma.mean(axis=1)])


@pytest.mark.parametrize("brighter", [0.3, 1.0, 4.0])
def test_an_hdr10_film_has_about_the_light_and_colours_that_ffmpegs_tonemap_gives_it(folder, brighter):
    path = film(folder, "smpte2084", brighter)
    apart = np.abs(mean_planes(ours(path)) - mean_planes(theirs(path, "mobius")))
    assert (apart <= [12, 3, 3]).all(), apart


@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_up_to_reference_white_it_has_those_that_libplacebo_gives_it(folder, transfer):
    """It knows the curve of BT.2390 and the display that HLG is for, as zscale and tonemap do not."""
    path = film(folder, transfer)
    to_standard = "tonemapping=bt.2390:gamut_mode=clip:peak_detect=false:dithering=none"
    named = "colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv:format=yuv420p"
    raw = run("-init_hw_device", "vulkan", "-i", str(path), "-frames:v", "1", "-vf",
              f"libplacebo={to_standard}:{named}", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")  # fmt: skip
    placebo = np.frombuffer(raw, np.uint8).reshape(HEIGHT_PX * 3 // 2, WIDTH_PX).astype(int)
    apart = np.abs(mean_planes(ours(path)) - mean_planes(placebo))
    assert (apart <= [5, 4, 4]).all(), apart


def test_what_is_brighter_is_compressed_and_not_burnt_out(folder):
    bright = film(folder, "smpte2084", 4.0)
    mine, clipped = (picture[:HEIGHT_PX] for picture in (ours(bright), theirs(bright, "clip")))
    assert mine.mean() == pytest.approx(clipped.mean(), rel=0.15)
    assert (mine >= 234).mean() < 0.5 * (clipped >= 234).mean()


def test_a_title_is_made_of_it_and_what_it_is_compared_with_is_the_same_picture(folder, tmp_path):
    path = film(folder, "smpte2084")
    recipe = EncodeSettings(heights_px=(90, 180), preset="ultrafast", crf=16, vmaf_every=10, panel_every=0)
    title = prepare_title(path, Library(tmp_path), recipe, title_id="film").title
    assert ("tone_map", "pq:1000") in title.source.filters
    assert min(title.plain_quality["180p"].vmaf) > 90
    first = next(iter(reference_frames(path, title))).to_ndarray().astype(int)
    assert np.array_equal(first, ours(path))


@pytest.mark.parametrize("arguments", ["pq:100", "pq:99999", "pq", "sdr:1000", "hlg:-1", "pq:1000:file=x"])
def test_arguments_of_a_stranger_are_refused(folder, arguments):
    with pytest.raises(MediaError, match="tone_map"):
        filters = [("format", "gbrp16le"), ("tone_map", arguments)]
        check_filters(filters)
        list(apply_filters(display_frames(film(folder, "smpte2084"), probe(film(folder, "smpte2084"))), filters))


@given(st.floats(300, 10_000), st.lists(st.floats(0, 10_000), min_size=2, max_size=30))
def test_brightness_rises_is_never_above_white_and_is_untouched_in_the_dark(peak_nits, nits):
    light = np.sort(np.array(nits))
    mapped = map_brightness(light, peak_nits)
    assert (np.diff(mapped) >= -1e-6 * WHITE_NITS).all() and mapped.max() <= WHITE_NITS * 1.001
    dark = light[light < 20]
    assert np.allclose(map_brightness(dark, peak_nits), dark, rtol=1e-3, atol=1e-3)


def test_grey_stays_grey_and_white_is_white():
    for transfer in ("pq", "hlg"):
        greys = np.repeat(np.linspace(0, 1, 50)[:, None], 3, axis=1)
        shown = to_standard(greys, transfer, 1000)
        assert np.ptp(shown, axis=1).max() < 1e-3
        assert shown[0].max() < 1e-3 and shown[-1].min() > 0.99
