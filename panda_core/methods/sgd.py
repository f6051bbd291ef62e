"""Stochastic gradient descent without the import of torch's compiler."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd


class SGD:
    """`torch.optim.SGD`, bit for bit, by the same function of torch.

    torch's own class imports torch's compiler when it is made, which nothing here uses: two seconds and 70 MB of every
    process that trains.

    param_groups: one group of parameters and their learning rate. state: by parameter, "momentum_buffer" as soon as
    there is one.
    """

    def __init__(
        self, parameters: list[Tensor], *, lr: float, momentum: float, weight_decay: float, nesterov: bool = False
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": parameters, "lr": lr}]
        self.state: dict[Tensor, dict[str, Tensor]] = {value: {} for value in parameters}
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for value in self.state:
            value.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        moved = [(value, value.grad) for value in self.state if value.grad is not None]
        buffers = [self.state[value].get("momentum_buffer") for value, _ in moved]
        sgd(
            [value for value, _ in moved],
            [gradient for _, gradient in moved],
            buffers,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.param_groups[0]["lr"],
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )
        for (value, _), buffer in zip(moved, buffers, strict=True):
            if buffer is not None:
                self.state[value]["momentum_buffer"] = buffer


Optimiser = SGD | torch.optim.Optimizer
