"""Thumbnails: one picture in five seconds, many in a sheet, where DASH and HLS players look for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import m3u8
import numpy as np
import pytest
from mpegdash.parser import MPEGDASHParser

from abr.core.title import Thumbnails, load_title
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.ingest.thumbnails.sheets import COLUMNS, EVERY_S, ROWS, ThumbnailMaker, thumbnail_size
from server.media.library import Library

RATE = Fraction(2)
RED, GREEN, BLUE = (200, 40, 40), (40, 160, 60), (50, 60, 190)
COLOURS = (RED, GREEN, BLUE)


def colour_at(second: float) -> tuple[int, int, int]:
    return COLOURS[int(second) // EVERY_S % 3]


def frames(seconds: int, size: tuple[int, int] = (320, 180)) -> Iterator[av.VideoFrame]:
    """Display frames: BT.709 yuv420p, a colour for each five seconds."""
    for index in range(int(seconds * RATE)):
        pixels = np.full((size[1], size[0], 3), colour_at(index / RATE), np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        shown = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        shown.pts, shown.time_base = index, 1 / RATE
        yield shown


def pictures(sheets: list[bytes], thumbnails: Thumbnails) -> list[np.ndarray]:
    """Each picture's pixels, in order, as a viewer of JPEG sees them."""
    found = []
    for sheet in sheets:
        with av.open(io.BytesIO(sheet)) as file:
            frame = next(file.decode(video=0))
        pixels = frame.to_ndarray(format="rgb24")
        assert pixels.shape == (thumbnails.rows * thumbnails.height_px, thumbnails.columns * thumbnails.width_px, 3)
        for row in np.split(pixels, thumbnails.rows):
            found += np.split(row, thumbnails.columns, axis=1)
    return found


@pytest.mark.parametrize(
    ("seconds", "rows", "sheets"),
    [(1, 1, 1), (25, 1, 1), (26, 2, 1), (125, ROWS, 1), (126, ROWS, 2)],
)
def test_each_picture_is_the_first_of_its_five_seconds(seconds: int, rows: int, sheets: int) -> None:
    written: dict[str, bytes] = {}
    maker = ThumbnailMaker((320, 180), RATE, written.__setitem__)
    assert sum(1 for _ in maker.watch(frames(seconds))) == seconds * RATE, "all frames are passed on"
    thumbnails = maker.finish()
    assert list(written) == [f"sheet-{number:05d}.jpg" for number in range(1, sheets + 1)]
    assert thumbnails.sheet_bytes == tuple(map(len, written.values()))
    assert (thumbnails.columns, thumbnails.rows) == (COLUMNS, rows)
    found = pictures(list(written.values()), thumbnails)
    count = -(-seconds // EVERY_S)
    for number, picture in enumerate(found):
        colour = colour_at(number * EVERY_S) if number < count else (0, 0, 0)
        middle = picture[20:-20, 20:-20].mean(axis=(0, 1))
        assert np.abs(middle - colour).max() < 7, number


@pytest.mark.parametrize(
    ("display", "size"),
    [((1280, 720), (192, 108)), ((720, 1280), (108, 192)), ((100, 60), (100, 60)), ((4000, 2), (192, 2))],
)
def test_they_have_the_shape_of_the_display(display: tuple[int, int], size: tuple[int, int]) -> None:
    assert thumbnail_size(*display) == size


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thumbnails")
    with av.open(str(folder / "film.mkv"), "w") as target:
        stream = target.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for frame in frames(12):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    recipe = EncodeSettings(heights_px=(90,), preset="ultrafast", vmaf_every=8, panel_every=0)
    return prepare_title(folder / "film.mkv", Library(folder / "library"), recipe).folder


def test_manifests_lead_players_to_them(film: Path) -> None:
    title = load_title(film)
    assert title.thumbnails is not None
    sheets = sorted((film / "thumbnails").iterdir())
    assert [sheet.stat().st_size for sheet in sheets] == list(title.thumbnails.sheet_bytes)
    for file in ("manifest.mpd", "driven.mpd"):
        images = MPEGDASHParser.parse((film / file).read_text()).periods[0].adaptation_sets[-1]
        (representation,) = images.representations
        assert (images.content_type, images.mime_type) == ("image", "image/jpeg")
        assert (representation.width, representation.height) == (5 * 192, 108)
        assert representation.essential_properties[0].value == "5x1"
        assert images.segment_templates[0].duration == 25
    master = m3u8.load(str(film / "master.m3u8"))
    (image,) = master.image_playlists
    assert image.image_stream_info.resolution == (192, 108)
    listed = m3u8.load(str(film / image.uri))
    assert listed.is_images_only
    (segment,) = listed.segments
    assert (film / segment.uri) == sheets[0]
    assert "#EXT-X-TILES:RESOLUTION=192x108,LAYOUT=5x1,DURATION=5.000000\n" in (film / image.uri).read_text()
    assert segment.duration == title.duration_s
