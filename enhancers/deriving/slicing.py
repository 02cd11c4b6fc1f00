"""Takes channels out of collapsed weights: what is left is a smaller network of the same family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from enhancers.deriving.budget import Budget
from enhancers.deriving.costs import CostModel
from enhancers.deriving.operator_latency import GROUP
from enhancers.networks.plain import PlainArchitecture


def choose_channels(worth: Sequence[Tensor], costs: CostModel, budget: Budget) -> list[Tensor]:
    """The channels that stay of each layer, as indices in their order: a multiple of GROUP, within the budget.

    worth: of each channel of head and blocks. Groups go one after the other, first those that are worth least for what
    they save; what the last of them has made room for comes back.
    """
    counts = [len(each) for each in worth]
    while not costs.fits(counts, budget):
        layer = _cheapest_cut(worth, counts, costs, budget)
        if layer is None:
            break
        counts[layer] -= GROUP
    while (layer := _best_return(worth, counts, costs, budget)) is not None:
        counts[layer] += GROUP
    return [each.topk(count).indices.sort().values for each, count in zip(worth, counts, strict=True)]


def slice_channels(
    architecture: PlainArchitecture, tensors: Mapping[str, Tensor], kept: Sequence[Tensor]
) -> tuple[PlainArchitecture, dict[str, Tensor]]:
    """The network of these channels alone, and its collapsed weights. kept: indices, of head and each block."""
    smaller = architecture.with_channels([len(each) for each in kept])
    sliced = {}
    layers = (architecture.head, *architecture.blocks, architecture.tail)
    inputs: Sequence[Tensor | None] = [None, *kept]
    outputs: Sequence[Tensor | None] = [*kept, None]
    for layer, reads, gives in zip(layers, inputs, outputs, strict=True):
        weight, bias = tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"]
        weight = weight if gives is None else weight[gives]
        sliced[f"{layer.name}.weight"] = (weight if reads is None else weight[:, reads]).contiguous()
        sliced[f"{layer.name}.bias"] = bias if gives is None else bias[gives]
    return smaller, sliced


def inherit(network: PlainArchitecture, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A wider network's weights cut to the channels of this one: those of the largest weights stay.

    Head and blocks, and the tail where that network has an exit at this depth.
    """
    reads: Tensor | None = None
    cut = {}
    for layer in (network.head, *network.blocks):
        weight, bias = tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"]
        kept = weight.flatten(1).norm(dim=1).topk(layer.outputs).indices.sort().values
        cut[f"{layer.name}.weight"] = (weight if reads is None else weight[:, reads])[kept]
        cut[f"{layer.name}.bias"] = bias[kept]
        reads = kept
    tail = network.tail.name
    if f"{tail}.weight" in tensors:
        cut[f"{tail}.weight"], cut[f"{tail}.bias"] = tensors[f"{tail}.weight"][:, reads], tensors[f"{tail}.bias"]
    return cut


def _cheapest_cut(worth: Sequence[Tensor], counts: Sequence[int], costs: CostModel, budget: Budget) -> int | None:
    """The layer whose least group is worth least for what it saves of the budget; None when nothing can go."""

    def taken(channels: Sequence[int]) -> float:
        shares = costs.shares([torch.tensor(float(each)) for each in channels], budget)
        return float(torch.relu(shares - 1).sum())

    before, rated = taken(counts), []
    for layer, count in enumerate(counts):
        if count > GROUP:
            less = [each - GROUP if index == layer else each for index, each in enumerate(counts)]
            ordered = worth[layer].sort(descending=True).values
            lost = float(ordered[count - GROUP : count].sum())
            rated.append((lost / max(before - taken(less), 1e-9), layer))
    return min(rated)[1] if rated else None


def _best_return(worth: Sequence[Tensor], counts: Sequence[int], costs: CostModel, budget: Budget) -> int | None:
    """The layer to which the group that is worth most can come back within the budget; None when none can."""
    rated = []
    for layer, count in enumerate(counts):
        more = [each + GROUP if index == layer else each for index, each in enumerate(counts)]
        if count < len(worth[layer]) and costs.fits(more, budget):
            ordered = worth[layer].sort(descending=True).values
            rated.append((float(ordered[count : count + GROUP].sum()), layer))
    return max(rated)[1] if rated else None
