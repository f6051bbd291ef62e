"""The optimiser: torch's own, to the bit, without torch's compiler."""

from __future__ import annotations

import pytest
import torch

from panda_core.methods.sgd import SGD


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("nesterov", [False, True])
def test_it_is_torchs_own_bit_for_bit(momentum: float, weight_decay: float, nesterov: bool) -> None:
    """Another sign, order or buffer; a parameter without a gradient that moves; a rate that cannot be changed."""
    nesterov = nesterov and momentum > 0

    def moved(own: bool) -> list[torch.Tensor]:
        rng = torch.Generator().manual_seed(0)
        values = [torch.randn(size, generator=rng).requires_grad_() for size in ((3, 4), (5,), (2,))]
        settings = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        optimiser = SGD(values, **settings) if own else torch.optim.SGD(values, **settings)  # type: ignore[arg-type]
        for step in range(4):
            optimiser.zero_grad()
            sum(value.pow(3).sum() for value in values[: 2 if step else 1]).backward()  # type: ignore[union-attr]
            optimiser.param_groups[0]["lr"] = 0.1 / (1 + step)
            optimiser.step()
        buffers = [
            slots["momentum_buffer"] for slots in optimiser.state.values() if slots.get("momentum_buffer") is not None
        ]
        assert len(buffers) == (2 if momentum else 0)
        return [*values, *buffers]

    for ours, theirs in zip(moved(own=True), moved(own=False), strict=True):
        assert torch.equal(ours, theirs)
