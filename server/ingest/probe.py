"""Look at a source file: which streams to take, what a viewer should see of them, and whether the file is whole.

Sources are hostile: only plain container formats are opened, never playlists that name other files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from abr.errors import InputError, MediaError, StorageError
from abr.formats import Record
from abr.media import Count, Positive

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

DISPLAY_SHORT_SIDE_MAX_PX = 1080
SMALLEST_SIDE_PX = 64
_LARGEST_SIDE_PX = 16384
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,avi,flv,asf,ogg,mxf,nut,dv,wtv,ivf,rm,gxf,yuv4mpegpipe,"
    "h264,hevc,m4v,mpegvideo,obu,swf,mp3,wav,flac,aac"
)
_COMMON_RATES = tuple(Fraction(n) for n in (24, 25, 30, 48, 50, 60)) + tuple(
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60)
)
_SLOWEST_FPS, _FASTEST_FPS = 5, Fraction(121, 2)
_SD_HEIGHT_MAX_PX = 576
_FULL_RANGE = 2
"""AVCOL_RANGE_JPEG."""


class Footage(Record, frozen=True):
    """What is taken of a source and how it is to be shown.

    display_*: the picture a viewer sees: rotated, square pixels, even sizes, at most 1080 on its short side.
    """

    video_stream: Count
    audio_stream: Count | None
    coded_width_px: Positive
    coded_height_px: Positive
    display_width_px: Positive
    display_height_px: Positive
    rotation_deg: int
    """Counterclockwise turn that brings the coded picture upright: 0, 90, 180 or 270."""
    frame_rate: tuple[Positive, Positive]
    start_s: float
    """Time of the first video frame on the source's own clock."""
    duration_s: float
    interlaced: bool
    matrix: str
    """Colour matrix of the coded picture: bt709, bt601, bt2020 or rgb."""
    full_range: bool
    pixel_format: str
    """FFmpeg's name of the decoded pixel format."""
    time_base: tuple[Positive, Positive]

    @property
    def rate(self) -> Fraction:
        return Fraction(*self.frame_rate)

    @property
    def frames_expected(self) -> int:
        return max(1, round(self.duration_s * float(self.rate)))


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a source; MediaError in one sentence for whatever FFmpeg makes of it, also inside the `with` body."""
    import av

    try:
        with av.open(f"file:{path}", mode="r", options={"format_whitelist": _FORMATS}) as container:
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path.name} cannot be read as video ({why}); give a whole file in a format FFmpeg knows, such as MP4."
        ) from error


def sha256_of(path: Path) -> str:
    """Hex digest of the source; InputError when there is no such file, StorageError when it cannot be read."""
    if not path.is_file():
        raise InputError(f"There is no file {path}; give the path of a video file.")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error


def probe(path: Path) -> Footage:
    """Choose streams and measure the source. Raises MediaError when it is empty, truncated or has no moving picture."""
    if path.stat().st_size == 0:
        raise MediaError(f"{path.name} is empty; give a video file.")
    with opened(path) as container:  # streams must not be touched once their container is closed
        video = _choose_video(container, path)
        audio = container.streams.best("audio", related=video)
        first = _first_frame(container, video, path)
        pixel_aspect = video.sample_aspect_ratio or Fraction(1)
        rate = tidy_rate(video.guessed_rate or video.average_rate or Fraction(25))
        video_index = video.index
        audio_index = audio.index if audio is not None and audio.codec_context is not None else None
        start_s, end_s = _span(container, video_index, path)
    rotation = round(first.rotation / 90) * 90 % 360
    display = display_size(first.width, first.height, pixel_aspect, rotation)
    _check_size(path, max(first.width, first.height, *display), min(display))
    tick = first.time_base or Fraction(1, 1000)
    return Footage(
        video_stream=video_index,
        audio_stream=audio_index,
        coded_width_px=first.width,
        coded_height_px=first.height,
        display_width_px=display[0],
        display_height_px=display[1],
        rotation_deg=rotation,
        frame_rate=(rate.numerator, rate.denominator),
        start_s=start_s,
        duration_s=end_s - start_s,
        interlaced=first.interlaced_frame,
        matrix=_matrix(first),
        full_range=int(first.color_range) == _FULL_RANGE or first.format.name.startswith("yuvj"),
        pixel_format=first.format.name,
        time_base=(tick.numerator, tick.denominator),
    )


def _check_size(path: Path, largest_px: int, smallest_px: int) -> None:
    if largest_px > _LARGEST_SIDE_PX or smallest_px < SMALLEST_SIDE_PX:
        raise MediaError(
            f"The picture of {path.name} has a side of {largest_px if largest_px > _LARGEST_SIDE_PX else smallest_px} "
            f"pixels; each side must have {SMALLEST_SIDE_PX} to {_LARGEST_SIDE_PX}."
        )


def display_size(width: int, height: int, pixel_aspect: Fraction, rotation_deg: int) -> tuple[int, int]:
    """Size a viewer sees: square pixels (only ever widened), upright, even, short side at most 1080."""
    shown_width = width * max(pixel_aspect, Fraction(1))
    shown_height = height / min(pixel_aspect, Fraction(1))
    if rotation_deg in (90, 270):
        shown_width, shown_height = shown_height, shown_width
    shrink = min(Fraction(1), Fraction(DISPLAY_SHORT_SIDE_MAX_PX) / min(shown_width, shown_height))
    if pixel_aspect == 1 and shrink == 1:
        return int(shown_width) & ~1, int(shown_height) & ~1  # an odd row or column is cropped, not resampled
    return round(shown_width * shrink / 2) * 2, round(shown_height * shrink / 2) * 2


def tidy_rate(rate: Fraction) -> Fraction:
    """The constant frame rate to encode at: a common rate when within 0.1 %, halved above 60, doubled below 5."""
    while rate > _FASTEST_FPS:
        rate /= 2
    while rate < _SLOWEST_FPS:
        rate *= 2
    nearest = min(_COMMON_RATES, key=lambda common: abs(common - rate))
    return nearest if abs(nearest - rate) <= rate / 1000 else rate.limit_denominator(1001)


def _choose_video(container: InputContainer, path: Path) -> VideoStream:
    from av.stream import Disposition

    stills = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
    moving = [s for s in container.streams.video if not s.disposition & stills and s.codec_context is not None]
    if not moving:
        raise MediaError(f"{path.name} has no video stream; give a file with moving pictures.")
    return max(moving, key=lambda s: (s.width * s.height, bool(s.disposition & Disposition.default), -s.index))


def _first_frame(container: InputContainer, video: VideoStream, path: Path) -> VideoFrame:
    from av.error import InvalidDataError

    for packet in container.demux(video):
        try:
            for frame in packet.decode():
                return frame
        except InvalidDataError:
            continue
    raise MediaError(f"No picture of {path.name} can be decoded; the file is damaged or truncated.")


def _span(container: InputContainer, video_index: int, path: Path) -> tuple[float, float]:
    """First and last moment of the video, by its packets. MediaError when the file ends before it says it does."""
    from av.error import PermissionError as NotPermittedError

    try:
        container.seek(0)
    except NotPermittedError as error:
        raise MediaError(
            f"{path.name} is a bare stream of pictures without times; put it into a container first, "
            f"as ffmpeg -i {path.name} -c copy {path.stem}.mp4 does."
        ) from error
    start_s, end_s, last_s = float("inf"), float("-inf"), float("-inf")
    for packet in container.demux():
        if packet.pts is None or packet.is_corrupt or packet.size == 0:
            continue
        begin_s = float(packet.pts * packet.time_base)
        until_s = begin_s + float((packet.duration or 0) * packet.time_base)
        last_s = max(last_s, until_s)
        if packet.stream_index == video_index:
            start_s, end_s = min(start_s, begin_s), max(end_s, until_s)
    if end_s < start_s:
        raise MediaError(f"{path.name} has no timed video packets; the file is damaged or truncated.")
    declared_s = (container.duration or 0) / 1_000_000
    found_s = last_s - (container.start_time or 0) / 1_000_000
    if declared_s - found_s > max(1.0, declared_s / 50):
        raise MediaError(
            f"{path.name} says it lasts {declared_s:.1f} s but ends after {found_s:.1f} s: it is truncated; "
            "fetch the whole file again."
        )
    return start_s, end_s


def _matrix(frame: VideoFrame) -> str:
    """Untagged standard definition is BT.601 by custom, anything larger BT.709."""
    if frame.format.is_rgb or frame.format.has_palette:
        return "rgb"
    tagged = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}.get(int(frame.colorspace))
    return tagged or ("bt601" if frame.height <= _SD_HEIGHT_MAX_PX else "bt709")
