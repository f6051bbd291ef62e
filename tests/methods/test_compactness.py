"""The adaptation objective: its formula, its gradient, and the collapse it allows."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from panda_core.methods.compactness import compactness_loss


def sample(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_loss_is_the_released_codes() -> None:
    """A sum for a mean, or D forgotten: the balance against the EWC penalty would be another. By hand, B = D = 2."""
    features, center = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([1.0, 1.0])
    assert compactness_loss(features, center).item() == ((0 + 1) / 2 + (4 + 16) / 2) / 2
    x, c = sample(9, 5), sample(1, 5)[0]
    slow = sum(float(((row - c) ** 2).sum()) / 5 for row in x) / 9
    torch.testing.assert_close(compactness_loss(x, c).item(), slow)


def test_loss_at_the_start_is_the_trace_of_the_covariance_over_the_width() -> None:
    """A center that is not the mean of the unadapted features."""
    x = sample(40, 6)
    trace = np.trace(np.cov(x.numpy(), rowvar=False, bias=True))
    torch.testing.assert_close(compactness_loss(x, x.mean(dim=0)).item(), float(trace) / 6)


def test_gradient_equals_finite_differences() -> None:
    """A gradient through a detached or repeated term."""
    x, center = sample(4, 3).requires_grad_(True), sample(1, 3)[0] + 1
    assert torch.autograd.gradcheck(lambda features: compactness_loss(features, center), (x,))
    (gradient,) = torch.autograd.grad(compactness_loss(x, center), x)
    torch.testing.assert_close(gradient, 2 * (x - center) / x.numel())


def test_a_collapsed_layer_has_no_loss() -> None:
    """The reason for all stop rules: zero weights and a bias at the center solve the problem, and say nothing."""
    x, center = sample(20, 6).float(), torch.arange(4.0)
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(center)
        assert compactness_loss(layer(x), center).item() == 0.0


def test_training_a_layer_collapses_its_features() -> None:
    """A loss that falls without pulling features together: spread must go to zero with it."""
    x = sample(50, 6).float()
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    center = layer(x).mean(dim=0).detach()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.3, momentum=0.9)
    spreads = []
    for _ in range(200):
        features = layer(x)
        spreads.append(features.var(dim=0).sum().item())
        optimiser.zero_grad()
        compactness_loss(features, center).backward()
        optimiser.step()
    assert spreads[20] < spreads[0]
    assert spreads[-1] < 1e-6 * spreads[0]
