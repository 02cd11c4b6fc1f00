"""SSIMULACRA 2: how close a shown picture is to its source, tuned to how people judged compressed pictures.

Pictures are compared in the XYB colour space at up to six scales, by a map of structural similarity and two maps of
edges: those added (ringing) and those lost (blur). Weighted means and 4-norms of the maps give one score (Sneyers,
version 2.1, github.com/cloudinary/ssimulacra2; this module meets its scores within 0.01).

The reference blurs by a recursive filter. Its impulse response is nine taps long (Charalampidis, "Recursive
Implementation of the Gaussian Filter Using Truncated Cosine Functions", 2016), so a convolution does the same.

A pair of 1280x720 takes some 125 ms of one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from abr.quality.pictures import Rgb

Image = npt.NDArray[np.float32]

SMALLEST_PX: Final = 8
"""Pictures that are narrower or lower cannot be scored."""
_SCALES = 6
_C2 = np.float32(0.0009)
_OPSIN = np.array(
    [
        [0.30, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.5518098665095536],
    ],
    dtype=np.float32,
)
"""From linear RGB to the cones' L, M and S (XYB of JPEG XL, ISO/IEC 18181-1)."""
_OPSIN_BIAS = np.float32(0.0037930732552754493)
_TAPS = np.array([0.264621105, 0.212928592, 0.109335373, 0.0360111147, 0.00941436781], dtype=np.float32)
"""The blur's middle tap and those 1 … 4 pixels from it."""
_REACH = len(_TAPS) - 1
_BAND_PX = 40_000

_PLANES, _NORMS, _MAPS = 3, 2, 3
_MEAN, _NORM_4 = range(2)
_SIMILARITY, _RINGING, _BLUR = range(3)


def _weights() -> npt.NDArray[np.float64]:
    """The published weights in their published order: plane (X, Y, B), scale, norm (mean, 4-norm), map.

    Of the 108, those under 0.0025 are left out. All of them together move no score by 0.01, and without them X and B
    need not be looked at in full size, nor B in half and quarter size.
    """
    weights = np.zeros(_PLANES * _SCALES * _NORMS * _MAPS)
    for index, weight in {
        # X
        9: 1.1041726426657346,
        15: 1.8422455520539298,
        16: 11.441172603757666,
        21: 1.8787594979546387,
        22: 10.94906990605142,
        25: 0.9677937080626833,
        28: 0.9981766977854967,
        # Y
        39: 7.466890328078848,
        41: 17.445833984131262,
        45: 6.683678146179332,
        47: 1.027889937768264,
        48: 225.20515300849274,
        51: 19.213238186143016,
        54: 176.39317598450694,
        57: 24.43300999870476,
        58: 0.28520802612117757,
        63: 34.77906344483772,
        64: 44.835625328877896,
        # B
        93: 8.826982764996862,
        94: 23.19243343998926,
        96: 95.1080498811086,
        97: 0.9863978034400682,
        98: 0.9834382792465353,
        100: 171.2667255897307,
        101: 0.9807858872435379,
    }.items():
        weights[index] = weight
    return weights


_WEIGHTS = _weights()


def _linear_light() -> Image:
    """Linear light, 0–1, of each code value of sRGB (IEC 61966-2-1)."""
    code = np.arange(256) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR_LIGHT = _linear_light()


def ssimulacra2(source: Rgb, shown: Rgb) -> float:
    """The score of a shown picture against its source, both uint8 (3, H, W) in sRGB: at most 100, and below 0 when bad.

    Some 30 is low, 50 medium, 70 high quality; from 90 on the pictures can hardly be told apart, and 100 is identity.
    Raises ValueError when the pictures differ in size or are smaller than SMALLEST_PX.
    """
    if source.shape != shown.shape or min(source.shape[1:]) < SMALLEST_PX:
        raise ValueError(f"two pictures of one size from {SMALLEST_PX} px on are needed: {source.shape}, {shown.shape}")
    count = _scale_count(*source.shape[1:])
    # With fewer scales the reference takes its weights in the same order, without leaving any out.
    weights = _WEIGHTS[: _PLANES * count * _NORMS * _MAPS].reshape(_PLANES, count, _NORMS, _MAPS)
    pair = [np.take(_LINEAR_LIGHT, picture) for picture in (source, shown)]
    error = 0.0
    for scale in range(count):
        if scale:
            pair = [_halved(light) for light in pair]
        error += sum(_errors(pair, weights[:, scale]))
    return _score(error)


def _score(error: float) -> float:
    error *= 0.9562382616834844
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 100.0 - 10.0 * math.pow(max(0.0, error), 0.6276336467831387)


def _scale_count(height: int, width: int) -> int:
    """A scale is looked at when the one before it was large enough."""
    count, size = 1, min(height, width)
    while count < _SCALES and size >= SMALLEST_PX:
        size, count = (size + 1) // 2, count + 1
    return count


