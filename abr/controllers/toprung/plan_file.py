"""Plans as a file of a title, which all processes that serve the title read what they need from.

Layout: MAGIC; the header's length, 4 bytes, little-endian; the header, JSON; from a multiple of ALIGNMENT on, one block
for each class and window. A block holds a scale for each array, float32, and the arrays themselves, float16, divided
by it: 11 bits of each number are more than the values are known to.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import SEEK_END
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from abr.controllers.toprung.compact_plans import AFTER_RANK, MEAN_RANK, NETWORK_RANK, TIME_RANK, CompactPlan
from abr.controllers.toprung.device_classes import DeviceClass
from abr.controllers.toprung.grids import BACKLOGS_S, MEANS, SPREADS
from abr.core.arrays import Singles
from abr.errors import FormatError, StorageError
from abr.records import Record, loads

MAGIC = b"toprung plans 1\n"
ALIGNMENT = 64
HEADER_BYTES_MAX = 1 << 22
PLANS_FILE = "plans.bin"
_ARRAYS = 5

Numbers = Annotated[tuple[float, ...], Meta(min_length=2, max_length=1024)]
Hex = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]


class StoredClass(Record, frozen=True):
    """A class of device: see DeviceClass and CompactPlan."""

    key: Hex
    frontier: Numbers
    qualities: Numbers


class PlanHeader(Record, frozen=True):
    """What all plans of a file share. made_from: digest of the files that they were made from."""

    made_from: str
    title: Hex
    segments: Annotated[int, Meta(gt=0, le=1_000_000)]
    window: Annotated[int, Meta(gt=0, le=10_000)]
    buffer_max_s: float
    levels: Numbers
    buffers_s: Numbers
    classes: Annotated[tuple[StoredClass, ...], Meta(max_length=256)]


class ClassPlans(NamedTuple):
    """The plans of one class, one for each window of the title."""

    device: DeviceClass
    plans: Sequence[CompactPlan]


class PlanFile:
    """The plans of one title. Each is read from the file when it is asked for; the file is not kept open."""

    def __init__(self, path: Path) -> None:
        """Raises FormatError when the file holds no plans, or not all of them; StorageError when it cannot be read."""
        self._path = path
        start = len(MAGIC) + 4
        head, size_bytes = self._read(0, start)
        length = int.from_bytes(head[len(MAGIC) :], "little")
        if not head.startswith(MAGIC) or length > HEADER_BYTES_MAX:
            raise FormatError(f"{path} holds no plans of this version.")
        self._head = self._read(0, start + length)[0]
        self.header = loads(self._head[start:], PlanHeader, what=str(path))
        self._start = _aligned(start + length)
        self.classes = {
            bytes.fromhex(stored.key): DeviceClass(
                title=bytes.fromhex(self.header.title),
                key=bytes.fromhex(stored.key),
                options=(),
                frontier=np.array(stored.frontier),
            )
            for stored in self.header.classes
        }
        self._windows = -(-self.header.segments // self.header.window)
        self._sizes = [_block_bytes(self._shapes(number, window)) for number, window in self._blocks()]
        if size_bytes < self._start + sum(self._sizes):
            raise FormatError(f"{path}: plans of {size_bytes} bytes where {self._start + sum(self._sizes)} belong.")
        self._offsets = self._start + np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)

    def plan(self, key: bytes, window: int) -> CompactPlan | None:
        """The plan of one of `classes` for a window of segments; None when there is none.

        That is beyond the title's end, and when another file has taken this one's place.
        """
        if not 0 <= window < self._windows or self._read(0, len(self._head))[0] != self._head:
            return None
        header, number = self.header, list(self.classes).index(key)
        block = number * self._windows + window
        data, _ = self._read(int(self._offsets[block]), self._sizes[block])
        if len(data) < self._sizes[block]:
            return None
        network, after, core, times, mean_times = _read_arrays(data, self._shapes(number, window))
        return CompactPlan(
            first=window * header.window,
            levels=np.array(header.levels),
            qualities=np.array(header.classes[number].qualities),
            buffers_s=np.array(header.buffers_s),
            network=network,
            after=np.concatenate([after, np.ones((1, after.shape[1]), np.float32)]),
            core=core,
            times=times,
            mean_times=mean_times,
        )

    def _read(self, offset: int, size_bytes: int) -> tuple[bytes, int]:
        """So many bytes, fewer at the end; and how long the file is."""
        try:
            with self._path.open("rb") as file:
                length = file.seek(0, SEEK_END)
                file.seek(offset)
                return file.read(size_bytes), length
        except OSError as error:
            raise StorageError(f"Cannot read the plans {self._path}: {error.strerror}.") from error

    def _blocks(self) -> list[tuple[int, int]]:
        return [(number, window) for number in range(len(self.header.classes)) for window in range(self._windows)]

    def _shapes(self, number: int, window: int) -> list[tuple[int, int]]:
        header = self.header
        segments = min(header.window, header.segments - window * header.window)
        states = len(SPREADS) * len(header.levels) * len(MEANS)
        after = len(header.classes[number].qualities) * len(header.buffers_s) * len(BACKLOGS_S)
        network_rank, after_rank = min(NETWORK_RANK, states), min(AFTER_RANK, after)
        time_rank, mean_rank = min(TIME_RANK, segments), min(MEAN_RANK, states)
        return [
            (states, network_rank + mean_rank),
            (after_rank, after),
            (time_rank, network_rank * after_rank),
            (segments, time_rank),
            (segments, mean_rank),
        ]


def dumps_plans(
    made_from: str, segments: int, window: int, buffer_max_s: float, all_plans: Sequence[ClassPlans]
) -> bytes:
    """The file of at least one class. The inverse of PlanFile, to float16."""
    first = all_plans[0].plans[0]
    header = PlanHeader(
        made_from=made_from,
        title=all_plans[0].device.title.hex(),
        segments=segments,
        window=window,
        buffer_max_s=buffer_max_s,
        levels=tuple(first.levels.tolist()),
        buffers_s=tuple(first.buffers_s.tolist()),
        classes=tuple(
            StoredClass(
                key=device.key.hex(),
                frontier=tuple(device.frontier.tolist()),
                qualities=tuple(plans[0].qualities.tolist()),
            )
            for device, plans in all_plans
        ),
    )
    head = msgspec.json.encode(header)
    start = MAGIC + len(head).to_bytes(4, "little") + head
    blocks = b"".join(_block(plan) for _, plans in all_plans for plan in plans)
    return start.ljust(_aligned(len(start)), b"\0") + blocks


def plans_bytes(plan: CompactPlan) -> int:
    """What a plan takes in a file."""
    return len(_block(plan))


def _block(plan: CompactPlan) -> bytes:
    arrays = (plan.network, plan.after[:-1], plan.core, plan.times, plan.mean_times)
    scales = [max(float(np.abs(array).max()), 1e-12) for array in arrays]
    packed = [(array / scale).astype("<f2").tobytes() for array, scale in zip(arrays, scales, strict=True)]
    return _padded(np.array(scales, "<f4").tobytes() + b"".join(packed))


def _read_arrays(data: bytes, shapes: Sequence[tuple[int, int]]) -> list[Singles]:
    found: list[Singles] = []
    scales, offset = np.frombuffer(data, "<f4", _ARRAYS), 4 * _ARRAYS
    for shape, scale in zip(shapes, scales, strict=True):
        count = shape[0] * shape[1]
        array = np.frombuffer(data, "<f2", count, offset).astype(np.float32).reshape(shape)
        found.append(array * scale)
        offset += 2 * count
    return found


def _block_bytes(shapes: Sequence[tuple[int, int]]) -> int:
    return _aligned(4 * _ARRAYS + 2 * sum(rows * columns for rows, columns in shapes))


def _padded(data: bytes) -> bytes:
    return data.ljust(_aligned(len(data)), b"\0")


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
