"""Decoded frames: uint8 planes without copies, and the decoding of segments that may be hostile."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from av.stream import Disposition
from av.video.stream import VideoStream

from abr.errors import MediaError

Plane = npt.NDArray[np.uint8]

PIXEL_FORMAT = "yuv420p"
Filters = Sequence[tuple[str, str]]
"""FFmpeg filters: name and arguments."""
_FILTERS = {"bwdif", "colorspace", "crop", "format", "rotate", "scale", "transpose"}
_PIXELS_MAX = 8192 * 4352
_FRAMES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture, yuv420p, limited range, BT.709. `picture` owns the memory; the planes are views of it.

    y: uint8 (H, W). u, v: uint8 (⌈H/2⌉, ⌈W/2⌉). All read-only: a decoder may still refer to them.
    """

    picture: av.VideoFrame

    @property
    def width_px(self) -> int:
        return self.picture.width

    @property
    def height_px(self) -> int:
        return self.picture.height

    @property
    def time_s(self) -> float | None:
        """Presentation time in the segment's own timeline, if it carries one."""
        return self.picture.time

    @property
    def y(self) -> Plane:
        return _view(self.picture, 0, writeable=False)

    @property
    def u(self) -> Plane:
        return _view(self.picture, 1, writeable=False)

    @property
    def v(self) -> Plane:
        return _view(self.picture, 2, writeable=False)

    def planes(self) -> tuple[Plane, Plane, Plane]:
        return self.y, self.u, self.v


def frame_of(y: Plane, u: Plane, v: Plane) -> Frame:
    """A frame holding copies of the planes. Raises ValueError when the sizes do not fit 4:2:0."""
    height, width = y.shape
    chroma = ((height + 1) // 2, (width + 1) // 2)
    if u.shape != chroma or v.shape != chroma:
        raise ValueError(f"luma of {y.shape} needs chroma of {chroma}, not {u.shape} and {v.shape}")
    picture = av.VideoFrame(width, height, PIXEL_FORMAT)
    for index, plane in enumerate((y, u, v)):
        _view(picture, index, writeable=True)[:] = plane
    return Frame(picture=picture)


def luma_of(picture: av.VideoFrame) -> Plane:
    """The writeable luma of a picture that nobody else holds yet: uint8 (H, W)."""
    return _view(picture, 0, writeable=True)


def _view(picture: av.VideoFrame, index: int, *, writeable: bool) -> Plane:
    plane = picture.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8, plane.height * plane.line_size)
    view: Plane = rows.reshape(plane.height, plane.line_size)[:, : plane.width]
    view.flags.writeable = writeable
    return view


def decode_segment(data: bytes, *, threads: int = 1, motion: bool = False) -> Iterator[Frame]:
    """Decode an init segment followed by media segments, in display order; with the codec's `motion` for those who ask.

    Raises MediaError when it is not video, is damaged, or is larger than any segment should be. The bytes are hostile:
    they are read as MP4 and nothing else, since FFmpeg would take a playlist for an order to open other files.
    """
    yield from _decode(io.BytesIO(data), "this segment", threads=threads, frames_max=_FRAMES_MAX, motion=motion)


def decode_file(path: str, *, threads: int = 0, filters: Filters = ()) -> Iterator[Frame]:
    """Decode the first video stream of a file in display order, through `filters` if any. Raises MediaError."""
    yield from _decode(path, path, threads=threads, frames_max=None, filters=filters)


def _filtered(pictures: Iterator[av.VideoFrame], filters: Filters) -> Iterator[av.VideoFrame]:
    """Pictures through a chain of FFmpeg filters. Raises MediaError for one that has no place here."""
    if strange := [name for name, _ in filters if name not in _FILTERS]:
        raise MediaError(f"{strange[0][:40]!r} is not a filter that turns coded pictures into a display's.")
    first = next(pictures, None)
    if first is None:
        return
    graph = av.filter.Graph()
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=first.time_base)
    graph.link_nodes(source, *(graph.add(name, args) for name, args in filters), graph.add("buffersink")).configure()
    for picture in chain((first,), pictures, (None,)):
        graph.vpush(picture)
        with suppress(BlockingIOError, EOFError):
            while True:
                yield graph.vpull()


def _decode(
    file: io.BytesIO | str,
    what: str,
    *,
    threads: int,
    frames_max: int | None,
    filters: Filters = (),
    motion: bool = False,
) -> Iterator[Frame]:
    count = 0
    try:
        with av.open(file, mode="r", format="mp4" if isinstance(file, io.BytesIO) else None) as container:
            stream = _video_stream(container, what)
            stream.codec_context.thread_count = threads
            exported = {"flags2": "+export_mvs"} if motion else {}
            stream.codec_context.options = {"max_pixels": str(_PIXELS_MAX)} | exported
            pictures = container.decode(stream)
            for picture in _filtered(pictures, filters) if filters else pictures:
                if picture.width * picture.height > _PIXELS_MAX:
                    raise MediaError(f"A frame of {what} is {picture.width}x{picture.height}: too large to be shown.")
                yield Frame(picture=_as_420(picture))
                count += 1
                if frames_max is not None and count >= frames_max:
                    raise MediaError(f"There are more than {frames_max} frames in {what}.")
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise MediaError(f"Cannot decode {what}: {_why(error)}.") from error
    if count == 0:
        raise MediaError(f"There is no video frame in {what}.")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _video_stream(container: av.container.InputContainer, what: str) -> VideoStream:
    """The largest moving picture: a file may carry thumbnails and previews beside its film."""
    still = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
    # PyAV gives a stream that FFmpeg has no decoder for no codec context.
    moving = [s for s in container.streams.video if not s.disposition & still and s.codec_context is not None]
    if not moving:
        raise MediaError(f"There is no video that can be decoded in {what}.")
    return max(moving, key=lambda s: (s.width * s.height, bool(s.disposition & Disposition.default), -s.index))


def _as_420(picture: av.VideoFrame) -> av.VideoFrame:
    if picture.format.name == PIXEL_FORMAT:
        return picture
    return picture.reformat(format=PIXEL_FORMAT, dst_color_range="MPEG")
