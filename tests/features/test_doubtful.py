"""Normal images that do not look like the others are named, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from panda_core.backbones import find_backbone
from panda_core.backbones.network import Network
from panda_core.datasets import ArrayImages, OneClassTask
from panda_core.datasets.finding import WARNING
from panda_core.events import result_of
from panda_core.features.doubtful import FEWEST, Ranking, check_all, rank_normals
from panda_core.metrics import auroc

SIDE = 48


def plate(seed: int, scratched: bool = False) -> np.ndarray:
    """Return a grey plate with fine noise, and a bright bar across it where it is scratched."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, 6, (SIDE, SIDE, 1)).repeat(3, axis=2)
    if scratched:
        start = rng.integers(4, SIDE - 12)
        pixels[start : start + 6] = 250
    return np.clip(pixels, 0, 255).astype(np.uint8)


def plates(good: int, bad: int) -> ArrayImages:
    """Return so many good plates, and scratched ones after them."""
    rows = range(good + bad)
    return ArrayImages([plate(row, row >= good) for row in rows], [f"{row:02d}" for row in rows])


@pytest.fixture(scope="module")
def network() -> Network:
    row = find_backbone("efficientnet_lite0")
    return row.load(row.cut)


def ranked(images: ArrayImages, network: Network, seed: int = 0) -> Ranking:
    """Return the ranking of images of which there are enough."""
    ranking = result_of(rank_normals(images, network, image_size=128, seed=seed))
    assert ranking is not None
    return ranking


def test_bad_images_among_the_normals_come_first_and_are_named(network: Network) -> None:
    """Four scratched plates that shield one another, since each is near to the next."""
    images = plates(36, 4)
    ranking = ranked(images, network)
    assert auroc(ranking.scores, (ranking.rows >= 36).astype(np.int8)) == 1.0
    doubtful = ranking.rows[ranking.doubtful()]
    assert set(doubtful[:4]) == {36, 37, 38, 39} and len(doubtful) <= 6


def test_images_of_one_kind_are_hardly_ever_doubtful(network: Network) -> None:
    """A check that finds fault with clean images is switched off."""
    ranking = ranked(plates(60, 0), network)
    assert len(ranking.doubtful()) <= 2


def test_the_nearest_are_other_images_and_the_order_depends_on_the_seed_alone(network: Network) -> None:
    """An image that is found nearest to itself, or a ranking that changes from one check to the next."""
    images = plates(32, 2)
    first, again = ranked(images, network), ranked(images, network)
    assert (first.nearest != first.rows[:, None]).all()
    assert np.array_equal(first.scores, again.scores) and first.limit == again.limit


def test_a_check_names_them_with_their_reasons_and_needs_enough_images() -> None:
    """A count without names; a verdict on five images."""
    images = plates(36, 4)
    task = OneClassTask(images, plates(2, 2), np.array([0, 0, 1, 1], np.int8))
    (finding,) = [one for one in result_of(check_all(task)).findings if one.kind == "doubtful"]
    assert finding.level == WARNING and finding.has_reasons
    assert {name for name, _ in finding.examples} >= {f"train: {images.names[row]}" for row in range(36, 40)}
    few = OneClassTask(plates(FEWEST - 3, 2), plates(2, 2), np.array([0, 0, 1, 1], np.int8))
    assert not [one for one in result_of(check_all(few)).findings if one.kind == "doubtful"]
