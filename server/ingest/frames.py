"""The source as its viewer sees it: upright, display size, 8-bit 4:2:0 Rec.709 limited, on an exact frame grid.

Frame n is shown from n / rate on. Every rung is scaled from these frames and every metric compares with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from abr.errors import MediaError
from server.ingest.probe import Footage, opened

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

T = TypeVar("T")

PIXEL_FORMAT = "yuv420p"
_LONGEST_STILL_S = 600
_DAMAGED_SHARE_MAX = 0.1
_SPACES = {"bt601": "smpte170m", "bt2020": "bt2020ncl"}
"""Names of the `colorspace` filter for matrices to convert to bt709; swscale would go by RGB and lose a step."""


def display_frames(path: Path, footage: Footage, *, from_s: float = 0.0) -> Iterator[VideoFrame]:
    """Decode the source from `from_s` on; frame pts are grid indices counted from there, time base 1/rate.

    Every frame yielded is an object of its own. Raises MediaError when the source turns out damaged.
    """
    with opened(path) as container:
        origin = Fraction(footage.start_s + from_s).limit_denominator(1_000_000)
        if from_s > 0:
            container.seek(int(origin * 1_000_000))
        upright = _upright(_decoded(container, footage, path), footage)
        timed = ((_time(frame), frame) for frame in upright)
        cells_min = 1 if from_s > 0 else footage.frames_expected
        last: VideoFrame | None = None
        for index, frame in enumerate(on_grid(timed, footage.rate, origin, cells_min)):
            shown = _copy(frame) if frame is last else frame
            last = frame
            shown.pts, shown.time_base = index, 1 / footage.rate
            shown.pict_type = 0  # the source's own picture type would bind the encoder
            yield shown


def on_grid(
    timed: Iterable[tuple[Fraction | None, T]], rate: Fraction, origin_s: Fraction, cells_min: int = 1
) -> Iterator[T]:
    """Put frames on the grid n / rate: what to show in cell 0, 1, 2, …

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


def _time(frame: VideoFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _copy(frame: VideoFrame) -> VideoFrame:
    import av

    return av.VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)


def _decoded(container: InputContainer, footage: Footage, path: Path) -> Iterator[VideoFrame]:
    """Decoded frames in display order. A few damaged packets are passed over, the frame before them stays."""
    from av.error import InvalidDataError

    stream = container.streams.video[_position(container, footage)]
    stream.thread_type = "AUTO"
    good = bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except InvalidDataError:
            bad += 1
            continue
        good += len(frames)
        yield from frames
    if good == 0 or bad > _DAMAGED_SHARE_MAX * (good + bad):
        raise MediaError(f"{bad} of {good + bad} pictures of {path.name} are damaged; give a whole file.")


def _position(container: InputContainer, footage: Footage) -> int:
    return [stream.index for stream in container.streams.video].index(footage.video_stream)


def _upright(frames: Iterable[VideoFrame], footage: Footage) -> Iterator[VideoFrame]:
    """Run frames through the filters that this footage needs; without any they pass untouched."""
    size = (footage.coded_width_px, footage.coded_height_px, footage.pixel_format)
    steady = (f if (f.width, f.height, f.format.name) == size else f.reformat(*size) for f in frames)
    chain = filters(footage)
    return _filtered(steady, footage, chain) if chain else iter(steady)


def filters(footage: Footage) -> list[tuple[str, str]]:
    """FFmpeg filters (name, arguments) from the coded picture to the display picture; empty when they are the same."""
    chain: list[tuple[str, str]] = []
    width, height = footage.display_width_px, footage.display_height_px
    if footage.rotation_deg in (90, 270):
        width, height = height, width
    coded = (footage.coded_width_px, footage.coded_height_px)
    if footage.interlaced:
        chain.append(("bwdif", "mode=send_frame"))
    if coded != (width, height) == (coded[0] & ~1, coded[1] & ~1):
        chain.append(("crop", f"{width}:{height}:0:0"))
        coded = (width, height)
    if coded != (width, height) or footage.full_range or footage.pixel_format != PIXEL_FORMAT:
        chain.append(("scale", f"{width}:{height}:flags=bicubic+accurate_rnd:{_colours(footage)}"))
        chain.append(("format", PIXEL_FORMAT))
    if footage.matrix in _SPACES:
        untouched = "iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709:irange=tv:range=tv"
        chain.append(("colorspace", f"ispace={_SPACES[footage.matrix]}:space=bt709:{untouched}"))
    turns = {90: ("transpose", "cclock"), 180: ("rotate", "PI"), 270: ("transpose", "clock")}
    if footage.rotation_deg in turns:
        chain.append(turns[footage.rotation_deg])
    return chain


def _colours(footage: Footage) -> str:
    """Matrix and range, both ways: a scaler that is told of neither takes the picture to another matrix by itself."""
    if footage.matrix == "rgb":
        return "out_color_matrix=bt709:out_range=limited"
    ranges = f"in_range={'full' if footage.full_range else 'limited'}:out_range=limited"
    return f"in_color_matrix={footage.matrix}:out_color_matrix={footage.matrix}:{ranges}"


def _filtered(frames: Iterable[VideoFrame], footage: Footage, chain: list[tuple[str, str]]) -> Iterator[VideoFrame]:
    import av

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=footage.coded_width_px,
        height=footage.coded_height_px,
        format=av.VideoFormat(footage.pixel_format),
        time_base=Fraction(*footage.time_base),
    )
    graph.link_nodes(source, *(graph.add(name, args) for name, args in chain), graph.add("buffersink")).configure()
    for frame in then_none(frames):
        graph.vpush(frame)
        while True:
            try:
                yield graph.vpull()
            except (BlockingIOError, EOFError):
                break


def then_none(items: Iterable[T]) -> Iterator[T | None]:
    """The items, then None: what tells a filter or an encoder that there are no more."""
    yield from items
    yield None
