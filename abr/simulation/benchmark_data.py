"""Price lists from files other than our own title folders: Sabre movies, and the tables of the abr benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from abr.core.arrays import Floats
from abr.core.device import DeviceProfile, Wish
from abr.core.enhancement import ENHANCEMENTS_FILE, Currency, EnhancementTable
from abr.core.options import VMAF_MAX, Choice, PriceList
from abr.core.title import TITLE_FILE, Title
from abr.errors import FormatError, InputError
from abr.opinions.fitted import FittedQoe
from abr.opinions.scales import CountedQuality, in_points, list_scale
from abr.records import load

Rate = Annotated[float, Meta(gt=0, le=1e9)]
Size = Annotated[float, Meta(gt=0, le=1e13)]

TOP_VMAF = 100.0
LOWEST_VMAF = 20.0
"""Where quality was never measured, the lowest rung is taken for this and the highest for `TOP_VMAF`."""
PENSIEVE_KBPS = (300.0, 750.0, 1200.0, 1850.0, 2850.0, 4300.0)
PENSIEVE_POINT_BPS = 4.3e6 / 100
"""Bits per second that count as one point, so that a second of stall costs 100 points just as it costs 4.3 Mbit/s."""


class Movie(msgspec.Struct, frozen=True):
    """A Sabre movie."""

    segment_duration_ms: Annotated[float, Meta(gt=0, le=1e6)]
    bitrates_kbps: Annotated[list[Rate], Meta(min_length=1, max_length=64)]
    segment_sizes_bits: Annotated[list[list[Size]], Meta(min_length=1, max_length=100_000)]


class Enhance(msgspec.Struct, frozen=True):
    """An enhancement profile of the benchmark: -1 (or any negative quality) says that a thing is not offered."""

    frame_rate: Annotated[float, Meta(gt=0, le=1000)]
    levels: list[str]
    enhancement_fps: list[list[float]]
    base_vmaf: list[list[float]]
    enhanced_vmaf: list[list[list[float]]]


def load_title(
    path: Path,
    profile: Path | None = None,
    currency: Currency = Currency.TRUSTED,
    wish: Wish | None = None,
    qoe: FittedQoe | None = None,
) -> PriceList:
    """Price a title folder (for the device of a profile file, if given) or a Sabre movie JSON, which is plain.

    wish: how the viewer wants energy spent, in the place of what the profile says. qoe: learnt from people, to price
    quality in its points.
    """
    if not path.is_dir():
        prices = movie_prices(load(path, Movie), path.name)
        return prices if qoe is None else in_points(prices, list_scale(qoe, prices))
    table, device = path / ENHANCEMENTS_FILE, load(profile, DeviceProfile) if profile else None
    if device is not None and wish is not None:
        device = msgspec.structs.replace(device, wish=wish)
    counted, enhancements = CountedQuality(currency, qoe), load(table, EnhancementTable) if table.is_file() else None
    return counted.options(load(path / TITLE_FILE, Title), enhancements).price(device)


def movie_prices(movie: Movie, name: str) -> PriceList:
    """A plain price list; quality, which a Sabre movie does not tell, grows with the logarithm of the rate."""
    rates = np.asarray(movie.bitrates_kbps)
    order = np.argsort(rates, kind="stable")
    sizes = _sizes(movie, name)[:, order] / 8
    spread = np.log(rates[order] / rates.min()) / max(np.log(rates.max() / rates.min()), 1e-9)
    vmaf = np.tile(LOWEST_VMAF + (TOP_VMAF - LOWEST_VMAF) * spread, (len(sizes), 1))
    choices = [Choice(rendition=i) for i in range(len(rates))]
    return _prices(movie, [f"{rates[i]:g}k" for i in order], choices, sizes, np.zeros_like(vmaf), vmaf)


def enhanced_prices(movie: Movie, enhance: Enhance, name: str) -> PriceList:
    """Price the benchmark's movie with one of its enhancement profiles."""
    sizes = _sizes(movie, name) / 8
    segments, rates = sizes.shape
    base = _table(enhance.base_vmaf, (rates - 1, segments), f"{name}: base_vmaf")
    columns: list[tuple[Choice, Floats, float, Floats]] = []
    for rate in range(rates):
        plain = base[rate] if rate < rates - 1 else np.full(segments, TOP_VMAF)
        columns.append((Choice(rendition=rate), sizes[:, rate], 0.0, plain))
        levels = enhance.enhanced_vmaf[rate] if rate < len(enhance.enhanced_vmaf) else []
        for column, (level, row) in enumerate(zip(enhance.levels, levels, strict=False)):
            speed_fps = _cell(enhance.enhancement_fps, rate, column, name)
            vmaf = _table(row, (segments,), f"{name}: enhanced_vmaf of rate {rate}, {level}")
            if speed_fps > 0 and (vmaf >= 0).any():
                compute_s = enhance.frame_rate * movie.segment_duration_ms / 1000 / speed_fps
                columns.append(
                    (
                        Choice(rendition=rate, enhancer=level),
                        sizes[:, rate],
                        compute_s,
                        np.where(vmaf < 0, np.nan, vmaf),
                    )
                )
    vmaf_table = np.array([column[3] for column in columns]).T
    if np.nanmin(vmaf_table) < 0 or np.nanmax(vmaf_table) > VMAF_MAX:
        raise FormatError(f"{name}: a VMAF lies outside 0 to 100.")
    return _prices(
        movie,
        [f"{rate:g}k" for rate in movie.bitrates_kbps],
        [column[0] for column in columns],
        np.array([column[1] for column in columns]).T,
        np.tile([column[2] for column in columns], (segments, 1)),
        vmaf_table,
    )


