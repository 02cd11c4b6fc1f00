"""AdamW by PyTorch's functional form.

Its class `torch.optim.AdamW` imports PyTorch's compiler when it is made, which nothing here needs: seconds of a core
for each process that trains.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw

_BETAS = (0.9, 0.99)
_EPSILON = 1e-8


class AdamW:
    """AdamW without weight decay (Loshchilov and Hutter 2019, algorithm 2), fused.

    rate: the learning rate of the next step. fast: those of the parameters that learn `fast_times` as fast. state:
    `step`, `exp_avg` and `exp_avg_sq` of each parameter that has had a gradient.
    """

    def __init__(
        self, parameters: Sequence[Tensor], rate: float, *, fast: Collection[Tensor] = (), fast_times: float = 1.0
    ) -> None:
        quick = {id(parameter) for parameter in fast}
        self.parameters = list(parameters)
        self.rate = rate
        self._groups = (
            ([each for each in self.parameters if id(each) not in quick], 1.0),
            ([each for each in self.parameters if id(each) in quick], fast_times),
        )
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Go one step along the gradients. Parameters without one stay."""
        for parameters, times in self._groups:
            self._move([each for each in parameters if each.grad is not None], self.rate * times)

    def _move(self, moved: list[Tensor], rate: float) -> None:
        if not moved:
            return
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
            lr=rate,
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
