"""A live title as decisions see it: known segments, then forecast ones, priced for a device.

A price list of a prepared title has a row for each of its segments. A stream has no end and gets a new segment each
second or two, so its lists are cut around the one segment that is asked for: row 0 is the segment before it, row 1
itself, and from the live edge on every row is the forecast. Their last row is no end of anything: the stream goes on.

Plans take longer to make than a segment lasts. So they are made of another list (`PriceList.planned`), all of whose
rows are one usual segment, and which stays the same while forecasts stay near it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from abr.core.arrays import Floats
from abr.core.live.tables import LiveTables
from abr.core.options import PriceList
from abr.core.title import Title
from abr.records import dumps
from server.live_titles.forecast import forecast_sizes

ROWS = 40
"""Of a list: as many as one plan looks ahead (abr.controllers.toprung.plan_library.WINDOW)."""
ASKED = 1
"""The row of the segment that is asked for."""
STEADY = 0.15
"""Plans are made anew when the forecast of a rung has moved by more than this share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """A live title at one moment. sizes: (S, R) bytes of the stored segments, sound included; forecast: (R,).

    NaN is a hole: a rung that was not made in a segment, or is not made now. Nobody is offered it there.

    planned: (R,) the sizes that plans are made of. quality_key: differs when the quality of usual segments does.
    """

    tables: LiveTables
    sizes: Floats
    forecast: Floats
    planned: Floats
    quality_key: bytes

    def bytes_around(self, segment: int) -> Floats:
        """(ROWS, R) bytes, from the segment before `segment` on; fewer rows where the stream has ended."""
        first, tables = segment - ASKED, self.tables
        rows = ROWS if tables.state == "running" else min(ROWS, tables.end - first)
        table = np.tile(self.forecast, (rows, 1))
        begin, end = max(first, tables.first_stored), min(first + rows, tables.end)
        table[begin - first : end - first] = self.sizes[begin - tables.first_stored : end - tables.first_stored]
        if segment >= tables.end:
            table[ASKED, self._not_made(segment)] = np.nan
        return table

    def _not_made(self, segment: int) -> list[int]:
        """Columns of the rungs that the segment is made without, although they may be made again by now."""
        without = self.tables.timeline.span_of(segment).without
        return [column for column, each in enumerate(self.tables.typical.renditions) if each.id in without]

    def durations_around(self, segment: int, rows: int) -> Floats:
        """(rows,) seconds of the same."""
        first = segment - ASKED
        return np.array([self.tables.duration_s(first + row) for row in range(rows)])


def outlook_of(tables: LiveTables, before: Outlook | None = None) -> Outlook:
    """before: the same title a moment ago."""
    typical = tables.typical
    sizes = np.array([tables.sizes[rendition.id] for rendition in typical.renditions], dtype=np.float64).T
    sizes[sizes == 0] = np.nan
    if tables.sound_sizes:
        sizes += np.array(tables.sound_sizes, dtype=np.float64)[:, None]
    is_shed = np.array([rendition.id in tables.shed for rendition in typical.renditions])
    forecast = np.where(is_shed, np.nan, forecast_sizes(sizes))
    quality_key = dumps([typical.plain_quality, tables.enhancements])
    planned = forecast
    if before is not None and before.quality_key == quality_key and before.planned.shape == forecast.shape:
        quality_key = before.quality_key
        planned = before.planned if _is_near(forecast, before.planned) else forecast
    return Outlook(tables=tables, sizes=sizes, forecast=forecast, planned=planned, quality_key=quality_key)


def _is_near(sizes: Floats, before: Floats) -> bool:
    """Both have the same holes, and otherwise nearly the same."""
    is_hole = np.isnan(sizes)
    near = np.abs(sizes / before - 1) <= STEADY
    return bool((is_hole == np.isnan(before)).all() and (near | is_hole).all())


def planned_list(typical: PriceList, planned: Floats) -> PriceList:
    """What plans are made of. typical: the price list of a usual segment, one row."""
    return _stretched(typical, np.broadcast_to(planned, (ROWS, len(planned))), np.full(ROWS, typical.duration_s[0]))


def list_around(outlook: Outlook, segment: int, typical: PriceList, planned: PriceList) -> PriceList:
    """The price list that `segment` is decided by."""
    sizes = outlook.bytes_around(segment)
    return replace(_stretched(typical, sizes, outlook.durations_around(segment, len(sizes))), planned=planned)


def title_around(outlook: Outlook, segment: int) -> Title:
    """The title of the first two rows of the same: what logs and reports say of a segment's bytes is the video's."""
    tables, rows = outlook.tables, range(segment - ASKED, segment + 1)
    typical = tables.typical
    renditions = tuple(
        msgspec.structs.replace(
            rendition,
            segment_bytes=tuple(
                tables.sizes[rendition.id][row - tables.first_stored]
                if tables.first_stored <= row < tables.end and tables.sizes[rendition.id][row - tables.first_stored]
                else rendition.segment_bytes[0]
                for row in rows
            ),
        )
        for rendition in typical.renditions
    )
    return msgspec.structs.replace(
        typical,
        renditions=renditions,
        segment_duration_s=tuple(tables.duration_s(row) for row in rows),
        segment_frames=tuple(tables.frames(row) for row in rows),
    )


def _stretched(typical: PriceList, sizes: Floats, duration_s: Floats) -> PriceList:
    rows, columns = len(sizes), [choice.rendition for choice in typical.choices]

    def same(table: Floats) -> Floats:
        return np.broadcast_to(table[0], (rows, len(columns)))

    return replace(
        typical,
        duration_s=duration_s,
        size_bytes=sizes[:, columns],
        compute_s=same(typical.compute_s),
        lead_s=same(typical.lead_s),
        quality=same(typical.quality),
        vmaf=same(typical.vmaf),
    )
