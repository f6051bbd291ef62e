"""With the bundled network, from pixels to maps: what is shown lies where it is, whatever surrounds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core import PandaDetector
from panda_core.segmentation.table import SEGMENTERS

SIDE = 96
PATCHES = {"blocks.2": 8, "blocks.4": 16, "": 32}  # pixels that a patch of the coarsest level stands for; "": default
FINE = {"levels": "blocks.2,blocks.3", "neighbourhood": 1}


def surface(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Return a grey surface of fine noise with soft horizontal and vertical waves."""
    rows, columns = np.mgrid[:height, :width]
    waves = 20 * np.sin(rows * 40 / height) + 20 * np.cos(columns * 40 / width)
    noise = np.random.default_rng(seed).normal(0, 8, (height, width))
    return np.repeat(np.clip(120 + waves + noise, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def with_defect(row: int, column: int, seed: int = 50) -> np.ndarray:
    """Return a surface with a coloured ring, 16 pixels wide, around a place."""
    image = surface(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(rows - row, columns - column)
    image[away < 8] = (255, 30, 0)
    image[away < 4] = (0, 60, 255)
    return image


@pytest.fixture(scope="module")
def detectors() -> Callable[..., Any]:
    """Return a function (recipe, options...) -> a detector of the bundled network that knows twelve surfaces."""
    from functools import cache

    @cache
    def fitted(recipe: str = "patchcore", **options: Any) -> PandaDetector:
        detector = PandaDetector(recipe=recipe, image_size=SIDE, device="cpu", set=options)
        return detector.fit([surface(seed) for seed in range(12)])

    return fitted


def peak(values: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


@pytest.mark.parametrize(
    ("recipe", "options", "levels"),
    [
        *(("patchcore", {}, levels) for levels in PATCHES),
        ("patchcore", {"merge": "concat"}, ""),
        ("spade", {}, "blocks.4"),
    ],
)
def test_a_planted_defect_is_the_highest_place(
    detectors: Callable[..., Any], recipe: str, options: dict[str, Any], levels: str
) -> None:
    """Maps that are shifted, transposed or upside down: the maximum lies within one patch of the defect."""
    places = [(20, 20), (20, 72), (48, 48), (76, 24), (72, 76)]
    maps = detectors(recipe, levels=levels, neighbourhood=1, **options).anomaly_maps(
        [with_defect(*place) for place in places]
    )
    assert maps.shape == (5, SIDE, SIDE) and maps.dtype == np.float32
    for (row, column), values in zip(places, maps, strict=True):
        found = peak(values)
        assert max(abs(found[0] - row), abs(found[1] - column)) <= PATCHES[levels], (
            f"{found} instead of {(row, column)}"
        )


def test_a_mirrored_image_has_the_mirrored_map(detectors: Callable[..., Any]) -> None:
    """A map pulled to one side. Only nearly: what a network sees is not the mirrored thing, only at its place."""
    for row, column in ((24, 24), (60, 72)):
        image = with_defect(row, column)
        straight, mirrored = detectors(**FINE).anomaly_maps([image, image[:, ::-1]])
        back = mirrored[:, ::-1]
        assert np.corrcoef(straight.ravel(), back.ravel())[0, 1] > 0.9
        (first, second) = peak(straight), peak(back)
        assert max(abs(first[0] - second[0]), abs(first[1] - second[1])) <= PATCHES["blocks.2"]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (1, 40), (60, 200), (1500, 2000)])
def test_images_of_any_shape_have_square_maps(detectors: Callable[..., Any], height: int, width: int) -> None:
    """A failure, or NaN, for images that are tiny, huge or far from square."""
    (values,) = detectors().anomaly_maps([surface(0, height, width)])
    assert values.shape == (SIDE, SIDE) and np.isfinite(values).all() and (values >= 0).all()


def test_a_defect_of_an_oblong_image_is_at_its_share_of_the_sides(detectors: Callable[..., Any]) -> None:
    """An image that is cropped, or kept in its aspect, so that its map does not lie over all of it."""
    image = np.repeat(np.repeat(with_defect(24, 70), 3, axis=0), 6, axis=1)
    row, column = peak(detectors(**FINE).anomaly_maps([image])[0])
    assert max(abs(row - 24), abs(column - 70)) <= PATCHES["blocks.2"]


@pytest.mark.parametrize("recipe", sorted(SEGMENTERS))
def test_batches_and_neighbours_do_not_count(detectors: Callable[..., Any], recipe: str) -> None:
    """A score or a map that depends on which images are looked at together, or on their order."""
    detector = detectors(recipe)
    images = [with_defect(10 + place, 80 - place, 50 + place) for place in range(0, 64, 8)] * 9
    images = [*images, surface(99)]
    at_once = detector.segment(images)  # batches of 64 and 9
    assert len(at_once.scores) == 73
    for size, count in ((1, 9), (7, 14)):
        parts = [detector.segment(images[start : start + size]) for start in range(0, count, size)]
        for name in ("scores", "grids"):
            found = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_allclose(found, getattr(at_once, name)[:count], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(detector.anomaly_scores(images[8::-1])[::-1], at_once.scores[:9], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(detector.anomaly_scores(images[-1:]), at_once.scores[-1:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("recipe", sorted(SEGMENTERS))
def test_a_defect_scores_higher_than_a_normal_surface(detectors: Callable[..., Any], recipe: str) -> None:
    """Polarity the other way round."""
    normal = detectors(recipe).anomaly_scores([surface(seed) for seed in range(60, 66)])
    defective = detectors(recipe).anomaly_scores([with_defect(30, 60, seed) for seed in range(70, 76)])
    assert defective.min() > normal.max()
