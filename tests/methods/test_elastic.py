"""Holding weights: the penalty and the Fisher diagonal, each against its slow sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from panda_core.backbones import find_backbone
from panda_core.methods.elastic import ElasticPenalty, fisher_diagonal


def parameters(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(3, 2, generator=generator), "b": torch.randn(4, generator=generator)}


def importances() -> dict[str, torch.Tensor]:
    return {name: value.square() for name, value in parameters(1).items()}


@pytest.mark.parametrize("importance", [None, importances()])
def test_penalty_and_gradient_are_exactly_zero_at_the_start(importance: dict[str, torch.Tensor] | None) -> None:
    """A first step that the penalty already bends."""
    initial = parameters()
    current = {name: value.clone().requires_grad_(True) for name, value in initial.items()}
    penalty = ElasticPenalty(initial, importance, strength=1e4, implicit=False)(current)
    assert penalty.item() == 0.0
    for gradient in torch.autograd.grad(penalty, list(current.values())):
        assert (gradient == 0).all()


@pytest.mark.parametrize("strength", [1.0, 1e4])
def test_moving_one_weight_costs_half_strength_fisher_square(strength: float) -> None:
    """The half forgotten or taken twice; weights paired with the Fisher values of others."""
    initial, importance = parameters(), importances()
    for name, value in initial.items():
        for place in range(value.numel()):
            moved = {key: item.clone() for key, item in initial.items()}
            moved[name].view(-1)[place] += 0.01
            found = ElasticPenalty(initial, importance, strength=strength, implicit=False)(moved).item()
            assert found == pytest.approx(strength / 2 * importance[name].view(-1)[place].item() * 0.01**2, rel=1e-3)
            equal = ElasticPenalty(initial, None, strength=strength, implicit=False)(moved).item()
            assert equal == pytest.approx(strength / 2 * 0.01**2, rel=1e-3)


def test_penalty_is_the_slow_sum() -> None:
    """A term left out."""
    initial, current, importance = parameters(), parameters(2), importances()
    slow = sum(
        float(f) * (float(now) - float(then)) ** 2
        for name in initial
        for f, now, then in zip(
            importance[name].flatten(), current[name].flatten(), initial[name].flatten(), strict=True
        )
    )
    assert ElasticPenalty(initial, importance, strength=7.0, implicit=False)(current).item() == pytest.approx(
        3.5 * slow, rel=1e-5
    )


def test_strength_zero_costs_nothing() -> None:
    """A penalty that cannot be switched off."""
    assert ElasticPenalty(parameters(), importances(), strength=0.0, implicit=False)(parameters(2)).item() == 0.0


def test_the_start_is_remembered_not_referred_to() -> None:
    """Initial weights that are the live ones: the penalty would be zero for ever."""
    live = parameters()
    penalty = ElasticPenalty(live, None, strength=2.0, implicit=False)
    live["b"] += 1
    assert penalty(live).item() == pytest.approx(4.0)


def test_names_must_match() -> None:
    """A Fisher diagonal of another cut, silently used for some weights."""
    with pytest.raises(ValueError, match="same names"):
        ElasticPenalty(parameters(), {"b": torch.ones(4)}, strength=1.0, implicit=False)


def pulled(strength: float, rate: float = 0.3, importance: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Return how far (7,) weights that have moved lie from their start after one pull, F as given or all alike."""
    initial, current = parameters(), parameters(2)
    ElasticPenalty(initial, importance, strength=strength, implicit=True).pull(current, rate)
    return torch.cat([(current[name] - initial[name]).flatten() for name in initial])


