"""Opening enhancers: from an offer of the enhancement table, its weights and the device profile's choice of backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from av import VideoFrame

from abr.enhancement import Offer
from abr.errors import FormatError
from enhancers import catalog
from enhancers.architectures.plain import parse
from enhancers.backends import BACKENDS, LumaNetwork
from enhancers.base import Descriptor, Enhancer, PlainScaler, check_size
from enhancers.checkpoint import Weights, loads_chunks, verified, weights_digest
from enhancers.frames import PIXEL_FORMAT, Frame, Plane, frame_of, luma_of

DEFAULT_BACKEND = "openvino-int8"
_WARM_UP_FRAMES = 2


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


def open_weights(
    weights: Weights,
    weights_sha256: str,
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str = DEFAULT_BACKEND,
    threads: int = 1,
) -> NetworkEnhancer:
    """Open the deepest exit of `weights` for frames of `size_px` shown at `display_px` (width, height), warm.

    Raises UnknownNameError for an unknown backend and FormatError for weights that it cannot run.
    """
    network = BACKENDS.get(backend)(weights, *size_px, threads)
    descriptor = Descriptor(
        name=str(weights.architecture),
        backend=backend,
        threads=threads,
        weights_sha256=weights_sha256,
        width_px=size_px[0],
        height_px=size_px[1],
        display_width_px=display_px[0],
        display_height_px=display_px[1],
    )
    enhancer = NetworkEnhancer(network, weights.architecture.shown_px(*size_px), descriptor)
    for _ in range(_WARM_UP_FRAMES):
        enhancer.enhance(_grey_frame(*size_px))
    return enhancer


def open_enhancer(
    offer: Offer,
    chunks: Sequence[bytes],
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str = DEFAULT_BACKEND,
    threads: int = 1,
) -> Enhancer:
    """Open what an offer of the enhancement table names.

    chunks: the bytes of `offer.chunks`, in order; none for generic weights, which ship with this program.
    Raises FormatError when the weights are damaged, hostile, or not the ones that the offer was measured with.
    """
    weights = offered_weights(offer, chunks)
    return open_weights(
        weights, offer.weights_sha256, size_px=size_px, display_px=display_px, backend=backend, threads=threads
    )


def offered_weights(offer: Offer, chunks: Sequence[bytes]) -> Weights:
    """The checked weights of an offer. Raises FormatError."""
    if len(chunks) != len(offer.chunks):
        raise FormatError(
            f"{offer.architecture} needs {len(offer.chunks)} chunks of weights; {len(chunks)} were given."
        )
    for chunk, data in zip(offer.chunks, chunks, strict=True):
        verified(data, chunk.sha256, f"The weights {chunk.file}")
    held = tuple(chunks) or catalog.generic_chunks(parse(offer.architecture))
    if weights_digest(held) != offer.weights_sha256:
        raise FormatError(
            f"The title was measured with other weights for {offer.architecture} than this program has: "
            "price the title again with toprung train --generic-only."
        )
    weights = loads_chunks(held, what=offer.architecture)
    if str(weights.architecture) != offer.architecture:
        raise FormatError(f"The weights offered as {offer.architecture} are those of {weights.architecture}.")
    return weights


def _grey_frame(width_px: int, height_px: int) -> Frame:
    chroma = np.full(((height_px + 1) // 2, (width_px + 1) // 2), 128, np.uint8)
    return frame_of(np.full((height_px, width_px), 126, np.uint8), chroma, chroma)
