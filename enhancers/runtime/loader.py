"""Opening enhancers: from an offer of the enhancement table, its weights and the device profile's choice of backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from abr.core.enhancement import Offer, PlanOffer
from abr.core.frame_plan import loads_plan
from abr.errors import FormatError
from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks, verify, weaken, weights_digest
from enhancers.networks.imported import ImportedNetwork, is_imported
from enhancers.networks.plain import parse
from enhancers.runtime.backends import BACKENDS, AnyNetwork, open_chroma
from enhancers.runtime.backends.residual import Adder
from enhancers.runtime.chroma import ChromaLift
from enhancers.runtime.enhancer import Enhancer, EnhancerInfo
from enhancers.runtime.followed_plan import FollowedPlan
from enhancers.runtime.frames import Frame, frame_of
from enhancers.runtime.motion_reuse import MotionReuseEnhancer
from enhancers.runtime.network_enhancer import NetworkEnhancer
from enhancers.runtime.onnx_check import loads_onnx
from enhancers.runtime.planned import PlannedEnhancer

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
    One whose architecture says so runs on some frames only (`enhancers.runtime.motion_reuse`).

    Raises UnknownNameError for an unknown backend and FormatError for weights that it cannot run.
    """
    enhancer = open_network(
        weights, weights_sha256, size_px=size_px, display_px=display_px, backend=backend, threads=threads
    )
    reuse = weights.architecture.reuse
    if reuse == 1:
        return enhancer
    from enhancers.runtime.backends.openvino import OpenVinoSum

    add = OpenVinoSum(*weights.architecture.shown_px(*size_px), threads)
    return MotionReuseEnhancer(enhancer, weights.architecture.scale, reuse, add)


def open_planned(
    exits: Sequence[AnyNetwork],
    weights_sha256: str,
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str | None = None,
    threads: int = 1,
) -> PlannedEnhancer:
    """Open all `exits` of one network, cheapest first, for frames that a plan tells what to do. Raises as open_weights.

    weights_sha256: of the chunks of the deepest.
    """
    opened = [
        open_network(each, weights_sha256, size_px=size_px, display_px=display_px, backend=backend, threads=threads)
        for each in exits
    ]
    architecture = exits[-1].architecture

    def make_adder(width_px: int, height_px: int) -> Adder:
        from enhancers.runtime.backends.openvino import OpenVinoSum

        return OpenVinoSum(width_px, height_px, threads)

    return PlannedEnhancer(opened, architecture.scale, architecture.shown_px(*size_px), make_adder)


def open_network(
    weights: AnyNetwork,
    weights_sha256: str,
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str | None = None,
    threads: int = 1,
) -> NetworkEnhancer:
    """`open_weights` for the network on every frame, whatever its architecture says of reuse."""
    backend = backend or default_backend(weights)
    network = BACKENDS.get(backend)(weights, *size_px, threads)
    descriptor = EnhancerInfo(
        name=str(weights.architecture),
        backend=backend,
        threads=threads,
        weights_sha256=weights_sha256,
        width_px=size_px[0],
        height_px=size_px[1],
        display_width_px=display_px[0],
        display_height_px=display_px[1],
    )
    shown_px = weights.architecture.shown_px(*size_px)
    chroma = _open_chroma(weights, backend, size_px, shown_px, threads)
    enhancer = NetworkEnhancer(network, shown_px, descriptor, chroma)
    for _ in range(_WARM_UP_FRAMES):
        enhancer.enhance(_grey_frame(*size_px))
    return enhancer


