"""The mean-shifted contrastive loss and its random views."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from panda_core.methods.mean_shifted import angular_loss, contrastive_loss, shifted
from panda_core.methods.random_views import random_view
from panda_core.metrics import auroc
from panda_core.scoring.table import find_scorer


def units(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow(first: torch.Tensor, second: torch.Tensor, temperature: float) -> float:
    """Return NT-Xent, written out."""
    both = torch.cat([first, second]).double()
    total, count = 0.0, len(first)
    for place in range(2 * count):
        terms = [math.exp(float(both[place] @ both[other]) / temperature) for other in range(2 * count)]
        positive = terms[(place + count) % (2 * count)]
        total -= math.log(positive / (sum(terms) - terms[place]))
    return total / (2 * count)


def test_the_loss_is_its_slow_twin() -> None:
    """The image itself left in the denominator, the positive taken out of it, or the wrong partner."""
    first, second = units(5, 7), units(5, 7, seed=1)
    assert contrastive_loss(first, second, 0.25).item() == pytest.approx(slow(first, second, 0.25), rel=1e-5)


def test_equal_views_of_two_orthogonal_images() -> None:
    """The hand case: -log(e^4 / (e^4 + 2)) at a temperature of 0.25."""
    theta = torch.eye(2)
    expected = -math.log(math.exp(4) / (math.exp(4) + 2))
    assert contrastive_loss(theta, theta, 0.25).item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_one_has_nothing_to_contrast() -> None:
    """A last batch of one image: NaN instead of a loss of 0."""
    assert contrastive_loss(units(1, 4), units(1, 4, seed=1), 0.25).item() == pytest.approx(0, abs=1e-6)


def test_without_a_shift_it_is_the_ordinary_loss_and_a_turn_changes_nothing() -> None:
    """A shift that does something at c = 0, or a loss that knows the axes."""
    first, second, center = units(6, 5), units(6, 5, seed=1), 0.3 * units(1, 5, seed=2)[0]
    nothing = torch.zeros(5)
    plain = contrastive_loss(first, second, 0.25)
    torch.testing.assert_close(contrastive_loss(shifted(first, nothing), shifted(second, nothing), 0.25), plain)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(3))).Q
    before = contrastive_loss(shifted(first, center), shifted(second, center), 0.25)
    after = contrastive_loss(shifted(first @ turn, center @ turn), shifted(second @ turn, center @ turn), 0.25)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


def test_the_shift_spreads_the_angles_of_a_tight_cluster() -> None:
    """A center of raw features, or one that is normalised although it must not be."""
    cluster = F.normalize(torch.tensor([1.0, 0, 0, 0]) + 0.01 * units(12, 4), dim=1)
    apart = ~torch.eye(12, dtype=torch.bool)
    theta = shifted(cluster, cluster.mean(dim=0))
    assert (cluster @ cluster.T)[apart].mean() > 0.999
    assert abs((theta @ theta.T)[apart].mean() + 1 / 11) < 0.1
    equal = torch.tensor([[0.9, 0.1], [0.9, -0.1]])
    assert F.cosine_similarity(*shifted(equal, equal.mean(dim=0)).unsqueeze(1)).item() == pytest.approx(-1)


def test_an_image_at_the_center_gives_numbers() -> None:
    """A division by zero."""
    features = units(3, 4).requires_grad_()
    theta = shifted(features, features[1].detach())
    contrastive_loss(theta, shifted(units(3, 4, seed=1), features[1].detach()), 0.25).backward()
    assert torch.isfinite(theta).all() and torch.isfinite(features.grad).all()


def test_the_angular_loss_is_an_angle() -> None:
    """|phi - c|^2 = 2 - 2 phi c for unit vectors."""
    first, second, center = units(4, 6), units(4, 6, seed=1), units(1, 6, seed=2)[0]
    expected = (4 - 2 * (first + second) @ center).mean()
    torch.testing.assert_close(angular_loss(first, second, center), expected)


def test_neighbours_by_distance_and_by_cosine_rank_alike() -> None:
    """kNN on unit vectors: squared distances are 2 - 2 cos."""
    train, test = units(40, 8).numpy(), units(30, 8, seed=1).numpy()
    labels = (test[:, 0] > 0.3).astype(np.uint8)
    scores = find_scorer("knn").build(seed=0, k=2).fit(train).score(test)
    cosine = -np.sort(test @ train.T, axis=1)[:, -2:].sum(axis=1)
    assert auroc(scores, labels) == pytest.approx(auroc(cosine, labels))


@pytest.mark.parametrize("shape", [(40, 40), (8, 8), (30, 200), (300, 7)])
def test_a_view_is_the_seeds_alone_and_unlike_others(shape: tuple[int, int]) -> None:
    """Views from a generator of the whole process: other threads would change them, and no run repeats."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(views))
        views.append(random_view(image, 32, np.random.default_rng(seed)))
    assert views[0].shape == (32, 32, 3) and views[0].dtype == np.uint8
    assert np.array_equal(views[0], views[1]) and not np.array_equal(views[0], views[2])


def test_views_are_as_often_grey_mirrored_and_cropped_as_published() -> None:
    """An augmentation that is never, or always, applied."""
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    ramp[:, :, 1] //= 2
    views = [random_view(ramp, 16, np.random.default_rng(seed)).astype(int) for seed in range(300)]
    grey = np.mean([np.ptp(view, axis=2).max() <= 1 for view in views])
    mirrored = np.mean([view[:, 0].mean() > view[:, -1].mean() for view in views])
    widths = [abs(view[:, 0].mean() - view[:, -1].mean()) for view in views]
    assert 0.12 < grey < 0.3 and 0.4 < mirrored < 0.6
    assert np.std(widths) > 10, "crops of many sizes"
