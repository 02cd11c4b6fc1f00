"""A source from connection to connection: each is a span, brought to the size and the rate that the first one had."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import msgspec

from abr.errors import MediaError
from abr.media.display_filters import PIXEL_FORMAT, Filters, display_filters
from abr.media.probe import SourceInfo
from abr.media.source_frames import fitting_filters
from server.live.source.early_sound import drop_oldest
from server.live.source.footage import PICTURES_LOOKED_AT, footage_of
from server.live.source.opening import Opened
from server.live.source.reader import STOPPED, Arrived, LiveSource

LOOK_AHEAD_S = 2.0
"""When so much sound has come after the first picture, a span begins with the pictures that there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a connection has sent up to the last of the pictures that are looked at first: one at least."""

    opened: Opened
    ahead: deque[Arrived]

    def footage(self, shown: str) -> SourceInfo:
        """Raises MediaError for pictures that are too small or too large."""
        import av

        pictures = [each.frame for each in self.ahead if isinstance(each.frame, av.VideoFrame)]
        return footage_of(self.opened, pictures, shown)

    @property
    def first_picture_s(self) -> float:
        """When it came, by the monotonic clock."""
        return next(each.arrived_s for each in self.ahead if each.is_picture)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpan:
    """What comes of one connection. filters: from its coded pictures to those of the stream."""

    footage: SourceInfo
    filters: Filters
    first_picture_s: float
    arrivals: Iterator[Arrived]


def begin(source: LiveSource) -> Beginning:
    """Wait for the source. Raises MediaError when it cannot be one, or ends before a picture came.

    Raises KeyboardInterrupt when it is stopped before: nothing has begun that could be completed.
    """
    opened = source.opened()
    ahead = _look_ahead(source) if opened is not None else deque()
    if source.ended_by == STOPPED and not ahead:
        raise KeyboardInterrupt
    if opened is None or not ahead:
        why = source.ended_by if "picture" in source.ended_by else f"{source.ended_by} before a picture came"
        raise MediaError(f"{source.address.shown} {why}; see that it sends video.")
    return Beginning(opened=opened, ahead=ahead)


def _look_ahead(source: LiveSource) -> deque[Arrived]:
    """Nothing when no picture came."""
    ahead: deque[Arrived] = deque()
    pictures, heard_s = 0, 0.0
    for arrived in source.frames():
        ahead.append(arrived)
        pictures += arrived.is_picture
        if not pictures:
            drop_oldest(ahead)
            continue
        heard_s += arrived.sound_s
        if pictures == PICTURES_LOOKED_AT or heard_s > LOOK_AHEAD_S:
            break
    return ahead if pictures else deque()


def spans_of(
    source: LiveSource, beginning: Beginning, footage: SourceInfo, tell: Callable[[str], None]
) -> Iterator[SourceSpan]:
    """Each span when its first pictures have come. footage: of the first one."""
    yield _span(source, beginning, footage, footage)
    while not source.ended_by:
        tell(f"its source has gone; what comes back within {source.address.return_s:g} s goes on as the same stream.")
        if (again := _next_span(source, footage, tell)) is not None:
            tell("its source is back.")
            yield again


def _next_span(source: LiveSource, footage: SourceInfo, tell: Callable[[str], None]) -> SourceSpan | None:
    """None when the source has ended."""
    while not source.ended_by:
        opened = source.opened()
        if opened is None or not (ahead := _look_ahead(source)):
            continue
        beginning = Beginning(opened=opened, ahead=ahead)
        try:
            return _span(source, beginning, beginning.footage(source.address.shown), footage)
        except MediaError as error:
            tell(f"what came back is left aside: {error}")
            deque(source.frames(), maxlen=0)
    return None


def _span(source: LiveSource, beginning: Beginning, own: SourceInfo, stream: SourceInfo) -> SourceSpan:
    own_px, size_px = ((each.display_width_px, each.display_height_px) for each in (own, stream))
    filters = list(display_filters(own))
    if fitting := fitting_filters(own_px, size_px):
        filters += [*fitting, ("format", PIXEL_FORMAT)]
    return SourceSpan(
        footage=msgspec.structs.replace(own, frame_rate=stream.frame_rate),
        filters=filters,
        first_picture_s=beginning.first_picture_s,
        arrivals=chain(beginning.ahead, source.frames()),
    )
