"""Opening enhancers: from an offer of the enhancement table, its weights and the device profile's choice of backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from abr.enhancement import Offer
from abr.errors import FormatError
from enhancers import catalog
from enhancers.architectures.foreign import is_foreign
from enhancers.architectures.plain import parse
from enhancers.backends import BACKENDS, AnyNetwork
from enhancers.base import Descriptor, Enhancer
from enhancers.checkpoint import loads_chunks, verified, weights_digest
from enhancers.foreign import Foreign, loads_onnx
from enhancers.frames import Frame, frame_of
from enhancers.network import NetworkEnhancer
from enhancers.reuse import ReusingEnhancer

DEFAULT_BACKEND = "openvino-int8"
FOREIGN_BACKENDS = ("openvino-fp32", "openvino-bf16")
"""For imported networks, which are not calibrated for eight bits; the first is the usual one."""
_WARM_UP_FRAMES = 2


def open_weights(
    weights: AnyNetwork,
    weights_sha256: str,
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str | None = None,
    threads: int = 1,
) -> Enhancer:
    """Open the deepest exit of `weights` for frames of `size_px` shown at `display_px` (width, height), warm.

    backend: the usual one of its kind by default.
    One whose architecture says so runs on some frames only (`enhancers.reuse`).

    Raises UnknownNameError for an unknown backend and FormatError for weights that it cannot run.
    """
    backend = backend or usual_backend(weights)
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
    reuse = weights.architecture.reuse
    if reuse == 1:
        return enhancer
    from enhancers.backends.openvino import OpenVinoSum

    add = OpenVinoSum(*weights.architecture.shown_px(*size_px), threads)
    return ReusingEnhancer(enhancer, weights.architecture.scale, reuse, add)


def usual_backend(weights: AnyNetwork) -> str:
    """What runs these weights where nothing was measured."""
    return FOREIGN_BACKENDS[0] if isinstance(weights, Foreign) else DEFAULT_BACKEND


def open_enhancer(
    offer: Offer,
    chunks: Sequence[bytes],
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str | None = None,
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


def offered_weights(offer: Offer, chunks: Sequence[bytes]) -> AnyNetwork:
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
    return weights_as(offer.architecture, held)


def weights_as(architecture: str, chunks: Sequence[bytes]) -> AnyNetwork:
    """The checked weights of what is offered under this name. Raises FormatError."""
    if is_foreign(architecture):
        network = loads_onnx(b"".join(chunks))
        if str(network.architecture) != architecture:
            raise FormatError(f"The network offered as {architecture} is {network.architecture}.")
        return network
    wanted = parse(architecture)
    weights = loads_chunks(chunks, what=architecture)
    if weights.architecture != wanted.on_every_frame:
        raise FormatError(f"The weights offered as {architecture} are those of {weights.architecture}.")
    return replace(weights, architecture=wanted)


def _grey_frame(width_px: int, height_px: int) -> Frame:
    chroma = np.full(((height_px + 1) // 2, (width_px + 1) // 2), 128, np.uint8)
    return frame_of(np.full((height_px, width_px), 126, np.uint8), chroma, chroma)
