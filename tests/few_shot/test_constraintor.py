"""The constraintor's losses: closed forms, limits, and what the last ReLU cannot give back."""

from __future__ import annotations

import math

import pytest
import torch

from panda_core.few_shot.constraintor import Constraintor, amplitude, hypersphere_loss, shell_loss

NORMAL, ABNORMAL = torch.tensor([False]), torch.tensor([True])


def of_amplitude(value: float, width: int = 4) -> torch.Tensor:
    """Return one residual whose A is `value`."""
    return torch.full((1, width), ((value + 1) ** 2 - 1) / math.sqrt(width))


def test_amplitude_takes_the_length_unsquared() -> None:
    """The usual pseudo-Huber form, sqrt(|r|^2 + 1) - 1, in place of the released one."""
    assert amplitude(torch.tensor([[3.0, 4.0]])).item() == pytest.approx(math.sqrt(6) - 1, rel=1e-5)


def test_amplitude_has_a_finite_slope_at_zero() -> None:
    """One image that is its own reference and turns all weights into NaN."""
    zero = torch.zeros(2, 3, requires_grad=True)
    amplitude(zero).sum().backward()
    assert zero.grad is not None and torch.isfinite(zero.grad).all()


@pytest.mark.parametrize(("value", "inside"), [(0.398, True), (0.3999, True), (0.42, False), (0.38, False)])
def test_the_shell_is_free_between_its_radii(value: float, inside: bool) -> None:
    """A ball instead of a shell: normals near the centre must be pushed out, those between the radii left alone."""
    one = of_amplitude(value)
    loss = shell_loss(one, one, NORMAL).item()
    assert (loss == 0) == inside and loss >= 0


def test_the_shell_stays_below_the_nearest_abnormal() -> None:
    """A radius that ignores the batch's abnormal positions: it is 0.9 of the smallest A where that is under 0.4."""
    residuals = torch.cat([of_amplitude(0.179), of_amplitude(0.2)])
    free = shell_loss(residuals, residuals, torch.tensor([False, True]))
    pushed = torch.cat([of_amplitude(0.3), of_amplitude(0.2)])
    assert shell_loss(pushed, pushed, torch.tensor([False, True])) > free


def test_abnormals_are_to_stay_as_they_were() -> None:
    """A loss that draws abnormal residuals to the centre with the normal ones."""
    residuals = of_amplitude(0.8)
    for loss in (hypersphere_loss, shell_loss):
        assert loss(residuals, residuals, ABNORMAL).item() == pytest.approx(0, abs=1e-6)
        assert loss(0.5 * residuals, residuals, ABNORMAL) > 0.01


def test_the_hypersphere_draws_normals_to_its_centre() -> None:
    """A loss that grows towards the centre, or that compares normals with what they were."""
    residuals = of_amplitude(0.8)
    losses = [hypersphere_loss(share * residuals, residuals, NORMAL).item() for share in (1.0, 0.5, 0.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(0.8, rel=1e-5)
    assert losses[2] == pytest.approx(0, abs=1e-5)


def test_signed_residuals_can_stay_negative() -> None:
    """The released code's last ReLU on signed residuals, which abnormal ones could never get through unchanged."""
    residuals = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    signed, squared = (Constraintor(4, positive=positive)(residuals) for positive in (False, True))
    assert (signed < 0).any()
    assert (squared >= 0).all()


def test_a_new_constraintor_changes_nothing_but_the_scale() -> None:
    """Random weights at the start, which a few hundred steps do not bring near the identity."""
    residuals = torch.randn(4, 9, 3, 3, generator=torch.Generator().manual_seed(0))
    found = Constraintor(9, positive=False).eval()(residuals)
    assert torch.allclose(found, residuals / 3, atol=1e-4)
