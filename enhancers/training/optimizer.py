"""AdamW by PyTorch's functional form.

Its class `torch.optim.AdamW` imports PyTorch's compiler when it is made, which nothing here needs: seconds of a core
for each process that trains.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_BETAS = (0.9, 0.99)
_EPSILON = 1e-8


class AdamW:
    """AdamW without weight decay (Loshchilov and Hutter 2019, algorithm 2), fused.

    rate: the learning rate of the next step. state: `step`, `exp_avg` and `exp_avg_sq` of each parameter that has had
    a gradient.
    """

    def __init__(self, parameters: Sequence[Tensor], rate: float) -> None:
        self.parameters = list(parameters)
        self.rate = rate
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Go one step along the gradients. Parameters without one stay."""
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        states = [self.state.get(parameter) or self._begin(parameter) for parameter in moved]
        adamw(
            moved,
            [parameter.grad for parameter in moved if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=self.rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )

    def _begin(self, parameter: Tensor) -> dict[str, Tensor]:
        self.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        return self.state[parameter]
