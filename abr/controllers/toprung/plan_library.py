"""The plans that a server holds: of many titles and classes of device, the least recently used out first, by bytes.

A decision takes the plan of its device's class, or that of the nearest class that is there. Nobody waits for a plan.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import NamedTuple
from weakref import WeakKeyDictionary

from abr.controllers.toprung.backward_induction import compute_values
from abr.controllers.toprung.candidates import option_sets
from abr.controllers.toprung.compact_plans import CompactPlan, compress
from abr.controllers.toprung.device_classes import DeviceClass, buffer_class_s, class_of, class_prices
from abr.controllers.toprung.grids import quality_nodes
from abr.controllers.toprung.plan_file import PlanFile
from abr.core.arrays import Floats
from abr.core.options import PriceList

WINDOW = 40
"""Segments of one plan."""
BYTES_MAX = 96 << 20
"""Memory for the plans of all titles."""
NEAR_VMAF = 0.3
"""A plan of a class this near serves as well as one's own (docs/BENCHMARKS.md)."""
FILES_MAX = 4096
"""Files of plans that are known, the longest unused forgotten first."""
FOUND_MAX = 64
"""Of one price list: windows, times the sets of weights that sessions lack."""
PlanMaker = Callable[[PriceList, tuple[int, ...], int, float], CompactPlan]
"""Of a title's prices, options, the index of a window and a buffer in seconds."""


class Place(NamedTuple):
    """Where in which title a plan is of use: title as in DeviceClass, index of the window, buffer in seconds."""

    title: bytes
    window: int
    buffer_max_s: float


class FoundPlan(NamedTuple):
    """distance: between its class and the one looked for, VMAF; 0 for one's own."""

    plan: CompactPlan
    distance: float


class FoundPlans(NamedTuple):
    """One for each of `candidates.option_sets`, and the largest of their distances."""

    plans: tuple[CompactPlan, ...]
    distance: float


