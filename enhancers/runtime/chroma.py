"""The chroma of a frame lifted: its planes folded, run through the chroma part, and the residuals added."""

from __future__ import annotations

from av import VideoFrame

from abr.media.planes import plane_of
from enhancers.networks.chroma import ChromaArchitecture, fold_planes
from enhancers.runtime.backends import ChromaNetwork
from enhancers.runtime.backends.residual import Adder, Shuffle
from enhancers.runtime.frames import Frame


class ChromaLift:
    """A chroma part opened for frames of one size, used by one thread at a time.

    shown_px: (width, height) of the network's picture. add: for planes of half that size, rounded up.
    """

    def __init__(
        self,
        network: ChromaNetwork,
        architecture: ChromaArchitecture,
        size_px: tuple[int, int],
        shown_px: tuple[int, int],
        add: Adder,
    ) -> None:
        self._network, self._architecture, self._add = network, architecture, add
        columns, rows = architecture.grid(*size_px)
        chroma_px = (shown_px[0] + 1) // 2, (shown_px[1] + 1) // 2
        self._shuffle = Shuffle(rows, columns, architecture.shuffle, *chroma_px)

    def lift(self, frame: Frame, picture: VideoFrame) -> None:
        """Add the residuals to the u and v of `picture`, which is `frame` by the plain scaler."""
        cells = self._network.run(fold_planes(self._architecture, *frame.planes()))
        size = self._architecture.shuffle**2
        for index in (1, 2):
            plane = plane_of(picture, index)
            self._add(plane, self._shuffle(cells[..., (index - 1) * size : index * size]), plane)
