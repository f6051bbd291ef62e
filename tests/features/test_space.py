"""The space of loss and scores: unit length, whitening with a ridge, and nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from panda_core.features.space import RIDGE, FeatureNorm

WIDTHS = (5, 7)


def features(count: int, seed: int = 0, widths: tuple[int, ...] = WIDTHS) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(sum(widths), sum(widths)))
    return torch.from_numpy((rng.normal(size=(count, sum(widths))) @ mixing + 2).astype(np.float32))


def unit(values: torch.Tensor, widths: tuple[int, ...] = WIDTHS) -> np.ndarray:
    array, parts, start = values.numpy().astype(np.float64), [], 0
    for width in widths:
        level = array[:, start : start + width]
        parts.append(level / np.linalg.norm(level, axis=1, keepdims=True))
        start += width
    return np.concatenate(parts, axis=1)


def test_none_is_the_identity() -> None:
    """Raw features changed on the way: the paper's own space."""
    x = features(9)
    assert FeatureNorm.fit("none", x, WIDTHS, 512)(x) is x


def test_l2_makes_every_level_of_unit_length() -> None:
    """One length over all levels, by which the widest level would drown the others."""
    x = features(9)
    found = FeatureNorm.fit("l2", x, WIDTHS, 512)(x)
    np.testing.assert_allclose(found.numpy(), unit(x), atol=1e-6)
    assert torch.isfinite(FeatureNorm("l2", WIDTHS)(torch.zeros(1, 12))).all()


@pytest.mark.parametrize(("count", "widths"), [(200, WIDTHS), (13, WIDTHS), (8, WIDTHS), (5, (40, 30)), (2, WIDTHS)])
def test_whitened_distances_equal_the_closed_form(count: int, widths: tuple[int, ...]) -> None:
    """Whitening without its ridge, with the ridge on the wrong side of the root or over the wrong number of directions,
    of queries by their own statistics; or with directions thrown away where there are fewer images than dimensions."""
    x, queries = features(count, widths=widths), features(6, seed=3, widths=widths)
    found = FeatureNorm.fit("whiten", x, widths, 512)(queries)
    covariance = np.cov(unit(x, widths), rowvar=False, bias=True)
    ridge = RIDGE * np.trace(covariance) / min(count - 1, sum(widths))
    inverse = np.linalg.inv(covariance + ridge * np.eye(sum(widths)))
    offset = unit(queries, widths) - unit(x, widths).mean(axis=0)
    assert found.shape == (6, sum(widths))
    np.testing.assert_allclose(
        found.square().sum(dim=1).numpy(), np.einsum("ij,jk,ik->i", offset, inverse, offset), rtol=1e-4
    )


def test_what_normal_images_do_not_vary_in_still_counts() -> None:
    """A space of the N - 1 directions that N images span: an anomaly outside of them lies on the normal images."""
    x = features(4, widths=(40, 30))
    norm = FeatureNorm.fit("whiten", x, (40, 30), 512)
    normal, strange = norm(x), norm(features(30, seed=9, widths=(40, 30)))
    span = torch.linalg.qr((normal - normal.mean(dim=0)).T)[0][:, :3]
    outside = strange - (strange @ span) @ span.T
    assert outside.norm(dim=1).min() > normal.norm(dim=1).max()


def test_directions_past_the_largest_count_as_the_rest() -> None:
    """`whiten_dims` that keeps the smallest directions, hence noise, or throws the others away."""
    x = features(60)
    variance, directions = np.linalg.eigh(np.cov(unit(x), rowvar=False, bias=True))
    ridge = RIDGE * variance.sum() / 12
    variance[:-4] = 0  # all but the four largest
    inverse = (directions / (variance + ridge)) @ directions.T
    offset = unit(x) - unit(x).mean(axis=0)
    found = FeatureNorm.fit("whiten", x, WIDTHS, 4)(x).square().sum(dim=1).numpy()
    np.testing.assert_allclose(found, np.einsum("ij,jk,ik->i", offset, inverse, offset), rtol=1e-3)


@pytest.mark.parametrize("kind", ["none", "l2", "whiten"])
def test_the_norm_is_differentiable(kind: str) -> None:
    """A norm through which no gradient flows, so that nothing is adapted; or a wrong one."""
    norm = FeatureNorm.fit(kind, features(20), WIDTHS, 512)
    probe = features(3, seed=1).requires_grad_(True)
    single = torch.autograd.functional.jacobian(lambda x: norm(x).square().sum(), probe)  # float32
    steps = 1e-2 * torch.randn(probe.shape, generator=torch.Generator().manual_seed(0))
    change = norm(probe + steps).square().sum() - norm(probe - steps).square().sum()
    assert single.abs().sum() > 0 or kind == "l2"  # the length of a unit vector has no gradient
    torch.testing.assert_close((single * steps * 2).sum(), change, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("kind", ["none", "l2", "whiten"])
def test_a_saved_norm_is_the_same(kind: str) -> None:
    """A detector that whitens otherwise than its run did."""
    norm = FeatureNorm.fit(kind, features(20), WIDTHS, 512)
    again = FeatureNorm.from_tensors(kind, WIDTHS, norm.tensors())
    assert torch.equal(again(features(4, seed=2)), norm(features(4, seed=2)))
    assert set(norm.tensors()) == ({"mean", "directions", "factors"} if kind == "whiten" else set())
    if norm.directions is not None and again.directions is not None:  # decides on some processors how sums are rounded
        assert norm.directions.stride() == again.directions.stride()


def test_norms_of_older_runs_are_read() -> None:
    """A run made when directions and factors were one matrix that can no longer be opened, or opens as another."""
    x = features(20)
    norm = FeatureNorm.fit("whiten", x, WIDTHS, 512)
    assert norm.mean is not None and norm.directions is not None and norm.factors is not None
    old = {"mean": norm.mean, "projection": norm.directions * norm.factors}
    torch.testing.assert_close(FeatureNorm.from_tensors("whiten", WIDTHS, old)(x), norm(x))


def test_equal_images_whiten_to_finite_features() -> None:
    """A division by zero where all training images are the same, or where some are."""
    same = features(1).expand(6, -1)
    for x in (same, torch.cat([same, features(2, seed=5)]), torch.cat([features(30), features(30)])):
        norm = FeatureNorm.fit("whiten", x, WIDTHS, 512)
        assert torch.isfinite(norm(x)).all()
        assert torch.isfinite(norm(features(4, seed=6))).all()