def load_benchmark(folder: Path, profile: str) -> PriceList:
    """`video_*.json` (the one there is) and `enhance_<profile>.json` of a benchmark folder."""
    videos = sorted(folder.glob("video_*.json"))
    if len(videos) != 1:
        raise InputError(f"{folder} holds {len(videos)} files video_*.json where one is expected.")
    path = folder / f"enhance_{profile}.json"
    if not path.is_file():
        known = ", ".join(file.stem.removeprefix("enhance_") for file in sorted(folder.glob("enhance_*.json")))
        raise InputError(f"{folder} has no profile {profile!r}; it has {known or 'none'}.")
    return enhanced_prices(load(videos[0], Movie), load(path, Enhance), path.name)


def classic_prices(segments: int = 48, segment_s: float = 4.0) -> PriceList:
    """Pensieve's six rates, constant bitrate, no enhancement; quality in points of QoE_lin (see PENSIEVE_POINT_BPS)."""
    rates = np.asarray(PENSIEVE_KBPS)
    movie = Movie(
        segment_duration_ms=segment_s * 1000,
        bitrates_kbps=list(PENSIEVE_KBPS),
        segment_sizes_bits=[(rates * 1000 * segment_s).tolist()] * segments,
    )
    vmaf = np.tile(rates * 1000 / PENSIEVE_POINT_BPS, (segments, 1))
    choices = [Choice(rendition=i) for i in range(len(rates))]
    return _prices(movie, [f"{r:g}k" for r in rates], choices, _sizes(movie, "") / 8, np.zeros_like(vmaf), vmaf)


def _prices(
    movie: Movie, names: list[str], choices: list[Choice], sizes: Floats, compute_s: Floats, vmaf: Floats
) -> PriceList:
    prices = PriceList(
        rendition_ids=tuple(names),
        choices=tuple(choices),
        duration_s=np.full(len(sizes), movie.segment_duration_ms / 1000),
        size_bytes=sizes,
        compute_s=compute_s,
        lead_s=compute_s,
        quality=vmaf,
        vmaf=vmaf,
        weights=((),) * len(choices),
        weights_bytes={},
    )
    prices.check()
    return prices


def _sizes(movie: Movie, name: str) -> Floats:
    shape = (len(movie.segment_sizes_bits), len(movie.bitrates_kbps))
    return _table(movie.segment_sizes_bits, shape, f"{name}: segment_sizes_bits")


def _table(rows: object, shape: tuple[int, ...], what: str) -> Floats:
    try:
        table = np.asarray(rows, dtype=np.float64)
    except ValueError:
        table = np.empty(0)
    if table.shape != shape:
        raise FormatError(f"{what} has shape {table.shape} (or rows of unequal length); expected {shape}.")
    return table


def _cell(rows: list[list[float]], row: int, column: int, name: str) -> float:
    try:
        return rows[row][column]
    except IndexError as error:
        raise FormatError(f"{name}: enhancement_fps has no entry for rate {row}, level {column}.") from error
