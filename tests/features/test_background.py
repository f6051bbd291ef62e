"""The background: what stands for its images, distances to it in any space, and the file that comes along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from panda_core.backbones import find_backbone
from panda_core.datasets.io.smaller import SmallerImages
from panda_core.datasets.own.outliers import imagenet_sample_missing, outlier_images
from panda_core.features.background import KEPT, NEARER, Background, condensed, far_of
from panda_core.features.background_file import FILE, NETWORKS, PARTS, SIDES, SIZE, bundled_background, packed
from panda_core.features.space import RIDGE, FeatureNorm
from panda_core.features.trunk import compute_trunk

WIDTHS = (5, 7)


def features(count: int, seed: int, width: int = 12) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(width, width)) * np.linspace(3, 0.1, width)
    return torch.from_numpy((rng.normal(size=(count, width)) @ mixing + 4).astype(np.float32))


def unit(rows: torch.Tensor) -> np.ndarray:
    parts = [
        part / np.linalg.norm(part, axis=1, keepdims=True) for part in np.split(rows.double().numpy(), [5], axis=1)
    ]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("count", "width"), [(300, 12), (300, 150), (40, 150), (3, 12)])
def test_what_stands_for_images_has_their_mean_and_their_largest_variances(count: int, width: int) -> None:
    """A background of other directions than the images', or of each of them."""
    rows = features(count, 0, width)
    found = condensed(rows).double().numpy()
    kept = min(KEPT, count - 1, width)
    assert found.shape == (kept + 1, width)
    np.testing.assert_allclose(found.mean(axis=0), rows.double().numpy().mean(axis=0), atol=1e-4)
    values, vectors = np.linalg.eigh(np.cov(rows.double().numpy(), rowvar=False, bias=True))
    largest = (vectors[:, -kept:] * values[-kept:]) @ vectors[:, -kept:].T
    np.testing.assert_allclose(np.cov(found, rowvar=False, bias=True), largest, atol=1e-4 * values.max())


def test_one_image_has_a_background_without_variance() -> None:
    """A crash where a folder holds a single image."""
    assert torch.equal(condensed(features(1, 0)), features(1, 0).expand(2, -1))


@pytest.mark.parametrize("kind", ["none", "l2", "whiten"])
@pytest.mark.parametrize("normals", [200, 6])
def test_distances_are_the_same_in_every_space(kind: str, normals: int) -> None:
    """A background that is whitened by the normal images, or of features that were scaled otherwise."""
    rows, queries = condensed(features(200, 1)), features(20, 2)
    norm = FeatureNorm.fit(kind, features(normals, 3), WIDTHS, 512)
    found = Background.fit(norm, rows, 1.0).distances(norm(queries).numpy())
    scaled, seen = (rows.double().numpy(), queries.double().numpy()) if kind == "none" else (unit(rows), unit(queries))
    covariance = np.cov(scaled, rowvar=False, bias=True)
    precision = np.linalg.inv(covariance + RIDGE * np.trace(covariance) / 12 * np.eye(12))
    offset = seen - scaled.mean(axis=0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.einsum("ij,jk,ik->i", offset, precision, offset), rtol=1e-3)


def test_far_is_where_a_quarter_of_other_images_begins() -> None:
    """A line drawn by the images that the background was fitted to: all others would lie beyond."""
    far = far_of(features(4000, 0), "l2", WIDTHS)
    norm = FeatureNorm("l2", WIDTHS)
    fresh = Background.fit(norm, condensed(features(4000, 1)), far).distances(norm(features(4000, 2)).numpy())
    assert np.mean(fresh <= far) == pytest.approx(NEARER, abs=0.02)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("side", SIDES)
def test_every_bundled_network_has_a_background_of_its_width(network: str, side: int) -> None:
    """Levels of three networks in another order than the network gives them."""
    loaded = find_backbone(network).load(find_backbone(network).cut)
    bundled = bundled_background(network, side)
    assert bundled.side == side and bundled.rows.shape == (KEPT + 1, sum(loaded.level_widths))
    assert bundled.rows.dtype == np.float32
    assert all(len(far) == loaded.networks and min(far) > 0 for far in bundled.far.values())
    mean = np.split(bundled.rows.mean(axis=0), np.cumsum(loaded.level_widths)[:-1])
    count = len(mean) // loaded.networks
    for place, level in enumerate(mean, 1):  # the heads end with a ReLU, the other levels do not
        assert level.min() > -0.01 if place % count == 0 else level.min() < -0.05


@pytest.mark.parametrize(("side", "nearest"), [(8, 32), (32, 32), (60, 32), (70, 128), (128, 128), (400, 128)])
def test_the_nearest_size_is_taken(side: int, nearest: int) -> None:
    """Small pictures told from large ones by their blur alone."""
    assert bundled_background(PARTS[0], side).side == nearest


def test_packing_loses_less_than_a_step() -> None:
    """Numbers wrapped around, or scaled by another feature's range."""
    rows = condensed(features(300, 0)).numpy()
    arrays = packed(rows, "a/32")
    back = arrays["a/32/rows"] * arrays["a/32/step"] + arrays["a/32/low"]
    assert (np.abs(back - rows) <= 0.51 * np.ptp(rows, axis=0) / 255).all()


def test_the_file_is_small() -> None:
    """An installation that grows by pictures."""
    assert FILE.stat().st_size < 1_000_000


def test_the_file_says_what_the_photographs_give(real_data: Path) -> None:
    """A file of other photographs, of another size, or made before the features changed."""
    if imagenet_sample_missing(real_data):
        pytest.skip("needs imagenet_sample")
    photographs = SmallerImages(outlier_images("imagenet_sample", real_data), 32)
    network, rows = find_backbone(PARTS[0]).load(find_backbone(PARTS[0]).cut), range(0, 1000, 20)
    values = compute_trunk(
        [photographs.load(row) for row in rows], network, image_size=SIZE, dtype="float16", device=torch.device("cpu")
    )
    with torch.no_grad():
        found = network.tail(torch.from_numpy(values).float())
    bundled = bundled_background(PARTS[0], 32)
    norm = FeatureNorm("l2", network.level_widths)
    distances = Background.fit(norm, torch.from_numpy(bundled.rows), 1.0).distances(norm(found).numpy())
    assert np.mean(distances <= bundled.far["l2"][0]) == pytest.approx(NEARER, abs=0.15)