@pytest.mark.parametrize("importance", [None, importances()])
def test_a_pull_is_the_proximal_step_of_the_penalty(importance: dict[str, torch.Tensor] | None) -> None:
    """Another step than the implicit one: its gradient must be zero, rate * d penalty + (end - begin) = 0."""
    initial, begin = parameters(), parameters(2)
    end = {name: value.clone() for name, value in begin.items()}
    penalty = ElasticPenalty(initial, importance, strength=7.0, implicit=True)
    penalty.pull(end, 0.3)
    end = {name: value.requires_grad_(True) for name, value in end.items()}
    gradients = torch.autograd.grad(penalty(end), list(end.values()))
    for gradient, after, before in zip(gradients, end.values(), begin.values(), strict=True):
        torch.testing.assert_close(0.3 * gradient + after - before, torch.zeros_like(after), atol=1e-5, rtol=0)


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(1e-6, 1e3))
def test_a_firmer_pull_leaves_weights_nearer_and_never_overshoots(one: float, other: float, rate: float) -> None:
    """Weights that bounce over their start: what a high strength did where it was part of the clipped gradient."""
    free = pulled(0.0)
    loose, firm = pulled(min(one, other), rate, importances()), pulled(max(one, other), rate, importances())
    assert (firm.abs() <= loose.abs() + 1e-6).all() and (loose.abs() <= free.abs() + 1e-6).all()
    assert (firm * free >= 0).all()


def test_the_firmest_pull_is_the_start_and_none_at_all_is_exact() -> None:
    """NaN at the largest strength; strength 0 that rounds the weights it does not touch."""
    torch.testing.assert_close(pulled(1e12), torch.zeros(10), atol=1e-9, rtol=0)
    current = parameters(2)
    ElasticPenalty(parameters(), importances(), strength=0.0, implicit=True).pull(current, 0.3)
    assert all(torch.equal(current[name], value) for name, value in parameters(2).items())


def test_loss_and_pull_settle_where_loss_plus_penalty_is_smallest() -> None:
    """A strength that weighs loss and penalty otherwise than the paper's sum of both does."""
    torch.manual_seed(0)
    target, live = torch.randn(5, dtype=torch.double), {"w": torch.zeros(5, dtype=torch.double)}
    importance = {"w": torch.rand(5, dtype=torch.double)}
    penalty = ElasticPenalty(live, importance, strength=3.0, implicit=True)
    for _ in range(400):
        live["w"] -= 0.2 * (live["w"] - target)  # the gradient of |w - target|^2 / 2
        penalty.pull(live, 0.2)
    live["w"].requires_grad_(True)
    total = (live["w"] - target).square().sum() / 2 + penalty(live)
    (gradient,) = torch.autograd.grad(total, [live["w"]])
    assert gradient.abs().max() < 1e-9


CPU = torch.device("cpu")
LABELS = np.array([0, 2, 1, 1, 0, 2])


def inputs(count: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2, 2, 1)).astype(np.float32)


def softmax_model(make: Callable[..., Any]) -> Any:
    """Return a network that is one linear softmax layer of four inputs and three classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tail = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return make(tail=tail, classifier=nn.Identity(), level_widths=(3,))


def fisher(
    network: Any, values: np.ndarray, labels: np.ndarray | None, seed: int = 0, together: int | None = None
) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    computing = fisher_diagonal(network, values, labels, rng=rng, device=CPU, together=together)
    done = []
    while True:
        try:
            done.append(next(computing))
        except StopIteration as end:
            assert len(done) == len(values)
            return end.value


def test_closed_form_of_a_softmax_layer(tiny_network: Callable[..., Any]) -> None:
    """Squares of a batch's mean gradient, a wrong loss, or a wrong average: F = mean (p - y)^2 x^2."""
    network = softmax_model(tiny_network)
    x = inputs()[..., 0].transpose(0, 1, 2).reshape(6, 4).astype(np.float64)
    weight, bias = (value.detach().double().numpy() for value in network.tail.parameters())
    logits = x @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (p - np.eye(3)[LABELS]) ** 2
    found = fisher(network, inputs(), LABELS)
    np.testing.assert_allclose(found["1.weight"].numpy(), np.einsum("nc,nd->cd", error, x**2) / 6, rtol=1e-4)
    np.testing.assert_allclose(found["1.bias"].numpy(), error.mean(axis=0), rtol=1e-4)


