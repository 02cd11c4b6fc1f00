"""The enhancer that networks make: luma, and chroma where there is a part for it, over the plain scaler's picture."""

from __future__ import annotations

from av import VideoFrame

from abr.media.display_filters import PIXEL_FORMAT
from abr.media.planes import Plane, luma_of
from enhancers.runtime.backends import LumaNetwork
from enhancers.runtime.chroma import ChromaLift
from enhancers.runtime.enhancer import EnhancerInfo, PlainScaler, check_size
from enhancers.runtime.frames import Frame


class NetworkEnhancer:
    """Luma by a network over the plain scaler's picture, chroma by its chroma part, or by the scaler without one.

    When the display is not a whole multiple of the input, the network's picture is scaled on to the display.
    """

    def __init__(
        self,
        network: LumaNetwork,
        network_px: tuple[int, int],
        descriptor: EnhancerInfo,
        chroma: ChromaLift | None = None,
    ) -> None:
        self.descriptor = descriptor
        self._network, self._chroma = network, chroma
        display = descriptor.display_width_px, descriptor.display_height_px
        self._grow = PlainScaler(descriptor.width_px, descriptor.height_px, *network_px)
        self._fit = None if display == network_px else PlainScaler(*network_px, *display)

    def enhance(self, frame: Frame) -> Frame:
        """See Enhancer."""
        check_size(frame, self.descriptor)
        picture = self.upscale(frame)
        self.lift(frame, luma_of(picture))
        self.lift_chroma(frame, picture)
        return self.scale_to_display(picture)

    def upscale(self, frame: Frame) -> VideoFrame:
        """The plain scaler's picture at the network's output size."""
        return self._grow.scale(frame.picture, PIXEL_FORMAT)

    def lift(self, frame: Frame, luma: Plane) -> None:
        """Put the network's luma in place of the plain one: uint8, of the network's output size."""
        self._network.run(frame.y, luma, luma)

    def lift_chroma(self, frame: Frame, picture: VideoFrame) -> None:
        """Lift the plain chroma of `picture`, where the network has a part for it."""
        if self._chroma:
            self._chroma.lift(frame, picture)

    @property
    def lifts_chroma(self) -> bool:
        """Whether the network has a part for chroma."""
        return self._chroma is not None

    def scale_to_display(self, picture: VideoFrame) -> Frame:
        """Bring the finished picture to the display, when that is of another size."""
        return Frame(picture=self._fit.scale(picture, PIXEL_FORMAT) if self._fit else picture)
