"""The value tables of titles, computed when first asked for and then remembered. Decisions cost a lookup in them.

Long titles are computed in windows, each looking beyond its last segment by more than a buffer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from abr.controllers.toprung.backward_induction import ValueTable, compute_values
from abr.core.options import PriceList, known_cells

WINDOW = 20
"""Segments of one table."""
TABLES_MAX = 24
"""Tables kept in memory, least recently used first out."""
HOLE_VMAF = -1e4
"""Quality of an option that a segment does not have: so bad that no table counts on it."""

_Key = tuple[bytes, tuple[int, ...], int, float]
_tables: OrderedDict[_Key, ValueTable] = OrderedDict()
_digests: WeakKeyDictionary[PriceList, bytes] = WeakKeyDictionary()
_lock = Lock()


def value_table_of(prices: PriceList, options: tuple[int, ...], segment: int, buffer_max_s: float) -> ValueTable:
    """The table of the window around `segment` for these options of the list; computed at first use, then remembered.

    Lists with the same content share their tables. One takes 2 to 3 ms for each segment and 16 options.
    """
    key = _key(prices, options, segment, buffer_max_s)
    with _lock:
        table = _tables.get(key)
        if table is not None:
            _tables.move_to_end(key)
            return table
    window = range(key[2], key[2] + WINDOW)
    table = compute_values(fill_holes(prices, list(options)), window, buffer_max_s)
    with _lock:
        _tables[key] = table
        while len(_tables) > TABLES_MAX:
            _tables.popitem(last=False)
    return table


def has_value_table(prices: PriceList, options: tuple[int, ...], segment: int, buffer_max_s: float) -> bool:
    """Whether `value_table_of` would answer at once."""
    return _key(prices, options, segment, buffer_max_s) in _tables


def _key(prices: PriceList, options: tuple[int, ...], segment: int, buffer_max_s: float) -> _Key:
    return _digest(prices), options, segment - segment % WINDOW, buffer_max_s


def _digest(prices: PriceList) -> bytes:
    digest = _digests.get(prices)
    if digest is None:
        tables = (prices.duration_s, prices.size_bytes, prices.compute_s, prices.lead_s, prices.quality)
        whole = hashlib.blake2b(repr(prices.choices).encode(), digest_size=16)
        for table in tables:
            whole.update(np.ascontiguousarray(table).tobytes())
        digest = _digests[prices] = whole.digest()
    return digest


def fill_holes(prices: PriceList, options: list[int]) -> PriceList:
    """The list cut down to some options, its holes filled with plain options so bad that nobody chooses them."""
    size, quality = prices.size_bytes[:, options], prices.quality[:, options]
    compute_s, lead_s = prices.compute_s[:, options], prices.lead_s[:, options]
    hole = ~known_cells(size, quality, compute_s, lead_s)
    usual = np.nanmax(np.where(hole, np.nan, size), axis=1, keepdims=True, initial=1.0)
    return PriceList(
        rendition_ids=prices.rendition_ids,
        choices=tuple(prices.choices[i] for i in options),
        duration_s=prices.duration_s,
        size_bytes=np.where(hole, usual, size),
        compute_s=np.where(hole, 0.0, compute_s),
        lead_s=np.where(hole, 0.0, lead_s),
        quality=np.where(hole, HOLE_VMAF, quality),
        vmaf=prices.vmaf[:, options],
        weights=((),) * len(options),
        weights_bytes={},
    )
