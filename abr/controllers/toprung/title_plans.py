"""The plans of a title for the common classes of device, made when it is prepared or trained.

Common is whoever runs every enhancer on offer, whoever runs none, and each step between: devices differ most in how
fast they are, and little in what they are fast at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from abr.controllers.toprung.backward_induction import compute_values
from abr.controllers.toprung.candidates import option_sets
from abr.controllers.toprung.compact_plans import CompactPlan, compress
from abr.controllers.toprung.device_classes import BUFFER_UNIT_S, DeviceClass, class_of, class_prices
from abr.controllers.toprung.grids import quality_nodes
from abr.controllers.toprung.plan_file import PLANS_FILE, ClassPlans, dumps_plans, plans_bytes
from abr.controllers.toprung.plan_library import NEAR_VMAF, WINDOW
from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import EnhancementTable
from abr.core.options import PriceList
from abr.core.pricing import price
from abr.core.title import Title
from abr.files import write_atomically

BYTES_SHARE = 0.005
"""The plans of a title take at most this share of its media's bytes."""
_AT_ONCE = 4 * WINDOW
"""Segments whose values are in memory at once."""
_LOAD, _LIGHT_LOAD = 0.89, 0.2
"""Of the heaviest enhancer that a device runs; and of all of them, on the fastest device."""


def plans_files(title: Title) -> dict[str, Title]:
    """By name of its file of plans, the title with one ladder alone: whoever watches is decided for within one."""
    name, ending = PLANS_FILE.split(".")
    first, *others = title.by_ladder
    return {PLANS_FILE: first} | {f"{name}-{each.renditions[0].sample_entry}.{ending}": each for each in others}


def plans_of(title: Title, table: EnhancementTable | None, bytes_share: float = BYTES_SHARE) -> bytes | None:
    """The content of a file of plans (abr.controllers.toprung.plan_file), of a title with one ladder.

    None for a title so short that the plans of one class would take more than `bytes_share` of it: a server makes them
    in no time.
    """
    tracks = [*(track.segment_bytes for track in title.renditions), *(track.segment_bytes for track in title.audio)]
    left_bytes = bytes_share * sum(map(sum, tracks))
    made: list[ClassPlans] = []
    for device, prices in _common_classes(title, table):
        if any(device.distance(other.device) <= NEAR_VMAF for other in made):
            continue
        plans = ClassPlans(device, list(_plan_title(prices, device.options)))
        left_bytes -= sum(map(plans_bytes, plans.plans))
        if left_bytes < 0:
            break
        made.append(plans)
    if not made:
        return None
    return dumps_plans(digest_of(title, table), len(title.segment_frames), WINDOW, BUFFER_UNIT_S, made)


def write_plans(folder: Path, title: Title, table: EnhancementTable | None) -> None:
    """Put the title's files of plans in place, or take old ones away. Raises StorageError, OSError."""
    for name, of_ladder in plans_files(title).items():
        data = plans_of(of_ladder, table)
        if data is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_atomically(folder / name, data)


def digest_of(title: Title, table: EnhancementTable | None) -> str:
    """Tells whether plans are those of this title with these enhancers."""
    return hashlib.blake2b(msgspec.msgpack.encode((title, table)), digest_size=16).hexdigest()


def _common_classes(title: Title, table: EnhancementTable | None) -> Iterator[tuple[DeviceClass, PriceList]]:
    """The ends first, then from the fastest down. Of each also without the weights that it would have to fetch."""
    profiles = [_device(title, table, speed) for speed in _speeds(title, table)] if table else []
    for profile in [*profiles[:1], None, *profiles[1:]]:
        prices = price(title, table, profile)
        for options in option_sets(prices, prices.menu(0, 1).weights_bytes):
            yield class_of(prices, options), prices


def _speeds(title: Title, table: EnhancementTable) -> list[float]:
    """Multiply-accumulates a second of devices that run all offers easily, all just so, all but one, and so on."""
    costs = {offer.macs_per_output_px for entry in table.enhancers for offer in entry.offers}
    a_second = sorted((cost * _output_px(title) * title.fps for cost in costs if cost > 0), reverse=True)
    return [a_second[0] / _LIGHT_LOAD, *(cost / _LOAD for cost in a_second)] if a_second else []


def _device(title: Title, table: EnhancementTable, macs_per_s: float) -> DeviceProfile:
    """A device of that speed, whatever it runs."""
    sizes = {rendition.id: (rendition.width_px, rendition.height_px) for rendition in title.renditions}
    measured = {
        (offer.architecture, *sizes[offer.rendition]): offer.macs_per_output_px * _output_px(title) / macs_per_s * 1e3
        for entry in table.enhancers
        for offer in entry.offers
        if offer.rendition in sizes and offer.macs_per_output_px > 0
    }
    return DeviceProfile(
        device=Device(name="common", processor="common", cores=1, memory_bytes=0),
        measurements=tuple(
            Measurement(
                architecture=architecture,
                width_px=width_px,
                height_px=height_px,
                backend="common",
                threads=1,
                p50_ms=time_ms,
                p95_ms=time_ms,
            )
            for (architecture, width_px, height_px), time_ms in measured.items()
        ),
    )


def _output_px(title: Title) -> int:
    return title.display_width_px * title.display_height_px


def _plan_title(prices: PriceList, options: tuple[int, ...]) -> Iterator[CompactPlan]:
    planned, count = class_prices(prices, options), len(prices.duration_s)
    qualities = quality_nodes(planned)
    for start in range(0, count, _AT_ONCE):
        segments = range(start, min(start + _AT_ONCE, count))
        table = compute_values(planned, segments, BUFFER_UNIT_S, qualities)
        for first in range(start, segments.stop, WINDOW):
            yield compress(table, range(first, min(first + WINDOW, segments.stop)))