def _halved(light: Image) -> Image:
    """Means of 2×2 pixels; an odd last row or column is repeated."""
    _, height, width = light.shape
    if height % 2 or width % 2:
        light = np.pad(light, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    rows = light[:, ::2] + light[:, 1::2]
    halved: Image = (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)
    return halved


def _errors(pair: list[Image], weights: npt.NDArray[np.float64]) -> Iterator[float]:
    """Weighted errors of one scale, plane by plane. weights: (plane, norm, map)."""
    needed = [bool(plane.any()) for plane in weights]
    if not any(needed):
        return
    for wanted, plane_weights, source, shown in zip(
        needed, weights, *(_xyb(light, needed) for light in pair), strict=True
    ):
        if wanted:
            yield _plane_error(source, shown, plane_weights)


def _xyb(light: Image, needed: list[bool]) -> list[Image]:
    """X, Y and B−Y, each scaled to lie within 0–1; what is not needed comes as an empty image."""
    nothing = np.empty((0, 0), dtype=np.float32)
    wants_x, _, wants_b = needed
    long, medium = _cone(light, 0), _cone(light, 1)
    y = (long + medium) * np.float32(0.5)
    x = (long - medium) * np.float32(7) + np.float32(0.42) if wants_x else nothing
    b = _cone(light, 2) - y + np.float32(0.55) if wants_b else nothing
    return [x, y + np.float32(0.01), b]


def _cone(light: Image, row: int) -> Image:
    """The cube root of one cone's response, less that of black."""
    red, green, blue = _OPSIN[row]
    response: Image = light[0] * red
    response += light[1] * green
    response += light[2] * blue
    response += _OPSIN_BIAS
    # numpy's cbrt is many times slower than exp and log, which it vectorises.
    np.log(response, out=response)
    response *= np.float32(1 / 3)
    np.exp(response, out=response)
    response -= np.cbrt(_OPSIN_BIAS)
    return response


def _plane_error(source: Image, shown: Image, weights: npt.NDArray[np.float64]) -> float:
    """Weighted sum of the norms of one plane's maps. weights: (norm, map)."""
    wants_similarity = bool(weights[:, _SIMILARITY].any())
    sums = sum(_band_sums(*bands, wants_similarity) for bands in zip(_bands(source), _bands(shown), strict=True))
    means = np.asarray(sums) / source.size
    return float(weights[_MEAN] @ means[_MEAN] + weights[_NORM_4] @ means[_NORM_4] ** 0.25)


def _bands(plane: Image) -> Iterator[Image]:
    """Bands of rows that fit a processor's cache, each with the rows around it that the blur reaches."""
    height, width = plane.shape
    padded = np.pad(plane, ((_REACH, _REACH), (0, 0)))
    rows = max(1, _BAND_PX // width)
    for first in range(0, height, rows):
        yield padded[first : min(first + rows, height) + 2 * _REACH]


def _band_sums(source: Image, shown: Image, wants_similarity: bool) -> npt.NDArray[np.float64]:
    """Sum and sum of fourth powers of each map over a band: (norm, map)."""
    source_mean, shown_mean = _blurred(source), _blurred(shown)
    sums = np.zeros((2, 3))
    if wants_similarity:
        sums[:, _SIMILARITY] = _powers(_dissimilarity(source, shown, source_mean, shown_mean))
    change = _edge_change(source[_REACH:-_REACH], shown[_REACH:-_REACH], source_mean, shown_mean)
    sums[:, _RINGING] = _powers(np.maximum(change, 0))
    sums[:, _BLUR] = _powers(np.maximum(-change, 0))
    return sums


def _powers(errors: Image) -> tuple[float, float]:
    """The sum and the sum of fourth powers of errors, which are not below 0."""
    squared = (errors * errors).ravel()
    return float(errors.sum()), float(np.dot(squared, squared))


def _dissimilarity(source: Image, shown: Image, source_mean: Image, shown_mean: Image) -> Image:
    """1 − SSIM, without its division by luminance: XYB is gamma-compressed already."""
    product = source_mean * shown_mean
    difference = source_mean - shown_mean
    difference *= difference
    squares = difference + 2 * product  # the sum of the squared means
    covariance = _blurred(source * shown) - product
    variances = _blurred(source * source + shown * shown) - squares
    ratio = (2 * covariance + _C2) / (variances + _C2)
    ratio *= 1 - difference
    dissimilarity: Image = np.maximum(1 - ratio, 0, out=ratio)
    return dissimilarity


def _edge_change(source: Image, shown: Image, source_mean: Image, shown_mean: Image) -> Image:
    """Above 0 where the shown picture has an edge that the source has not, below 0 where it lost one."""
    shown_edge, source_edge = shown - shown_mean, source - source_mean
    for edge in (shown_edge, source_edge):
        np.abs(edge, out=edge)
        edge += 1
    shown_edge /= source_edge
    shown_edge -= 1
    return shown_edge


def _blurred(band: Image) -> Image:
    """The rows of a band (h + 2·_REACH, w) that can be blurred, (h, w). Nothing lies left and right of the picture."""
    height, width = band.shape[0] - 2 * _REACH, band.shape[1]
    columns = np.zeros((height, width + 2 * _REACH), dtype=np.float32)
    _convolve(lambda start: band[start : start + height], out=columns[:, _REACH:-_REACH])
    blurred = np.empty((height, width), dtype=np.float32)
    _convolve(lambda start: columns[:, start : start + width], out=blurred)
    return blurred


def _convolve(shifted: Callable[[int], Image], out: Image) -> None:
    """Weighted sum of the images that `shifted` gives for 0 … 2·_REACH."""
    np.multiply(shifted(_REACH), _TAPS[0], out=out)
    pair = np.empty_like(out)
    for distance in range(1, _REACH + 1):
        np.add(shifted(_REACH - distance), shifted(_REACH + distance), out=pair)
        pair *= _TAPS[distance]
        out += pair
