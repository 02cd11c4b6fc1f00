"""Price plain playback: the quality of every rendition, segment by segment, as shown at display size.

Shown means decoded and upscaled by the player's own display scaler (swscale Lanczos through PyAV); compared with the
source's display frames.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from abr.errors import ToprungError
from abr.media import Quality
from abr.quality import Box, Luma, crop, is_black, picture_box, score_pairs, segment_means
from server.ingest.frames import PIXEL_FORMAT, display_frames
from server.ingest.probe import Footage
from server.ingest.segments import INIT_FILE

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_BOX_SAMPLES = 24
_SCALER = "LANCZOS"


class Joined(io.RawIOBase):
    """Files read one after the other as one stream, for a decoder that takes an init segment and its segments."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = iter(paths)
        self._open: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._open is None:
                path = next(self._paths, None)
                if path is None:
                    return 0
                self._open = path.open("rb")
            count = self._open.readinto(buffer)
            if count:
                return count
            self._open.close()
            self._open = None


def rendition_files(folder: Path) -> list[Path]:
    """Init segment and media segments of one rendition, in order."""
    return [folder / INIT_FILE, *sorted(folder.glob("seg-*.m4s"))]


class PictureFinder:
    """Watches display frames go by and finds the picture inside their letterbox borders."""

    def __init__(self, frames_expected: int) -> None:
        self._every = max(1, frames_expected // _BOX_SAMPLES)
        self._seen: list[Luma] = []

    def watch(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames, untouched."""
        for index, frame in enumerate(frames):
            if index % self._every == 0:
                self._seen.append(luma(frame).copy())
            yield frame

    def box(self) -> Box:
        """The picture at display size. Raises ValueError before any frame was seen."""
        return picture_box(self._seen)


def price_rendition(
    source: Path,
    footage: Footage,
    files: Sequence[Path],
    segment_frames: Sequence[int],
    box: Box,
    every_frames: int,
    *,
    advance: Callable[[float], None] = lambda _frames: None,
) -> Quality:
    """Score one rendition. Raises ToprungError when its frames are not exactly the source's, or the meter fails."""
    keep = np.ones(sum(segment_frames), dtype=np.bool_)
    pairs = _pairs(source, footage, files, box, keep, advance)
    _, _, width_px, height_px = box
    scores = score_pairs(
        pairs, width_px=width_px, height_px=height_px, fps=float(footage.rate), every_frames=every_frames, threads=1
    )
    return segment_means(scores, segment_frames, keep)


def luma(frame: VideoFrame) -> Luma:
    """A view of the frame's luma: uint8 (H, W)."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8, plane.height * plane.line_size)
    return rows.reshape(plane.height, plane.line_size)[:, : plane.width]


def _pairs(
    source: Path,
    footage: Footage,
    files: Sequence[Path],
    box: Box,
    keep: npt.NDArray[np.bool_],
    advance: Callable[[float], None],
) -> Iterator[tuple[Luma, Luma]]:
    shown = _shown(files, footage.display_width_px, footage.display_height_px)
    count = 0
    for index, (reference, lifted) in enumerate(zip(display_frames(source, footage), shown, strict=False)):
        if index >= len(keep):
            break
        view = crop(luma(reference), box)
        keep[index] = not is_black(view)
        yield view, crop(luma(lifted), box)
        count += 1
        advance(1)
    if count != len(keep):
        raise ToprungError(f"Only {count} of {len(keep)} frames of {files[0].parent.name} could be compared.")


def _shown(files: Sequence[Path], width_px: int, height_px: int) -> Iterator[VideoFrame]:
    import av
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()
    with av.open(io.BufferedReader(Joined(files)), mode="r", format="mp4") as container:
        for frame in container.decode(video=0):
            yield scaler.reformat(frame, width_px, height_px, PIXEL_FORMAT, interpolation=_SCALER, threads=1)
