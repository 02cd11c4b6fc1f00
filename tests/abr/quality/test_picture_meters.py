"""SSIMULACRA 2, ERQA and the RGB that they look at, against their reference programs.

The expected figures were computed by those programs on the pictures that this file makes: ERQA by the PyPI package
erqa 1.1.2 with OpenCV 5.0, SSIMULACRA 2 by github.com/cloudinary/ssimulacra2, version 2.1, with its blur in double
precision. As published that program blurs by a recursion in single precision, whose rounding grows along each row: it
gives up to 0.5 less on these pictures, and some 1 less on pictures that score above 90.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from abr.quality.erqa import canny, erqa
from abr.quality.pictures import Planes, Rgb, crop_planes, rgb_of
from abr.quality.ssimulacra2 import ssimulacra2

CLIP = Path(__file__).parents[2] / "data" / "bbb_720p25_5s.mp4"
SAMPLED_FRAMES = (0, 60, 120)


def planes_of(frame: av.VideoFrame) -> Planes:
    y, u, v = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    )
    return y, u, v


@pytest.fixture(scope="module")
def frames() -> list[av.VideoFrame]:
    with av.open(str(CLIP)) as container:
        return [frame for index, frame in enumerate(container.decode(video=0)) if index in SAMPLED_FRAMES]


@pytest.fixture(scope="module")
def sources(frames: list[av.VideoFrame]) -> dict[str, Rgb]:
    """Three frames of a film, a piece of one with odd sides, and two pictures made here."""
    films = {f"film {index}": rgb_of(planes_of(frame)) for index, frame in zip(SAMPLED_FRAMES, frames, strict=True)}
    return films | {"piece": films["film 60"][:, 100:401, 200:619], "shapes": shapes(250, 333), "small": shapes(48, 61)}


def shapes(height: int, width: int) -> Rgb:
    """Coloured discs before a gradient: sharp edges, and flat and sloped places."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([columns * 255 // width, rows * 255 // height, 255 - columns * 255 // width])
    for number in range(12):
        x, y, radius = (number * 89) % width, (number * 53) % height, 4 + (number * 7) % (height // 5)
        inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        picture[:, inside] = np.array([[(number * 70) % 256], [(number * 110) % 256], [(number * 30) % 256]])
    return picture.astype(np.uint8)


def enlarged(picture: Rgb, times: int) -> Rgb:
    """Scaled down by means and up again by repetition, as far as whole blocks go."""
    channels, height, width = picture.shape
    tall, wide = height // times * times, width // times * times
    blocks = picture[:, :tall, :wide].reshape(channels, tall // times, times, wide // times, times)
    shown = picture.copy()
    shown[:, :tall, :wide] = np.repeat(np.repeat(blocks.mean(axis=(2, 4)), times, axis=1), times, axis=2).round()
    return shown


def softened(picture: Rgb) -> Rgb:
    padded = np.pad(picture.astype(int), ((0, 0), (1, 1), (1, 1)), mode="edge")
    _, height, width = picture.shape
    total = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    return (np.asarray(total) // 9).astype(np.uint8)


def noisy(picture: Rgb) -> Rgb:
    noise = np.random.default_rng(5).integers(-8, 9, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def posterised(picture: Rgb) -> Rgb:
    return (picture // 32 * 32 + 16).astype(np.uint8)


def red_shifted(picture: Rgb) -> Rgb:
    shown = picture.copy()
    shown[0] = np.roll(shown[0], 1, axis=1)
    return shown


def moved(picture: Rgb) -> Rgb:
    return np.roll(picture, (2, -3), axis=(1, 2))


DAMAGES: dict[str, Callable[[Rgb], Rgb]] = {
    "halved": lambda picture: enlarged(picture, 2),
    "quartered": lambda picture: enlarged(picture, 4),
    "softened": softened,
    "noisy": noisy,
    "posterised": posterised,
    "red shifted": red_shifted,
    "moved": moved,
}

# Source, damage, SSIMULACRA 2, ERQA.
EXPECTED = (
    ("film 0", "halved", 81.3196, 0.64830396),
    ("film 0", "quartered", 55.96, 0.44526522),
    ("film 0", "softened", 70.3184, 0.5329221),
    ("film 0", "red shifted", 62.4973, 0.84369665),
    ("film 60", "halved", 80.5692, 0.63741918),
    ("film 60", "quartered", 55.8752, 0.41859279),
    ("film 60", "softened", 74.6875, 0.54641253),
    ("film 60", "noisy", 72.9242, 0.84083122),
    ("film 60", "posterised", -18.377, 0.69307572),
    ("film 60", "red shifted", 64.2007, 0.82641774),
    ("film 60", "moved", -62.7464, 1.0),
    ("film 120", "halved", 81.3614, 0.63338575),
    ("film 120", "quartered", 56.3592, 0.43783979),
    ("film 120", "softened", 74.2646, 0.54263175),
    ("film 120", "red shifted", 72.0891, 0.83530458),
    ("piece", "halved", 84.6298, 0.73753699),
    ("piece", "quartered", 65.1356, 0.57062247),
    ("piece", "softened", 83.7158, 0.71656379),
    ("piece", "noisy", 71.2359, 0.80905687),
    ("piece", "posterised", -31.7661, 0.7185022),
    ("piece", "red shifted", 72.0328, 0.8599014),
    ("piece", "moved", -45.0925, 1.0),
    ("shapes", "halved", 51.6694, 0.89914425),
    ("shapes", "quartered", 17.6275, 0.69056604),
    ("shapes", "softened", 43.1423, 0.92431562),
    ("shapes", "noisy", 70.1842, 0.92024943),
    ("shapes", "posterised", -31.1827, 0.851875),
    ("shapes", "red shifted", 55.4973, 0.7881549),
    ("shapes", "moved", -47.9499, 1.0),
    ("small", "halved", -9.5331, 0.85362854),
    ("small", "quartered", -61.7498, 0.66107383),
    ("small", "softened", -15.1787, 0.89646465),
    ("small", "noisy", 40.7179, 0.9201995),
    ("small", "posterised", 39.0216, 0.88355342),
    ("small", "red shifted", 16.8911, 0.82954545),
    ("small", "moved", -94.2267, 1.0),
)


@pytest.mark.parametrize(("source", "damage", "expected", "_"), EXPECTED)
def test_ssimulacra2_is_that_of_its_reference(
    sources: dict[str, Rgb], source: str, damage: str, expected: float, _: float
) -> None:
    picture = sources[source]
    assert ssimulacra2(picture, DAMAGES[damage](picture)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("source", "damage", "_", "expected"), EXPECTED)
def test_erqa_is_that_of_its_reference(
    sources: dict[str, Rgb], source: str, damage: str, _: float, expected: float
) -> None:
    picture = sources[source]
    assert erqa(picture, DAMAGES[damage](picture)) == pytest.approx(expected, abs=1e-7)


def test_edges_are_those_of_opencv_where_it_is_installed(sources: dict[str, Rgb]) -> None:
    cv2 = pytest.importorskip("cv2")
    for picture in (*sources.values(), *(noisy(picture) for picture in sources.values())):
        theirs = cv2.Canny(np.ascontiguousarray(picture.transpose(1, 2, 0)[:, :, ::-1]), 100, 200)
        assert np.array_equal(canny(picture), theirs > 0)


def test_an_identical_picture_is_perfect(sources: dict[str, Rgb]) -> None:
    for picture in sources.values():
        assert (ssimulacra2(picture, picture), erqa(picture, picture)) == (100.0, 1.0)


def test_more_damage_scores_lower(sources: dict[str, Rgb]) -> None:
    picture = shown = sources["film 60"]
    scores: list[tuple[float, float]] = []
    for _ in range(4):
        shown = softened(shown)
        scores.append((ssimulacra2(picture, shown), erqa(picture, shown)))
    for column in zip(*scores, strict=True):
        assert list(column) == sorted(column, reverse=True)


def test_without_any_edge_there_is_nothing_to_restore_and_a_false_edge_is_wrong() -> None:
    flat = np.full((3, 64, 64), 90, dtype=np.uint8)
    edged = flat.copy()
    edged[:, :, 32:] = 200
    assert erqa(flat, flat) == 1.0
    assert erqa(flat, edged) == erqa(edged, flat) == 0.0


@pytest.mark.parametrize("meter", [ssimulacra2, erqa])
def test_pictures_that_differ_in_size_or_are_tiny_are_refused(meter: Callable[[Rgb, Rgb], float]) -> None:
    picture = np.zeros((3, 32, 32), dtype=np.uint8)
    for other in (picture[:, 1:], picture[:, :, 1:]):
        with pytest.raises(ValueError, match="one size"):
            meter(picture, other)
    with pytest.raises(ValueError, match="px on"):
        meter(picture[:, :7], picture[:, :7])


def test_rgb_is_that_of_ffmpeg(frames: list[av.VideoFrame]) -> None:
    for frame in frames:
        theirs = frame.reformat(
            format="gbrp",
            src_colorspace="ITU709",
            src_color_range="MPEG",
            dst_color_range="JPEG",
            interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        ).to_ndarray()
        difference = np.abs(rgb_of(planes_of(frame)).transpose(1, 2, 0).astype(int) - theirs)
        assert difference.mean() < 0.6 and np.percentile(difference, 99) <= 3


def test_grey_and_full_colours_come_out_as_bt709_has_them() -> None:
    for (luma, u, v), rgb in {
        (16, 128, 128): (0, 0, 0),
        (235, 128, 128): (255, 255, 255),
        (63, 102, 240): (255, 0, 0),
        (173, 42, 26): (0, 255, 0),
        (32, 240, 118): (0, 0, 255),
    }.items():
        planes = (np.full((5, 7), luma, np.uint8), np.full((3, 4), u, np.uint8), np.full((3, 4), v, np.uint8))
        assert np.abs(rgb_of(planes).astype(int) - np.reshape(rgb, (3, 1, 1))).max() <= 2


def test_cropped_planes_are_those_inside_the_box(frames: list[av.VideoFrame]) -> None:
    y, u, v = planes_of(frames[1])
    cropped = crop_planes((y, u, v), (20, 8, 200, 100))
    for plane, expected in zip(cropped, (y[8:108, 20:220], u[4:54, 10:110], v[4:54, 10:110]), strict=True):
        assert np.array_equal(plane, expected)
