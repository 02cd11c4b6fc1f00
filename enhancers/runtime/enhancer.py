"""The interface of every enhancer: a decoded frame in, the frame at display size out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import av
from av.video.reformatter import Interpolation, VideoReformatter

from abr.core.enhancement import PLAIN
from abr.media.display_filters import PIXEL_FORMAT
from enhancers.runtime.frames import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancerInfo:
    """What an opened enhancer runs, and on what. Sizes are of whole frames in pixels."""

    name: str
    """Its architecture, or `none` for the plain scaler."""
    backend: str
    threads: int
    weights_sha256: str
    width_px: int
    height_px: int
    """Size of the frames it takes; any other raises ValueError."""
    display_width_px: int
    display_height_px: int


class Enhancer(Protocol):
    """Lifts frames of one size to the display's size. Opened once, warm, used by one thread at a time."""

    @property
    def descriptor(self) -> EnhancerInfo:
        """What it takes, gives and costs."""
        ...

    def enhance(self, frame: Frame) -> Frame:
        """A new frame at display size: uint8 planes, the same time stamp, never a view of the input's memory.

        Deterministic: the same frame gives the same bytes. Raises ValueError for a frame of another size.
        """
        ...


class PlainScaler:
    """The enhancer called `none`: swscale's Lanczos on all planes, kept open between frames.

    This is the display scaler: what a player shows without enhancement, and what plain quality is measured with.
    At equal sizes the frame passes through untouched.
    """

    def __init__(
        self, width_px: int, height_px: int, display_width_px: int, display_height_px: int, threads: int = 1
    ) -> None:
        self.descriptor = EnhancerInfo(
            name=PLAIN,
            backend="swscale",
            threads=threads,
            weights_sha256="",
            width_px=width_px,
            height_px=height_px,
            display_width_px=display_width_px,
            display_height_px=display_height_px,
        )
        self._scale = VideoReformatter()

    def enhance(self, frame: Frame) -> Frame:
        """See Enhancer."""
        check_size(frame, self.descriptor)
        return Frame(picture=self.scale(frame.picture, PIXEL_FORMAT))

    def scale(self, picture: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
        """Bring one picture to display size in `pixel_format` (its own, or `gray8` for luma alone)."""
        return self._scale.reformat(
            picture,
            self.descriptor.display_width_px,
            self.descriptor.display_height_px,
            pixel_format,
            interpolation=Interpolation.LANCZOS,
            threads=self.descriptor.threads,
        )


def check_size(frame: Frame, descriptor: EnhancerInfo) -> None:
    """Raises ValueError when the frame is not of the size that the enhancer was opened for."""
    given, expected = (frame.width_px, frame.height_px), (descriptor.width_px, descriptor.height_px)
    if given != expected:
        raise ValueError(f"{descriptor.name} was opened for frames of {expected}, not {given}")
