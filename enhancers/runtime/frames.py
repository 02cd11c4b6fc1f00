"""Decoded frames: uint8 planes without copies, and the decoding of segments that may be hostile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
from av.codec.context import Flags
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from abr.errors import MediaError
from abr.media.display_filters import PIXEL_FORMAT
from abr.media.planes import Plane, plane_of

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
        """Of the luma."""
        return self.picture.width

    @property
    def height_px(self) -> int:
        """Of the luma."""
        return self.picture.height

    @property
    def time_s(self) -> float | None:
        """Presentation time in the segment's own timeline, if it carries one."""
        return self.picture.time

    @property
    def y(self) -> Plane:
        """Luma."""
        return _read_only(plane_of(self.picture, 0))

    @property
    def u(self) -> Plane:
        """Blue difference."""
        return _read_only(plane_of(self.picture, 1))

    @property
    def v(self) -> Plane:
        """Red difference."""
        return _read_only(plane_of(self.picture, 2))

    def planes(self) -> tuple[Plane, Plane, Plane]:
        """Luma, blue and red difference."""
        return self.y, self.u, self.v


def frame_of(y: Plane, u: Plane, v: Plane) -> Frame:
    """A frame holding copies of the planes. Raises ValueError when the sizes do not fit 4:2:0."""
    height, width = y.shape
    chroma = ((height + 1) // 2, (width + 1) // 2)
    if u.shape != chroma or v.shape != chroma:
        raise ValueError(f"luma of {y.shape} needs chroma of {chroma}, not {u.shape} and {v.shape}")
    picture = av.VideoFrame(width, height, PIXEL_FORMAT)
    for index, plane in enumerate((y, u, v)):
        plane_of(picture, index)[:] = plane
    return Frame(picture=picture)


def _read_only(plane: Plane) -> Plane:
    plane.flags.writeable = False
    return plane


def decode_segment(data: bytes, *, threads: int = 1, motion: bool = False, key: str = "") -> Iterator[Frame]:
    """Decode an init segment followed by media segments, in display order. motion: export the codec's motion vectors.

    key: of a protected title, 32 hex digits.

    Raises MediaError when it is not video, is damaged, or is larger than any segment should be. The bytes are hostile:
    they are read as MP4 and nothing else, since FFmpeg would take a playlist for an order to open other files.
    """
    what = "this segment"
    yield from _decode(io.BytesIO(data), what, threads=threads, frames_max=_FRAMES_MAX, motion=motion, key=key)


class ChunkDecoder:
    """Decodes a segment whose chunks come one after the other, with pictures in the order in which they are coded."""

    def __init__(self, *, threads: int = 1, motion: bool = False) -> None:
        """As of `decode_segment`."""
        self._threads, self._motion = threads, motion
        self._codec: VideoCodecContext | None = None

    def decode(self, init_and_chunk: bytes) -> Iterator[Frame]:
        """The frames of the next chunk, which follows the init segment. Raises MediaError as `decode_segment`."""
        what, file = "this chunk", io.BytesIO(init_and_chunk)
        with _media_errors(what), av.open(file, mode="r", format="mp4") as container:
            stream = _video_stream(container, what)
            codec = self._codec = self._codec or self._open(stream)
            for packet in container.demux(stream):
                for picture in codec.decode(packet) if packet.size else ():
                    yield _checked(picture, what)

    def _open(self, stream: VideoStream) -> VideoCodecContext:
        codec = VideoCodecContext.create(stream.codec_context.name, "r")
        assert isinstance(codec, VideoCodecContext)
        codec.extradata = stream.codec_context.extradata
        codec.thread_count = self._threads
        codec.options = _decoder_options(self._motion)
        codec.flags |= Flags.low_delay
        return codec


def decode_file(path: str, *, threads: int = 0) -> Iterator[Frame]:
    """Decode the largest video stream of a file in display order, as coded: not turned. Raises MediaError."""
    yield from _decode(f"file:{path}", path, threads=threads, frames_max=None)


def _decode(
    file: io.BytesIO | str,
    what: str,
    *,
    threads: int,
    frames_max: int | None,
    motion: bool = False,
    key: str = "",
) -> Iterator[Frame]:
    count, options = 0, {"decryption_key": key} if key else {}
    container_format = "mp4" if isinstance(file, io.BytesIO) else None
    with _media_errors(what), av.open(file, mode="r", format=container_format, options=options) as container:
        stream = _video_stream(container, what)
        stream.codec_context.thread_count = threads
        stream.codec_context.options = _decoder_options(motion)
        for picture in container.decode(stream):
            yield _checked(picture, what)
            count += 1
            if frames_max is not None and count >= frames_max:
                raise MediaError(f"There are more than {frames_max} frames in {what}.")
    if count == 0:
        raise MediaError(f"There is no video frame in {what}.")


def _decoder_options(motion: bool) -> dict[str, str]:
    return {"max_pixels": str(_PIXELS_MAX)} | ({"flags2": "+export_mvs"} if motion else {})


def _checked(picture: av.VideoFrame, what: str) -> Frame:
    if picture.width * picture.height > _PIXELS_MAX:
        raise MediaError(f"A frame of {what} is {picture.width}x{picture.height}: too large to be shown.")
    return Frame(picture=_as_420(picture))


@contextmanager
def _media_errors(what: str) -> Iterator[None]:
    """What FFmpeg says of a hostile file is a MediaError."""
    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise MediaError(f"Cannot decode {what}: {_why(error)}.") from error


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
