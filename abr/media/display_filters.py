"""FFmpeg filters from a source's coded pictures to the pictures that a viewer sees, and the graph that runs them.

A title keeps the list in `source.filters`. A player has it from a stranger: `check_filters` refuses what does not
belong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from abr.errors import MediaError
from abr.media.probe import SourceInfo
from abr.media.tone_mapping import FILTER as TONE_MAP
from abr.media.tone_mapping import as_ffmpeg_filter, tone_map_filter

if TYPE_CHECKING:
    from av.filter import Graph
    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

T = TypeVar("T")

Filters = Sequence[tuple[str, str]]
"""FFmpeg filters in order: name and arguments."""
PIXEL_FORMAT, HDR_PIXEL_FORMAT = "yuv420p", "yuv420p10le"

_SPACES = {"bt601": "smpte170m", "bt2020": "bt2020ncl"}
"""Names of the `colorspace` filter for matrices to convert to bt709; swscale would go by RGB and lose a step."""
_KNOWN = {"bwdif", "colorspace", "crop", "format", "hflip", "rotate", "scale", "transpose", TONE_MAP}
_ARGUMENTS = re.compile(r"[A-Za-z0-9_:=+.-]*")
"""No parentheses and no quotes: expressions of FFmpeg can loop for ever."""
_NUMBER_MAX = 16384


def display_filters(footage: SourceInfo) -> list[tuple[str, str]]:
    """FFmpeg filters (name, arguments) from the coded picture to the display picture; empty when they are the same."""
    width, height = _size_before_turns(footage)
    filters, coded = _weave_and_crop(footage, (width, height))
    if footage.transfer != "sdr":
        filters += _to_standard_range(footage, width, height)
    elif coded != (width, height) or footage.full_range or footage.pixel_format != PIXEL_FORMAT:
        filters.append(("scale", f"{width}:{height}:flags=bicubic+accurate_rnd:{_matrix_and_range(footage)}"))
        filters.append(("format", PIXEL_FORMAT))
    if footage.transfer == "sdr" and footage.matrix in _SPACES:
        untouched = "iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709:irange=tv:range=tv"
        filters.append(("colorspace", f"ispace={_SPACES[footage.matrix]}:space=bt709:{untouched}"))
    return filters + _turns(footage)


def hdr_filters(footage: SourceInfo) -> list[tuple[str, str]]:
    """Likewise for pictures that stay in high dynamic range: 10 bits, matrix of BT.2020, limited range."""
    width, height = _size_before_turns(footage)
    filters, coded = _weave_and_crop(footage, (width, height))
    is_same = (footage.matrix, footage.full_range, footage.pixel_format) == ("bt2020", False, HDR_PIXEL_FORMAT)
    if coded != (width, height) or not is_same:
        came = "" if footage.matrix == "rgb" else f"in_color_matrix={footage.matrix}:"
        full = footage.full_range or footage.matrix == "rgb"
        ranges = f"in_range={'full' if full else 'limited'}:out_range=limited"
        kept = f"{width}:{height}:flags=bicubic+accurate_rnd:{came}out_color_matrix=bt2020:{ranges}"
        filters += [("scale", kept), ("format", HDR_PIXEL_FORMAT)]
    return filters + _turns(footage)


def _size_before_turns(footage: SourceInfo) -> tuple[int, int]:
    width, height = footage.display_width_px, footage.display_height_px
    return (height, width) if footage.rotation_deg in (90, 270) else (width, height)


def _weave_and_crop(footage: SourceInfo, size: tuple[int, int]) -> tuple[list[tuple[str, str]], tuple[int, int]]:
    """Also returns the pictures' size behind these filters."""
    filters = [("bwdif", "mode=send_frame:deint=interlaced")] if footage.interlaced else []
    coded = (footage.coded_width_px, footage.coded_height_px)
    if coded != size == (coded[0] & ~1, coded[1] & ~1):
        filters.append(("crop", f"{size[0]}:{size[1]}:0:0"))
        coded = size
    return filters, coded


def _turns(footage: SourceInfo) -> list[tuple[str, str]]:
    turns = {90: ("transpose", "cclock"), 180: ("rotate", "PI"), 270: ("transpose", "clock")}
    mirror = [("hflip", "")] if footage.mirrored else []
    return mirror + ([turns[footage.rotation_deg]] if footage.rotation_deg in turns else [])


def _to_standard_range(footage: SourceInfo, width: int, height: int) -> list[tuple[str, str]]:
    """By way of RGB in 16 bits, at the display's size."""
    scaled = f"{width}:{height}:flags=bicubic+accurate_rnd"
    came = "" if footage.matrix == "rgb" else f"in_color_matrix={footage.matrix}:"
    ranges = f"in_range={'full' if footage.full_range or footage.matrix == 'rgb' else 'limited'}:out_range=full"
    return [
        ("scale", f"{scaled}:{came}{ranges}"),
        ("format", "gbrp16le"),
        tone_map_filter(footage.transfer, footage.peak_nits),
        ("scale", f"{scaled}:in_range=full:out_color_matrix=bt709:out_range=limited"),
        ("format", PIXEL_FORMAT),
    ]


def _matrix_and_range(footage: SourceInfo) -> str:
    """Matrix and range, both ways: a scaler that is told of neither takes the picture to another matrix by itself."""
    if footage.matrix == "rgb":
        return "out_color_matrix=bt709:out_range=limited"
    ranges = f"in_range={'full' if footage.full_range else 'limited'}:out_range=limited"
    return f"in_color_matrix={footage.matrix}:out_color_matrix={footage.matrix}:{ranges}"


def check_filters(filters: Filters) -> None:
    """Raises MediaError unless every filter, and every argument, is of the kind that `display_filters` gives."""
    for name, arguments in filters:
        if name not in _KNOWN:
            raise MediaError(f"{name[:40]!r} is not a filter that turns coded pictures into a display's.")
        numbers = re.findall(r"[0-9]+", arguments)
        if not _ARGUMENTS.fullmatch(arguments) or any(len(n) > 9 or int(n) > _NUMBER_MAX for n in numbers):
            raise MediaError(f"{arguments[:80]!r} is not what the filter {name} is used with here.")


def apply_filters(frames: Iterable[VideoFrame], filters: Filters) -> Iterator[VideoFrame]:
    """Run frames of one size and pixel format through `filters`, in order. Raises what FFmpeg raises (OSError)."""
    import av

    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width,
        height=first.height,
        format=first.format,
        time_base=first.time_base or Fraction(1, 1000),
    )
    nodes = [_add(graph, name, arguments) for name, arguments in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    for frame in then_none(chain((first,), frames)):
        graph.vpush(frame)
        while True:
            try:
                yield graph.vpull()
            except (BlockingIOError, EOFError):
                break


def _add(graph: Graph, name: str, arguments: str) -> FilterContext:
    """Raises MediaError for arguments of a filter of ours that are none."""
    if name != TONE_MAP:
        return graph.add(name, arguments)
    try:
        with as_ffmpeg_filter(arguments) as (their_name, their_arguments):
            return graph.add(their_name, their_arguments)
    except ValueError as error:
        raise MediaError(f"{arguments[:80]!r} is not what the filter {name} is used with here.") from error


def then_none(items: Iterable[T]) -> Iterator[T | None]:
    """The items, then None: what tells a filter or an encoder that there are no more."""
    yield from items
    yield None
