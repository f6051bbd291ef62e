"""Pictures saved in another format are the same pictures, wherever two sets must share nothing; others are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import Images, find_dataset
from panda_core.datasets.copies import is_saved_anew, shared_images
from panda_core.datasets.io.images import ArrayImages, FileImages
from panda_core.datasets.io.regions import RegionImages
from panda_core.region import Region


def saved(image: np.ndarray, form: str, **options: int) -> np.ndarray:
    """Return what comes back of an image that is saved in another format."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, form, **options)
    return np.asarray(Image.open(held).convert("RGB"))


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "BMP": lambda image: saved(image, "BMP"),
    "JPEG": lambda image: saved(image, "JPEG", quality=95),
    "WebP": lambda image: saved(image, "WEBP", quality=95),
}


@pytest.fixture(scope="module")
def cells() -> Images:
    """Return real solar cells, hundreds of one make."""
    return find_dataset("elpv").open(Path("/nowhere"), "mono", 0).train.subset(range(240))


def small_scene(seed: int) -> np.ndarray:
    """Return a picture of 32 x 32 pixels with colours and edges."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(30, 220, (6, 6, 3), dtype=np.uint8), (32, 32), interpolation=cv2.INTER_CUBIC)
    cv2.circle(image, tuple(rng.integers(6, 26, 2).tolist()), 5, rng.integers(0, 255, 3).tolist(), -1, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("way", WAYS)
def test_cells_saved_anew_are_found_and_no_others(cells: Images, way: str) -> None:
    """A cell that is not known again as JPEG; or one of hundreds that look alike taken for another."""
    rows = range(0, 60, 3)
    anew = ArrayImages([WAYS[way](cells.load(row)) for row in rows], [f"{row} anew" for row in rows])
    assert shared_images(anew, [cells.subset(range(60, 120)), cells.subset(range(60))]) == [
        (place, cells.names[row]) for place, row in enumerate(rows)
    ]
    assert shared_images(anew, [cells.subset(range(60, 240))]) == []


def test_small_pictures_and_files_are_found_too(tmp_path: Path) -> None:
    """Pixels in memory that are not known again as a file, or where a region is painted over."""
    own = ArrayImages([small_scene(seed) for seed in range(40)], [f"own {seed}" for seed in range(40)])
    paths = [tmp_path / f"{seed}.jpg" for seed in (3, 90, 7)]
    for path in paths:
        Image.fromarray(small_scene(int(path.stem))).save(path, quality=95)
    marked = np.zeros((32, 32), bool)
    marked[4:9, 4:9] = True
    files = FileImages(paths, [path.name for path in paths])
    for images in (own, RegionImages(own, Region(marked))):
        assert shared_images(files, [images]) == [(0, "own 3"), (2, "own 7")]


def test_what_cannot_be_read_is_a_copy_of_nothing(tmp_path: Path) -> None:
    """A broken file that ends a run with a traceback, or two of them called one picture."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"broken")
    one, other = (FileImages([tmp_path / name], [name]) for name in ("a.png", "b.png"))
    assert shared_images(one, [other]) == shared_images(one, []) == []


def spot(image: np.ndarray) -> None:
    image[40, 50] = image[40, 50] + 30


def stain(image: np.ndarray) -> None:
    image[30:60, 30:60] += 6


def scratch(image: np.ndarray) -> None:
    cv2.line(image, (20, 20), (90, 60), (60, 60, 60), 1, cv2.LINE_AA)


def tint(image: np.ndarray) -> None:
    image[32:64, 32:64] += np.array((16, 247, 4), np.uint8)  # 9 less of green: nearly the same grey


@pytest.mark.parametrize("defect", [spot, stain, scratch, tint])
def test_a_small_defect_makes_another_picture(cells: Images, defect: Callable[[np.ndarray], None]) -> None:
    """A defective part taken for the photo of the part before it was damaged, saved anew."""
    image = np.clip(cells.load(5).astype(np.float32), 70, 200).astype(np.uint8)
    changed = image.copy()
    defect(changed)
    assert is_saved_anew(image, saved(image, "JPEG", quality=95)) and not is_saved_anew(image, changed)
    assert not is_saved_anew(image, cv2.resize(image, (299, 300)))