class PlanLibrary:
    """Plans by place and class. May be used by several threads."""

    def __init__(self, bytes_max: int = BYTES_MAX, make: PlanMaker | None = None) -> None:
        """make: makes a plan as `make_plan` does, which is the default, perhaps in another process."""
        self._bytes_max = bytes_max
        self._make = make or make_plan
        self._plans: OrderedDict[tuple[Place, bytes], CompactPlan] = OrderedDict()
        self._classes: dict[Place, dict[bytes, DeviceClass]] = {}
        self._files: OrderedDict[bytes, PlanFile] = OrderedDict()
        self._nearest: dict[Place, dict[bytes, tuple[float, bytes]]] = {}
        """Where a class is looked for that is not there: how far the nearest one is, and which; until that changes."""
        self._found: WeakKeyDictionary[PriceList, dict[tuple[int, bytes, float], FoundPlans | None]] = (
            WeakKeyDictionary()
        )
        """What `find_all` found, until any plan comes or goes: nearly all decisions ask for the same again."""
        self._lock = Lock()
        self.memory_bytes = 0
        """Of all plans."""

    def find(self, place: Place, device: DeviceClass) -> FoundPlan | None:
        """The plan of a device's class at a place, else of the nearest class there; None when there is none at all."""
        with self._lock:
            return self._find(place, device)

    def _find(self, place: Place, device: DeviceClass) -> FoundPlan | None:
        plan = self._plans.get((place, device.key))
        if plan is not None:
            self._plans.move_to_end((place, device.key))
            return FoundPlan(plan, 0.0)
        others = self._classes.get(place)
        if not others:
            return None
        near = self._nearest.setdefault(place, {})
        if device.key not in near:
            near[device.key] = _nearest(device, others)
        distance, key = near[device.key]
        self._plans.move_to_end((place, key))
        return FoundPlan(self._plans[place, key], distance)

    def offer(self, file: PlanFile) -> None:
        """Take plans of a title from its file from now on, in place of making them."""
        with self._lock:
            self._files[bytes.fromhex(file.header.title)] = file
            if len(self._files) > FILES_MAX:
                self._files.popitem(last=False)

    def find_all(
        self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float
    ) -> FoundPlans | None:
        """A plan for each of `candidates.option_sets`; None when one of them has none."""
        prices = prices.planned or prices
        with self._lock:
            known = self._found.get(prices)
            if known is None:
                known = self._found[prices] = {}
            key = segment // WINDOW, weights_bytes.tobytes(), buffer_class_s(buffer_max_s)
            if key not in known:
                if len(known) >= FOUND_MAX:
                    known.clear()
                known[key] = self._find_all(prices, weights_bytes, key[0], key[2])
            return known[key]

    def _find_all(
        self, prices: PriceList, weights_bytes: Floats, window: int, buffer_max_s: float
    ) -> FoundPlans | None:
        plans: list[CompactPlan] = []
        distance = 0.0
        for options in option_sets(prices, weights_bytes):
            device = class_of(prices, options)
            found = self._find(Place(device.title, window, buffer_max_s), device)
            if found is None:
                return None
            plans.append(found.plan)
            distance = max(distance, found.distance)
        return FoundPlans(tuple(plans), distance)

    def add(self, place: Place, device: DeviceClass, plan: CompactPlan) -> None:
        """Keep a plan; those unused for longest go when there are too many bytes of them."""
        with self._lock:
            if (place, device.key) in self._plans:
                return
            self._keep(place, device, plan)

    def _keep(self, place: Place, device: DeviceClass, plan: CompactPlan) -> None:
        self._found.clear()
        self._plans[place, device.key] = plan
        self._classes.setdefault(place, {})[device.key] = device
        self._nearest.pop(place, None)
        self.memory_bytes += plan.memory_bytes
        while self.memory_bytes > self._bytes_max and len(self._plans) > 1:
            (old, key), gone = self._plans.popitem(last=False)
            self.memory_bytes -= gone.memory_bytes
            self._nearest.pop(old, None)
            del self._classes[old][key]
            if not self._classes[old]:
                del self._classes[old]

    def is_planned(self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float) -> bool:
        """Whether what is there serves a device as well as its own plans would."""
        found = self.find_all(prices, segment, weights_bytes, buffer_max_s)
        return found is not None and found.distance <= NEAR_VMAF

    def plan(
        self, prices: PriceList, segment: int, weights_bytes: Floats, buffer_max_s: float, *, only_read: bool = False
    ) -> None:
        """Make the plans that `is_planned` found missing, or read them. One takes 3 ms a segment and 16 options.

        only_read: leave it at those that a file has.
        """
        buffer_s, prices = buffer_class_s(buffer_max_s), prices.planned or prices
        for options in option_sets(prices, weights_bytes):
            device = class_of(prices, options)
            place = Place(device.title, segment // WINDOW, buffer_s)
            found = self.find(place, device)
            if found is not None and found.distance <= NEAR_VMAF:
                continue
            if not self._read(place, device) and not only_read:
                self.add(place, device, self._make(prices, options, place.window, buffer_s))

    def _read(self, place: Place, device: DeviceClass) -> bool:
        """Whether the title's file had a plan as good as one's own, which is now here."""
        with self._lock:
            file = self._files.get(place.title)
            if file is None or (file.header.window, file.header.buffer_max_s) != (WINDOW, place.buffer_max_s):
                return False
            self._files.move_to_end(place.title)
        distance, key = _nearest(device, file.classes)
        plan = file.plan(key, place.window) if distance <= NEAR_VMAF or not self._classes.get(place) else None
        if plan is not None:
            self.add(place, file.classes[key], plan)
        return plan is not None and distance <= NEAR_VMAF


def _nearest(device: DeviceClass, others: Mapping[bytes, DeviceClass]) -> tuple[float, bytes]:
    """How far the nearest class is, and which. One's own is nearer than any that looks the same."""
    return min(
        (0.0 if key == device.key else device.distance(other), key != device.key, key) for key, other in others.items()
    )[::2]


def make_plan(prices: PriceList, options: tuple[int, ...], window: int, buffer_max_s: float) -> CompactPlan:
    """The plan of the class of these options."""
    planned = class_prices(prices, options)
    segments = range(window * WINDOW, min((window + 1) * WINDOW, len(prices.duration_s)))
    return compress(compute_values(planned, segments, buffer_max_s, quality_nodes(planned)), segments)
