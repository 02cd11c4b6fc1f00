"""The enhancer that networks make: luma by the network over the plain scaler's picture, chroma by the scaler."""

from __future__ import annotations

from av import VideoFrame

from enhancers.backends import LumaNetwork
from enhancers.base import Descriptor, PlainScaler, check_size
from enhancers.frames import PIXEL_FORMAT, Frame, Plane, luma_of


class NetworkEnhancer:
    """Luma by a network over the plain scaler's picture, chroma by the scaler.

    When the display is not a whole multiple of the input, the network's picture is scaled on to the display.
    """

    def __init__(self, network: LumaNetwork, network_px: tuple[int, int], descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._network = network
        display = descriptor.display_width_px, descriptor.display_height_px
        self._grow = PlainScaler(descriptor.width_px, descriptor.height_px, *network_px)
        self._fit = None if display == network_px else PlainScaler(*network_px, *display)

    def enhance(self, frame: Frame) -> Frame:
        check_size(frame, self.descriptor)
        picture = self.grown(frame)
        self.lift(frame, luma_of(picture))
        return self.fitted(picture)

    def grown(self, frame: Frame) -> VideoFrame:
        """The plain scaler's picture at the network's output size."""
        return self._grow.scale(frame.picture, PIXEL_FORMAT)

    def lift(self, frame: Frame, luma: Plane) -> None:
        """Put the network's luma in place of the plain one: uint8, of the network's output size."""
        self._network.run(frame.y, luma, luma)

    def fitted(self, picture: VideoFrame) -> Frame:
        """Bring the finished picture to the display, when that is of another size."""
        return Frame(picture=self._fit.scale(picture, PIXEL_FORMAT) if self._fit else picture)
