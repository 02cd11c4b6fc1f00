"""The source as its viewer sees it: upright, display size, 8-bit yuv420p, BT.709 limited range, on an exact grid.

Frame n is shown from n / rate on. Every rung is scaled from these frames. Training, pricing and the player's measure of
the quality seen compare with them too: `display_frames` while the title is made, `reference_frames` once it is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from abr.core.title import LIFTED_FILE, Title
from abr.errors import MediaError
from abr.media.display_filters import PIXEL_FORMAT, Filters, apply_filters, check_filters, display_filters
from abr.media.probe import SourceInfo, open_source, probe
from abr.media.survey import decode_packet
from abr.media.timeline import each_with_shift

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

T = TypeVar("T")

_LONGEST_STILL_S = 600
_DAMAGED_SHARE_MAX = 0.1
_SLACK_PX = 2
"""A shape that is off by so little is stretched: it comes of rounding to even sizes."""


def display_frames(
    path: Path, footage: SourceInfo, *, from_s: float = 0.0, filters: Filters | None = None
) -> Iterator[VideoFrame]:
    """Decode the source from `from_s` on; frame pts are grid indices counted from there, time base 1/rate.

    filters: those of `footage` unless given. Every frame yielded is an object of its own. Raises MediaError when the
    source turns out damaged.
    """
    filters = display_filters(footage) if filters is None else filters
    origin_s = Fraction(footage.start_s + from_s).limit_denominator(1_000_000)
    pictures = _decode_from(path, footage, origin_s) if from_s > 0 else _decode_all(path, footage)
    cells_min = round((footage.duration_s - from_s) * footage.rate)
    yield from shown_frames(pictures, footage, filters, origin_s, cells_min)


def shown_frames(
    pictures: Iterable[VideoFrame], footage: SourceInfo, filters: Filters, origin_s: Fraction, cells_min: int = 1
) -> Iterator[VideoFrame]:
    """Decoded pictures as a viewer sees them, on the grid that begins at `origin_s`; as `display_frames` gives them."""
    coded = _reformat(pictures, footage)
    upright = apply_filters(coded, filters) if filters else coded
    timed = ((_time_s(frame), frame) for frame in upright)
    last: VideoFrame | None = None
    for index, frame in enumerate(on_grid(timed, footage.rate, origin_s, cells_min)):
        shown = _copy(frame) if frame is last else frame
        last = frame
        shown.pts, shown.time_base = index, 1 / footage.rate
        shown.pict_type = 0  # the source's own picture type would bind the encoder
        yield shown


def reference_frames(path: Path, title: Title) -> Iterator[VideoFrame]:
    """The frames that `title` was encoded from, as many as it has: what its pictures are compared with.

    A source that is up to a second shorter than the title ends with its last frame repeated. A file that the title was
    not prepared from is brought to the title's size and rate. Raises MediaError for one that is shorter or damaged, and
    for the source of a title that was lifted above it.
    """
    display_px = title.display_width_px, title.display_height_px
    came = probe(path, accept_short=True)
    if title.source.lifted and (came.coded_width_px, came.coded_height_px) == _coded_px(title):
        raise MediaError(
            f"{title.id} is shown larger than its source {path.name}: compare with {LIFTED_FILE} in the title's folder."
        )
    footage = msgspec.structs.replace(
        came,
        frame_rate=title.frame_rate,
        display_width_px=display_px[0],
        display_height_px=display_px[1],
    )
    wanted = sum(title.segment_frames)
    count = 0
    last: VideoFrame | None = None
    for frame in islice(display_frames(path, footage, filters=_filters_of(title, footage)), wanted):
        if (frame.width, frame.height) != display_px:
            raise MediaError(
                f"The filters of {title.id} make pictures of {frame.width}x{frame.height}, not of its size."
            )
        yield frame
        count, last = count + 1, frame
    if last is None or count < wanted - footage.rate:
        raise MediaError(f"{path} ends after {count} frames; the title has {wanted}.")
    yield from repeat(last, wanted - count)


def _coded_px(title: Title) -> tuple[int, int]:
    return title.source.width_px, title.source.height_px


def _filters_of(title: Title, footage: SourceInfo) -> Filters:
    """What prepare did to pictures like these; what `footage` needs itself where the title says nothing of them."""
    coded_px = footage.coded_width_px, footage.coded_height_px
    if not title.source.filters or coded_px != _coded_px(title):
        return display_filters(footage)
    check_filters(title.source.filters)
    return [*title.source.filters, ("format", PIXEL_FORMAT)]


def on_grid(
    timed: Iterable[tuple[Fraction | None, T]], rate: Fraction, origin_s: Fraction, cells_min: int = 1
) -> Iterator[T]:
    """Put frames on the grid n / rate: what to show in each cell, from 0 on.

    A cell shows the last frame that began in it or before it: late frames repeat the one before, crowded ones are
    dropped. Frames before the origin only serve cell 0. A frame without a time follows the one before it. The last
    frame stays until `cells_min` cells are filled. Raises MediaError when timestamps jump absurdly far.
    """
    held: T | None = None
    begin = index = 0
    for time_s, frame in timed:
        cell = begin + 1 if time_s is None else math.floor((time_s - origin_s) * rate + Fraction(1, 2))
        if cell - index > _LONGEST_STILL_S * rate:
            raise MediaError(f"The timestamps of the source jump by more than {_LONGEST_STILL_S} s; repair them first.")
        while held is not None and index < cell:
            yield held
            index += 1
        held, begin = frame, max(cell, begin)
    if held is not None:
        yield from repeat(held, max(1, cells_min - index))


def _time_s(frame: VideoFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _copy(frame: VideoFrame) -> VideoFrame:
    import av

    return av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)


def _decode_all(path: Path, footage: SourceInfo) -> Iterator[VideoFrame]:
    """Decoded pictures in display order, at their mended times.

    A few damaged packets are passed over, the picture before them stays.
    """
    for frame, shift_s in each_with_shift(_decode_whole(path, footage), footage.picture_shifts):
        if shift_s and frame.pts is not None and frame.time_base:
            frame.pts += round(shift_s / frame.time_base)
        yield frame


def _decode_whole(path: Path, footage: SourceInfo) -> Iterator[VideoFrame]:
    good = bad = 0
    with open_source(path) as container:
        for frames in _decode(container, footage):
            good, bad = good + len(frames or ()), bad + (frames is None)
            yield from frames or ()
    if good == 0 or bad > _DAMAGED_SHARE_MAX * (good + bad):
        raise MediaError(f"{bad} of {good + bad} pictures of {path.name} are damaged; give a whole file.")


def _decode_from(path: Path, footage: SourceInfo, origin_s: Fraction) -> Iterator[VideoFrame]:
    """Decoded pictures from the last one at `origin_s` or before it on.

    All is decoded from the start where a seek finds nothing that can be decoded, as in formats without an index, or
    goes by timestamps that had to be mended.
    """
    if footage.picture_shifts:
        yield from _from(_decode_all(path, footage), origin_s)
        return
    with open_source(path) as container:
        found = _from(_decode_after_seek(container, footage, origin_s), origin_s)
        first = next(found, None)
        if first is not None and (_time_s(first) or origin_s) <= origin_s:
            yield first
            yield from found
            return
    yield from _from(_decode_all(path, footage), origin_s)


def _decode_after_seek(container: InputContainer, footage: SourceInfo, origin_s: Fraction) -> Iterator[VideoFrame]:
    import av

    try:
        container.seek(int(origin_s * 1_000_000))
    except av.error.FFmpegError:
        return
    for frames in _decode(container, footage):
        yield from frames or ()


def _from(frames: Iterable[VideoFrame], origin_s: Fraction) -> Iterator[VideoFrame]:
    """Leave out the frames before the one that is shown at the origin."""
    held: VideoFrame | None = None
    frames = iter(frames)
    for frame in frames:
        if (_time_s(frame) or origin_s) > origin_s:
            yield from chain([frame] if held is None else [held, frame], frames)
            return
        held = frame
    if held is not None:
        yield held


def _decode(container: InputContainer, footage: SourceInfo) -> Iterator[list[VideoFrame] | None]:
    """The pictures of each packet; None for a damaged one."""
    import av

    stream = container.streams.video[_position(container, footage)]
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        frames = decode_packet(packet)
        yield None if frames is None else [frame for frame in frames if isinstance(frame, av.VideoFrame)]


def _position(container: InputContainer, footage: SourceInfo) -> int:
    return [stream.index for stream in container.streams.video].index(footage.video_stream)


def _reformat(frames: Iterable[VideoFrame], footage: SourceInfo) -> Iterator[VideoFrame]:
    """Every frame in one size and pixel format: a source may change them on its way.

    A picture of another shape stands between bars.
    """
    size = (footage.coded_width_px, footage.coded_height_px, footage.pixel_format)
    for shape, run in groupby(frames, key=lambda frame: (frame.width, frame.height, frame.format.name)):
        if shape == size:
            yield from run
        elif filters := _bars(shape[:2], size[:2]):
            yield from apply_filters(run, [*filters, ("format", footage.pixel_format)])
        else:
            yield from (frame.reformat(*size) for frame in run)


def fitting_filters(shape: tuple[int, int], size: tuple[int, int]) -> Filters:
    """What brings pictures of one size to another one, with bars where shapes differ; nothing where they agree."""
    if shape == size:
        return []
    return _bars(shape, size) or [("scale", "{}:{}:flags=bicubic".format(*size))]


def _bars(shape: tuple[int, int], size: tuple[int, int]) -> Filters:
    """What puts a picture of one shape into the middle of another, whole; nothing where they are alike."""
    (width, height), (whole_width, whole_height) = shape, size
    shrink = min(Fraction(whole_width, width), Fraction(whole_height, height))
    fitted = round(width * shrink / 2) * 2, round(height * shrink / 2) * 2
    if whole_width - fitted[0] <= _SLACK_PX and whole_height - fitted[1] <= _SLACK_PX:
        return []
    left, top = (whole_width - fitted[0]) // 4 * 2, (whole_height - fitted[1]) // 4 * 2
    return [("scale", f"{fitted[0]}:{fitted[1]}"), ("pad", f"{whole_width}:{whole_height}:{left}:{top}")]
