"""Where shown frames go: nowhere, into a Y4M file, or as PNG samples into a folder."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Protocol

import av
import numpy as np

from abr.errors import InputError, StorageError
from abr.media.planes import Plane
from enhancers.runtime.frames import Frame


class Sink(Protocol):
    """Takes every shown frame in order; called by one thread at a time, and closed at the end."""

    def show(self, number: int, frame: Frame) -> None:
        """`number` counts the frames of the title from 0; all frames have display size. Raises StorageError."""
        ...

    def close(self) -> None:
        """No more frames will come."""
        ...


class RawSink:
    """Frames in one file, or a named pipe: YUV4MPEG2 with all planes or, without a frame rate, bare luma.

    Luma is uint8, H rows of W.
    """

    def __init__(self, path: Path, *, frame_rate: Fraction | None) -> None:
        self._path, self._frame_rate = path, frame_rate
        self._file: BinaryIO = _create(path)
        self._has_begun = False

    def show(self, number: int, frame: Frame) -> None:
        """See Sink. Raises StorageError."""
        try:
            if self._frame_rate is None:
                self._file.write(_bytes(frame.y))
                return
            if not self._has_begun:
                rate = f"F{self._frame_rate.numerator}:{self._frame_rate.denominator}"
                self._file.write(f"YUV4MPEG2 W{frame.width_px} H{frame.height_px} {rate} Ip A1:1 C420mpeg2\n".encode())
                self._has_begun = True
            self._file.write(b"FRAME\n")
            for plane in frame.planes():
                self._file.write(_bytes(plane))
        except OSError as error:
            raise StorageError(f"Cannot write frames to {self._path}: {error.strerror}.") from error

    def close(self) -> None:
        """See Sink."""
        self._file.close()


class ChromaSink:
    """Colour of the frames in `wanted`, in one file: U, then V of each (uint8, ⌈H/2⌉ rows of ⌈W/2⌉)."""

    def __init__(self, path: Path, wanted: Collection[int]) -> None:
        self._path, self._wanted = path, wanted
        self._file: BinaryIO = _create(path)

    def show(self, number: int, frame: Frame) -> None:
        """See Sink. Raises StorageError."""
        if number in self._wanted:
            try:
                self._file.write(_bytes(frame.u))
                self._file.write(_bytes(frame.v))
            except OSError as error:
                raise StorageError(f"Cannot write frames to {self._path}: {error.strerror}.") from error

    def close(self) -> None:
        """See Sink."""
        self._file.close()


class PngSink:
    """One frame in `every` as frame-00000.png in a folder."""

    def __init__(self, folder: Path, *, every: int) -> None:
        self._folder, self._every = folder, every
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot make the folder {folder}: {error.strerror}.") from error

    def show(self, number: int, frame: Frame) -> None:
        """See Sink. Raises StorageError."""
        if number % self._every == 0:
            path = self._folder / f"frame-{number:05d}.png"
            try:
                path.write_bytes(png(frame))
            except OSError as error:
                raise StorageError(f"Cannot write {path}: {error.strerror}.") from error

    def close(self) -> None:
        """See Sink."""


def open_sink(text: str, *, frame_rate: Fraction, every: int) -> Sink | None:
    """`null` (None), `y4m:PATH` or `png:FOLDER`. Raises InputError, StorageError."""
    kind, _, where = text.partition(":")
    if text == "null":
        return None
    if kind == "y4m" and where:
        return RawSink(Path(where), frame_rate=frame_rate)
    if kind == "png" and where:
        return PngSink(Path(where), every=every)
    raise InputError(f"There is no sink {text!r}; give null, y4m:PATH or png:FOLDER.")


def png(frame: Frame) -> bytes:
    """The frame as a PNG file (BT.709, limited range, to full-range RGB)."""
    return still(frame.picture, "png", "rgb24")


def still(picture: av.VideoFrame, codec: str, pixel_format: str) -> bytes:
    """One picture encoded on its own by FFmpeg's `codec`."""
    rgb = picture.reformat(format=pixel_format, src_colorspace="ITU709", src_color_range="MPEG", dst_color_range="JPEG")
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height = rgb.width, rgb.height  # type: ignore[attr-defined]
    encoder.pix_fmt, encoder.time_base = pixel_format, Fraction(1, 25)  # type: ignore[attr-defined]
    rgb.pts = 0
    packets = [*encoder.encode(rgb), *encoder.encode(None)]  # type: ignore[attr-defined]
    return b"".join(bytes(packet) for packet in packets)


def _bytes(plane: Plane) -> memoryview:
    return np.ascontiguousarray(plane).data.cast("B")


def _create(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise StorageError(f"Cannot write frames to {path}: {error.strerror}.") from error