def _open_chroma(
    weights: AnyNetwork, backend: str, size_px: tuple[int, int], shown_px: tuple[int, int], threads: int
) -> ChromaLift | None:
    if isinstance(weights, ImportedNetwork) or weights.chroma is None:
        return None
    from enhancers.runtime.backends.openvino import OpenVinoSum

    network = open_chroma(backend, weights, weights.chroma.grid(*size_px), threads)
    add = OpenVinoSum((shown_px[0] + 1) // 2, (shown_px[1] + 1) // 2, threads)
    return ChromaLift(network, weights.chroma, size_px, shown_px, add)


def default_backend(weights: AnyNetwork) -> str:
    """The backend for these weights on a device without a profile."""
    return FOREIGN_BACKENDS[0] if isinstance(weights, ImportedNetwork) else DEFAULT_BACKEND


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
    weights = load_offered_weights(offer, chunks)
    return open_weights(
        weights, offer.weights_sha256, size_px=size_px, display_px=display_px, backend=backend, threads=threads
    )


def open_plan(
    plan: PlanOffer,
    segment_frames: Sequence[int],
    chunks: Sequence[bytes],
    *,
    size_px: tuple[int, int],
    display_px: tuple[int, int],
    backend: str | None = None,
    threads: int = 1,
) -> FollowedPlan:
    """Open what a frame plan of the enhancement table needs, and the plan. Raises FormatError as open_enhancer does.

    chunks: the bytes of `plan.download.chunks`: those of the weights, and the plan behind them.
    """
    *weights, data = chunks
    offer = plan.offer
    load_offered_weights(offer, weights)
    verify(data, plan.file.sha256, f"The frame plan {plan.file.file}")
    followed = loads_plan(data, segment_frames, what=f"The frame plan {plan.file.file}")
    exits = load_exits(tuple(weights) or catalog.generic_chunks(parse(offer.architecture)), offer.strength)
    if followed.weights_sha256 != offer.weights_sha256 or followed.exits != len(exits):
        raise FormatError(f"The frame plan {plan.file.file} was made for other weights than {offer.architecture}.")
    enhancer = open_planned(
        exits, offer.weights_sha256, size_px=size_px, display_px=display_px, backend=backend, threads=threads
    )
    return FollowedPlan(enhancer, followed)


def load_offered_weights(offer: Offer, chunks: Sequence[bytes]) -> AnyNetwork:
    """The checked weights of an offer. Raises FormatError."""
    if len(chunks) != len(offer.chunks):
        raise FormatError(
            f"{offer.architecture} needs {len(offer.chunks)} chunks of weights; {len(chunks)} were given."
        )
    for chunk, data in zip(offer.chunks, chunks, strict=True):
        verify(data, chunk.sha256, f"The weights {chunk.file}")
    weights_chunks = tuple(chunks) or catalog.generic_chunks(parse(offer.architecture))
    if weights_digest(weights_chunks) != offer.weights_sha256:
        raise FormatError(
            f"The title was measured with other weights for {offer.architecture} than this program has: "
            "price the title again with toprung train --generic-only."
        )
    return load_weights(offer.architecture, weights_chunks, offer.strength)


def load_exits(chunks: Sequence[bytes], strength: float = 1.0) -> list[AnyNetwork]:
    """Each exit of the network in these chunks, cheapest first, at this strength. Raises FormatError."""
    depths = [str(loads_chunks(chunks[:count]).architecture) for count in range(1, len(chunks) + 1)]
    return [load_weights(name, chunks[:count], strength) for count, name in enumerate(depths, start=1)]


def load_weights(architecture: str, chunks: Sequence[bytes], strength: float = 1.0) -> AnyNetwork:
    """The checked weights of what is offered under this name, at this strength. Raises FormatError."""
    if is_imported(architecture):
        network = loads_onnx(b"".join(chunks))
        if str(network.architecture) != architecture:
            raise FormatError(f"The network offered as {architecture} is {network.architecture}.")
        if strength != 1.0:
            raise FormatError(f"{architecture} is offered at strength {strength:g}: imported networks have but one.")
        return network
    wanted = parse(architecture)
    weights = loads_chunks(chunks, what=architecture)
    if weights.architecture != wanted.on_every_frame:
        raise FormatError(f"The weights offered as {architecture} are those of {weights.architecture}.")
    return replace(weights if strength == 1.0 else weaken(weights, strength), architecture=wanted)


def _grey_frame(width_px: int, height_px: int) -> Frame:
    chroma = np.full(((height_px + 1) // 2, (width_px + 1) // 2), 128, np.uint8)
    return frame_of(np.full((height_px, width_px), 126, np.uint8), chroma, chroma)
