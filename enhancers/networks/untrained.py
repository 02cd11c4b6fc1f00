"""Chroma parts whose weights mean nothing: as much work as trained ones, for measuring speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights

_DEVIATION = 0.05


def add_untrained_chroma(weights: Weights) -> Weights:
    """`weights` with a chroma part, its own if it has one, as a title's network may bring."""
    if weights.chroma:
        return weights
    random = np.random.default_rng(0)
    architecture = catalog.chroma_architecture(weights.architecture.scale)
    tensors = dict(weights.tensors)
    for layer in architecture.layers:
        kernel = random.normal(0, _DEVIATION, (layer.outputs, layer.inputs, 3, 3))
        tensors[f"{layer.name}.weight"] = kernel.astype(np.float32)
        tensors[f"{layer.name}.bias"] = np.zeros(layer.outputs, np.float32)
    ranges = {layer.name: 1.0 for layer in architecture.layers[:-1]}
    return replace(weights, tensors=tensors, ranges=weights.ranges | ranges, chroma=architecture)
