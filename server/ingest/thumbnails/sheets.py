"""Thumbnails in sheets: one frame in some seconds, small, many of them in one JPEG (DASH-IF IOP 4.3, section 6.2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from abr.core.title import Thumbnails, sheet_file

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from server.ingest.mp4.cmaf import Write

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3): red, green, blue."""

FOLDER = "thumbnails"
EVERY_S = 5
COLUMNS, ROWS = 5, 5
LONGER_SIDE_PX = 192
_QUANTISER = 5
"""Of JPEG, 2 (best) to 31: some 4 kB a picture."""


def thumbnail_size(width_px: int, height_px: int) -> tuple[int, int]:
    """Of the display's shape, its longer side LONGER_SIDE_PX at most, both even."""
    scale = min(1.0, LONGER_SIDE_PX / max(width_px, height_px))
    return max(2, round(width_px * scale / 2) * 2), max(2, round(height_px * scale / 2) * 2)


class ThumbnailMaker:
    """Makes thumbnails of display frames while something else uses them. Keeps one sheet in memory."""

    def __init__(self, display_px: tuple[int, int], rate: Fraction, write: Write) -> None:
        """rate: frames a second. write: takes each sheet as soon as it is full."""
        self._width_px, self._height_px = thumbnail_size(*display_px)
        self._rate, self._write = rate, write
        self._sheet = self._blank()
        self._count = 0
        self._sheet_bytes: list[int] = []

    def watch(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """Pass the frames on unchanged; frame n is shown from n / rate on."""
        for index, frame in enumerate(frames):
            if index >= self._count * EVERY_S * self._rate:
                self._add(frame)
            yield frame

    def finish(self) -> Thumbnails:
        """Write the last sheet, and tell of all. To be called after the last of at least one frame.

        A title that needs one sheet alone has it without empty rows.
        """
        rows = ROWS if self._sheet_bytes else -(-self._count // COLUMNS)
        if self._count % (COLUMNS * ROWS):
            self._sheet = self._sheet[: rows * self._height_px]
            self._write_sheet()
        return Thumbnails(
            every_s=float(EVERY_S),
            width_px=self._width_px,
            height_px=self._height_px,
            columns=COLUMNS,
            rows=rows,
            sheet_bytes=tuple(self._sheet_bytes),
        )

    def _add(self, frame: VideoFrame) -> None:
        row, column = divmod(self._count % (COLUMNS * ROWS), COLUMNS)
        top, left = row * self._height_px, column * self._width_px
        small = _shrink(frame, self._width_px, self._height_px)
        self._sheet[top : top + self._height_px, left : left + self._width_px] = small
        self._count += 1
        if self._count % (COLUMNS * ROWS) == 0:
            self._write_sheet()

    def _write_sheet(self) -> None:
        data = _dumps_jpeg(self._sheet)
        self._write(sheet_file(len(self._sheet_bytes)), data)
        self._sheet_bytes.append(len(data))
        self._sheet = self._blank()

    def _blank(self) -> Pixels:
        return np.zeros((ROWS * self._height_px, COLUMNS * self._width_px, 3), dtype=np.uint8)


def _shrink(frame: VideoFrame, width_px: int, height_px: int) -> Pixels:
    """Display frames are BT.709, which the scaler is not told by every file."""
    small = frame.reformat(
        width_px, height_px, format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709", interpolation="AREA"
    )
    return np.asarray(small.to_ndarray(), dtype=np.uint8)


def _dumps_jpeg(pixels: Pixels) -> bytes:
    """A JPEG file (JFIF: BT.601, full range)."""
    import av

    height_px, width_px, _ = pixels.shape
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width_px, height_px, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    encoder.options = {"qmin": str(_QUANTISER), "qmax": str(_QUANTISER)}
    full_range = frame.reformat(format="yuvj420p", dst_colorspace="ITU601", dst_color_range="JPEG")
    full_range.pts = 0
    packets = [*encoder.encode(full_range), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