def test_two_halves_average_to_the_whole(tiny_network: Callable[..., Any]) -> None:
    """A diagonal that depends on how the images were batched."""
    network = softmax_model(tiny_network)
    whole = fisher(network, inputs(), LABELS)
    halves = [fisher(network, inputs()[rows], LABELS[rows]) for rows in (slice(0, 3), slice(3, 6))]
    for name, value in whole.items():
        torch.testing.assert_close((halves[0][name] + halves[1][name]) / 2, value)


def test_it_equals_autograd_on_a_network_with_layers(tiny_network: Callable[..., Any]) -> None:
    """Gradients of one weight stored under another's name; BatchNorm of a batch of one in training mode."""
    network = tiny_network()
    network.tail.requires_grad_(True)
    values = np.abs(np.random.default_rng(1).normal(size=(3, 4, 7, 7))).astype(np.float16)
    labels = np.array([9, 0, 4])
    expected = {name: torch.zeros_like(value) for name, value in network.tail.named_parameters()}
    for row, label in zip(values, labels, strict=True):
        network.tail.zero_grad()
        features = network.tail(torch.from_numpy(row[None].astype(np.float32)))
        F.cross_entropy(network.classifier(features[:, 6:]), torch.tensor([label])).backward()
        for name, value in network.tail.named_parameters():
            expected[name] += value.grad.square() / 3
    found = fisher(network, values, labels)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape and (found[name] >= 0).all()
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("key", ["efficientnet_lite0", "tiny"])
def test_images_together_give_the_same_diagonal(key: str, drawn: bool, tiny_network: Callable[..., Any]) -> None:
    """Squares of a mean gradient; other labels drawn, or progress told otherwise, where a GPU takes several at once."""
    network = tiny_network() if key == "tiny" else find_backbone(key).load("blocks.4")
    network.tail.requires_grad_(True)
    shape = (4, 7, 7) if key == "tiny" else (112, 4, 4)
    values = np.abs(np.random.default_rng(1).normal(size=(5, *shape))).astype(np.float16)
    labels = None if drawn else np.array([9, 0, 4, 4, 1])
    alone, together = fisher(network, values, labels), fisher(network, values, labels, together=3)
    assert set(alone) == set(together)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=float(value.max()) * 1e-4)


def test_no_path_means_zero_and_frozen_means_absent(tiny_network: Callable[..., Any]) -> None:
    """A failure on weights that the logits do not see, or Fisher values for weights that never move."""

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.frozen = nn.Linear(4, 3), nn.Linear(4, 2), nn.Linear(4, 3)
            self.frozen.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            return torch.cat([self.unused(x), self.used(x) + self.frozen(x)], dim=1)

    network = tiny_network(tail=Tail(), classifier=nn.Identity(), level_widths=(2, 3))
    found = fisher(network, inputs(), LABELS)
    assert set(found) == {"used.weight", "used.bias", "unused.weight", "unused.bias"}
    assert (found["unused.weight"] == 0).all() and (found["used.weight"] > 0).any()


def test_drawn_labels_are_reproducible_and_follow_the_prediction(tiny_network: Callable[..., Any]) -> None:
    """The most likely label taken for a drawn one, which would make F far too small; or a draw without a seed."""
    network, values = softmax_model(tiny_network), np.repeat(inputs(1), 1500, axis=0)
    few, again, other = (fisher(network, values[:100], None, seed=seed)["1.bias"] for seed in (3, 3, 4))
    assert torch.equal(few, again) and not torch.equal(few, other)
    first = fisher(network, values, None, seed=3)
    with torch.no_grad():
        p = network.tail(torch.from_numpy(values[:1]))[0].softmax(dim=0).double()
    expected = p * (1 - p)  # of a drawn label: the variance of a Bernoulli
    torch.testing.assert_close(first["1.bias"].double(), expected, rtol=0.1, atol=0.01)
