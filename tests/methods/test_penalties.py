"""The elastic penalty of EWC and of its ablation."""

from __future__ import annotations

import pytest
import torch

from panda_core.methods.elastic import ElasticPenalty


def parameters(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(3, 2, generator=generator), "b": torch.randn(4, generator=generator)}


def fisher() -> dict[str, torch.Tensor]:
    return {name: value.square() for name, value in parameters(1).items()}


@pytest.mark.parametrize("importance", [None, fisher()])
def test_penalty_and_gradient_are_exactly_zero_at_the_start(importance: dict[str, torch.Tensor] | None) -> None:
    """A first step that the penalty already bends."""
    initial = parameters()
    current = {name: value.clone().requires_grad_(True) for name, value in initial.items()}
    penalty = ElasticPenalty(initial, importance, strength=1e4)(current)
    assert penalty.item() == 0.0
    for gradient in torch.autograd.grad(penalty, list(current.values())):
        assert (gradient == 0).all()


@pytest.mark.parametrize("strength", [1.0, 1e4])
def test_moving_one_weight_costs_half_strength_fisher_square(strength: float) -> None:
    """The half forgotten or taken twice; weights paired with the Fisher values of others."""
    initial, importance = parameters(), fisher()
    for name, value in initial.items():
        for place in range(value.numel()):
            moved = {key: item.clone() for key, item in initial.items()}
            moved[name].view(-1)[place] += 0.01
            found = ElasticPenalty(initial, importance, strength=strength)(moved).item()
            assert found == pytest.approx(strength / 2 * importance[name].view(-1)[place].item() * 0.01**2, rel=1e-3)
            equal = ElasticPenalty(initial, None, strength=strength)(moved).item()
            assert equal == pytest.approx(strength / 2 * 0.01**2, rel=1e-3)


def test_penalty_is_the_slow_sum() -> None:
    """A term left out."""
    initial, current, importance = parameters(), parameters(2), fisher()
    slow = sum(
        float(f) * (float(now) - float(then)) ** 2
        for name in initial
        for f, now, then in zip(
            importance[name].flatten(), current[name].flatten(), initial[name].flatten(), strict=True
        )
    )
    assert ElasticPenalty(initial, importance, strength=7.0)(current).item() == pytest.approx(3.5 * slow, rel=1e-5)


def test_strength_zero_costs_nothing() -> None:
    """A penalty that cannot be switched off."""
    assert ElasticPenalty(parameters(), fisher(), strength=0.0)(parameters(2)).item() == 0.0


def test_the_start_is_remembered_not_referred_to() -> None:
    """Initial weights that are the live ones: the penalty would be zero for ever."""
    live = parameters()
    penalty = ElasticPenalty(live, None, strength=2.0)
    live["b"] += 1
    assert penalty(live).item() == pytest.approx(4.0)


def test_names_must_match() -> None:
    """A Fisher diagonal of another cut, silently used for some weights."""
    with pytest.raises(ValueError, match="same names"):
        ElasticPenalty(parameters(), {"b": torch.ones(4)}, strength=1.0)
