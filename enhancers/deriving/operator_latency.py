"""What each convolution takes of this machine, by its inputs and outputs: measured in networks, not reckoned by FLOPs.

Eight-bit kernels work on channels in groups: 17 channels take about as long as 24 here, and a convolution with half the
channels takes much more than a quarter of the time. So small networks of all pairs of widths are timed as players run
them, and what each head, block and tail takes is solved for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor

from abr.core.arrays import Floats
from enhancers.networks.checkpoint import Weights
from enhancers.networks.plain import PlainArchitecture
from enhancers.profiling.measuring import display_px
from enhancers.runtime.loader import open_weights
from enhancers.runtime.sample_pictures import make_pictures

GROUP = 8
"""Channels stay or go by so many: vector registers hold them so, and shaders four at a time."""
_RUNS_MIN, _SECONDS = 5, 0.05
_DEEPER = 8
"""Networks of two blocks that are timed beside all of one."""
_ROUNDS = 2
_SOLVER_STEPS = 4000

Latency = Callable[[PlainArchitecture], float]
"""Median milliseconds of a frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OperatorLatency:
    """Milliseconds of operators at one size of frame.

    widths: (K,) channels that were tried, ascending. heads, tails: (K,). blocks: (K, K), inputs × outputs.
    fixed_ms: of a frame beside them, plain scaling included. error: relative, of the networks it was solved from.
    """

    widths: tuple[int, ...]
    heads: Floats
    blocks: Floats
    tails: Floats
    fixed_ms: float
    error: float

    def predict_ms(self, channels: Sequence[int]) -> float:
        """Of a network with these channels behind head and blocks."""
        return float(self.smooth_ms([torch.tensor(float(each)) for each in channels]))

    def smooth_ms(self, channels: Sequence[Tensor]) -> Tensor:
        """The same of numbers between widths, with gradients: straight lines lead from width to width."""
        spread = [self._spread(each) for each in channels]
        heads, blocks, tails = (torch.from_numpy(part).float() for part in (self.heads, self.blocks, self.tails))
        inner = [before @ blocks @ after for before, after in pairwise(spread)]
        return torch.stack([spread[0] @ heads, *inner, spread[-1] @ tails]).sum() + self.fixed_ms

    def _spread(self, channels: Tensor) -> Tensor:
        """(K,) shares of the two widths that a number lies between."""
        knots = torch.tensor(self.widths, dtype=torch.float32)
        place = channels.clamp(self.widths[0], self.widths[-1])
        apart = (place - knots).abs() / GROUP
        return (1 - apart).clamp_min(0)


def measure_operators(
    like: PlainArchitecture, size_px: tuple[int, int], latency: Latency | None = None
) -> OperatorLatency:
    """Times networks of the scale and grid of `like`, up to its width, on frames of this size (width, height).

    Each is timed some times, with all others in between, and its best counts: what else the machine does is no part of
    any operator.
    """
    widths = tuple(range(GROUP, max(GROUP, like.width) + 1, GROUP))
    timed = latency or (lambda network: measure_ms(network, size_px))
    rounds = 1 if latency else _ROUNDS
    picked = random.Random(0).choices(list(product(widths, repeat=3)), k=_DEEPER)
    whole = [(each,) * (like.depth + 1) for each in widths]
    trials: list[tuple[int, ...]] = list(dict.fromkeys([*product(widths, repeat=2), *picked, *whole]))
    times = [[timed(like.with_channels(channels)) for channels in trials] for _ in range(rounds)]
    times_ms = np.min(np.array(times), axis=0)
    return solve_parts(trials, times_ms, widths)


def solve_parts(trials: Sequence[tuple[int, ...]], times_ms: Floats, widths: tuple[int, ...]) -> OperatorLatency:
    """What each part takes, none less than nothing or than its like of fewer channels; errors are relative."""
    count = len(widths)
    steps = np.tril(np.ones((count, count)))  # from what a part takes more than the one before it, to what it takes
    table = np.array([_parts(channels, widths) for channels in trials]) / times_ms[:, None]
    climb = np.zeros((table.shape[1], table.shape[1]))
    climb[0, 0] = 1
    climb[1 : 1 + count, 1 : 1 + count] = climb[1 + count : 1 + 2 * count, 1 + count : 1 + 2 * count] = steps
    climb[1 + 2 * count :, 1 + 2 * count :] = np.kron(steps, steps)
    found = climb @ _solve_positive(table @ climb)
    return OperatorLatency(
        widths=widths,
        fixed_ms=float(found[0]),
        heads=found[1 : 1 + count],
        tails=found[1 + count : 1 + 2 * count],
        blocks=found[1 + 2 * count :].reshape(count, count),
        error=float(np.median(np.abs(table @ found - 1))),
    )


def _solve_positive(table: Floats) -> Floats:
    """Least squares of table @ x ≈ 1 over x ≥ 0, by multiplicative steps (Lee and Seung, NIPS 2001): all are ≥ 0."""
    gram, wanted = table.T @ table, table.sum(axis=0)
    x = np.full(table.shape[1], 1 / max(table.sum(axis=1).mean(), 1e-12))
    for _ in range(_SOLVER_STEPS):
        x *= wanted / np.maximum(gram @ x, 1e-12)
    return x


def measure_ms(network: PlainArchitecture, size_px: tuple[int, int], weights: Weights | None = None) -> float:
    """Milliseconds that a frame of a network keeps the processor, as players run it in one thread: the median.

    weights: by default some that mean nothing. Time that other programs take of the core is left out.
    """
    weights = weights or meaningless(network)
    enhancer = open_weights(weights, "", size_px=size_px, display_px=display_px(size_px, network.scale))
    frames = make_pictures(*size_px)
    times_ms: list[float] = []
    began_s = time.process_time()
    while len(times_ms) < _RUNS_MIN or time.process_time() - began_s < _SECONDS:
        before_s = time.process_time()
        enhancer.enhance(frames[len(times_ms) % len(frames)])
        times_ms.append((time.process_time() - before_s) * 1000)
    return float(np.median(times_ms))


def meaningless(network: PlainArchitecture) -> Weights:
    """Weights that take as long as trained ones."""
    draw = np.random.default_rng(0)
    tensors = {}
    for layer in network.layers:
        kernel = draw.normal(0, 0.05, (layer.outputs, layer.inputs, 3, 3))
        tensors[f"{layer.name}.weight"] = kernel.astype(np.float32)
        tensors[f"{layer.name}.bias"] = np.zeros(layer.outputs, np.float32)
    ranges = {layer.name: 1.0 for layer in network.layers[:-1]}
    return Weights(architecture=network, exits=(network.depth,), tensors=tensors, ranges=ranges)


def _parts(channels: Sequence[int], widths: Sequence[int]) -> Floats:
    """How often a network has each part: the frame, heads, tails, then blocks."""
    count = len(widths)
    parts = np.zeros(1 + 2 * count + count**2)
    parts[0] = 1
    parts[1 + widths.index(channels[0])] = 1
    parts[1 + count + widths.index(channels[-1])] = 1
    for before, after in pairwise(channels):
        parts[1 + 2 * count + widths.index(before) * count + widths.index(after)] += 1
    return parts
