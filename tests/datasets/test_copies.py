"""Copies among images: told by what they show, whatever their names; parts of one make are none."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import ArrayImages
from panda_core.datasets.copies import Fingerprint, find_copies, group_copies


def part(seed: int, side: int = 128) -> np.ndarray:
    """Return a plate with a ring and grain: parts of one make differ in grain, light and by a pixel or two."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] * (128 / side)
    grey = 150 + 12 * np.sin(x / 9 + rng.uniform(0, 6)) + 8 * np.cos(y / 7 + rng.uniform(0, 6)) + rng.normal(0, 3)
    grey[np.abs(np.hypot(x - 64 - rng.normal(), y - 64 - rng.normal()) - 40) < 5] -= 50
    grey += cv2.GaussianBlur(rng.normal(0, 5, (side, side)), (0, 0), 0.7)
    return np.clip(grey[:, :, None] * (1, 0.95, 0.9), 0, 255).astype(np.uint8)


def encoded(image: np.ndarray, form: str, **options: int) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(image).save(held, form, **options)
    return np.asarray(Image.open(held).convert("RGB"))


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same": np.copy,
    "JPEG 90": lambda image: encoded(image, "JPEG", quality=90),
    "JPEG 60": lambda image: encoded(image, "JPEG", quality=60),
    "WebP": lambda image: encoded(image, "WEBP", quality=80),
    "AVIF": lambda image: encoded(image, "AVIF", quality=70),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "burst": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
}


def copies_of(images: list[np.ndarray]) -> list[tuple[int, ...]]:
    return find_copies(ArrayImages(images, [f"i{row}" for row in range(len(images))]))


@pytest.mark.parametrize("side", [64, 128, 300])
@pytest.mark.parametrize("way", WAYS)
def test_a_picture_saved_anew_is_a_copy(way: str, side: int) -> None:
    """Guards: ` (1).png`, another quality or a burst, whose twin is held out and sets the threshold too low."""
    parts = [part(seed, side) for seed in range(16)]
    copies = [WAYS[way](parts[row]) for row in (3, 3, 7)]
    assert copies_of([*parts, *copies]) == [(3, 16, 17), (7, 18)]


@pytest.mark.parametrize("side", [32, 64, 128, 300])
def test_parts_of_one_make_are_no_copies(side: int) -> None:
    """Guards: a set of like parts called one another's copies, of which one would be left."""
    assert copies_of([part(seed, side) for seed in range(40)]) == []


def test_very_even_parts_are_copies_only_if_equal() -> None:
    """Guards: parts that differ by noise alone: none stands out, so none is a copy but where all pixels are equal."""
    rng = np.random.default_rng(0)
    even = [np.clip(rng.normal(90, 8, (128, 128, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    assert copies_of([*even, even[4]]) == [(4, 20)]
    assert copies_of([even[0]] * 3) == [(0, 1, 2)]


def test_another_colour_of_the_same_grey_is_another_thing() -> None:
    """Guards: red and green parts of one brightness taken for one."""
    parts = [part(seed) for seed in range(8)]
    red = parts[0].astype(int) + np.array((30, -15, 0))
    assert copies_of([*parts, np.clip(red, 0, 255).astype(np.uint8)]) == []


def test_nothing_and_one_image_have_no_copies() -> None:
    """Guards: a table of no rows."""
    assert copies_of([]) == copies_of([part(0)]) == []


def test_groups_do_not_depend_on_how_distances_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: pairs across two blocks missed; rows counted from the start of their block."""
    rng = np.random.default_rng(1)
    grey = rng.normal(100, 20, (50, 1024)).astype(np.float32)
    grey[[30, 49]] = grey[[2, 17]] + 0.1
    prints = [Fingerprint(bytes([row]), one, np.zeros(3), 200) for row, one in enumerate(grey)]
    assert group_copies(prints) == [(2, 30), (17, 49)]
    monkeypatch.setattr("panda_core.datasets.copies.STRIDE", 7)
    assert group_copies(prints) == [(2, 30), (17, 49)]
