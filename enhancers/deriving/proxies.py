"""What networks promise before any training, in numbers that cost a forward and a backward pass (zero-cost proxies).

    synflow  how well signals pass: Σ |θ · ∂R/∂θ| of a network of absolute weights on a picture of ones (Tanaka et al.,
             NeurIPS 2020), its logarithm
    nwot     how differently patches are seen: log |det| of the kernel of which ReLUs are on (Mellor et al., ICML 2021)
    grad     how much a first step would change: the norm of the loss' gradient on real patches (Abdelfattah et al.,
             ICLR 2021), its logarithm
    refit    how much of what is missing the teacher's first blocks tell, cut to these channels: they stay as they are,
             and the last convolution, which is linear, is solved for on half of the patches; minus the logarithm of
             the error that is left on the others

They rank only what takes the device as long: without that they mostly count parameters. The first three know nothing
of the teacher that a network inherits from. How far each can be trusted stands in BENCHMARKS.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from enhancers.deriving.slicing import inherit
from enhancers.deriving.tails import pictures, solve_tail
from enhancers.networks.checkpoint import Weights
from enhancers.networks.plain import PlainArchitecture
from enhancers.networks.plain_torch import PlainTrunk
from enhancers.training.patches import PatchBatch

Proxy = Callable[[PlainArchitecture, PatchBatch, Weights, int], float]
"""(network, patches, teacher, seed) → a score; more promises more."""

_RIDGE = 1e-3


def synflow(network: PlainArchitecture, batch: PatchBatch, teacher: Weights, seed: int) -> float:
    """See above."""
    trunk = _fresh(network, seed)
    weights = {name: tensor.abs().double().requires_grad_() for name, tensor in trunk.collapse().items()}
    x = torch.ones(1, network.squeeze**2, 16, 16, dtype=torch.float64)
    for layer in network.layers:
        x = functional.conv2d(x, weights[f"{layer.name}.weight"], padding=1)
    kernels = [weights[f"{layer.name}.weight"] for layer in network.layers]
    gradients = torch.autograd.grad(x.sum(), kernels)
    return float(
        torch.stack([(g * k).abs().sum() for g, k in zip(gradients, kernels, strict=True)]).sum().log().detach()
    )


def nwot(network: PlainArchitecture, batch: PatchBatch, teacher: Weights, seed: int) -> float:
    """See above."""
    codes: list[Tensor] = []
    trunk = _fresh(network, seed)
    for conv in (trunk.head, *trunk.blocks):
        conv.register_forward_hook(lambda _module, _inputs, output: codes.append((output > 0).flatten(1)))
    with torch.no_grad():
        trunk(pictures(batch.low))
    on = torch.cat(codes, 1).double()
    alike = (on @ on.T + (1 - on) @ (1 - on).T) / on.shape[1]
    return float(torch.linalg.slogdet(alike + _RIDGE * torch.eye(len(alike))).logabsdet)


def grad(network: PlainArchitecture, batch: PatchBatch, teacher: Weights, seed: int) -> float:
    """See above."""
    trunk = _fresh(network, seed)
    wanted = pictures(batch.target) - pictures(batch.plain)
    functional.l1_loss(trunk(pictures(batch.low))[0], wanted).backward()  # type: ignore[no-untyped-call]
    norms = [each.grad.norm() for each in trunk.parameters() if each.grad is not None]
    return float(torch.stack(norms).norm().log())


def refit(network: PlainArchitecture, batch: PatchBatch, teacher: Weights, seed: int) -> float:
    """See above."""
    tensors = {name: torch.from_numpy(tensor) for name, tensor in teacher.tensors.items()}
    _, error = solve_tail(network, inherit(network, tensors), batch)
    return -math.log(error)


PROXIES: dict[str, Proxy] = {"synflow": synflow, "nwot": nwot, "grad": grad, "refit": refit}


def _fresh(network: PlainArchitecture, seed: int) -> PlainTrunk:
    trunk = PlainTrunk(network, (network.depth,), seed)
    assert isinstance(trunk, nn.Module)
    return trunk
