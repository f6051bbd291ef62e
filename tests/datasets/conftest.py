"""Small data on disk in the formats in which the real data is published."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes alike as Python 2 strings, as the official CIFAR files hold them."""

    dispatch: ClassVar[dict[type, Callable[..., None]]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        content = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value: object) -> bytes:
    """Return `value` pickled as by Python 2 and its NumPy."""
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@pytest.fixture
def cifar_batch() -> Callable[..., bytes]:
    """Return a function (first value, labels) -> the bytes of an official batch; image n is filled with its planes."""

    def make(labels: list[int], data: np.ndarray | None = None) -> bytes:
        if data is None:
            data = np.arange(len(labels) * 3072, dtype=np.int64).reshape(-1, 3072).astype(np.uint8)
        names = [f"a_s_{number:06d}.png" for number in range(len(labels))]
        return python2_pickle({"batch_label": "a batch", "labels": labels, "data": data, "filenames": names})

    return make


@pytest.fixture
def cifar_root(tmp_path: Path, cifar_batch: Callable[..., bytes]) -> Path:
    """Return a data root with the official pickles, 20 images a batch."""
    root = tmp_path / "data root"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(cifar_batch(list(range(10)) * 2))
    return root


@pytest.fixture
def write_images() -> Callable[..., None]:
    """Return a function that writes one small, unique PNG or JPEG for each path below a folder."""

    def write(folder: Path, *places: str) -> None:
        for place in places:
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng(list(place.encode()))
            Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)

    return write


@pytest.fixture
def tiles_root(tmp_path: Path) -> Path:
    """Return a data root with magnetic tiles as published: grey JPEG, soft masks; twelve free, two of each defect.

    The defect covers rows 2 to 5 and columns 4 to 11. The mask of one uneven tile is empty.
    """
    root = tmp_path / "data root"
    for number, kind in enumerate(("Free", "Blowhole", "Break", "Crack", "Fray", "Uneven")):
        folder = root / "magnetic_tiles" / f"MT_{kind}" / "Imgs"
        folder.mkdir(parents=True)
        for row in range(12 if kind == "Free" else 2):
            rng = np.random.default_rng([number, row])
            grey = rng.integers(60, 120, (20, 30 + row), dtype=np.uint8)
            mask = np.zeros_like(grey)
            if kind != "Free" and (kind, row) != ("Uneven", 1):
                mask[1:7, 3:13] = 60  # the soft rim
                mask[2:6, 4:12] = 200
            name = f"exp{row % 6 + 1}_num_{100 * number + row}"
            Image.fromarray(grey).save(folder / f"{name}.jpg")
            Image.fromarray(mask).save(folder / f"{name}.png")
    return root


@pytest.fixture
def mvtec_root(tmp_path: Path, write_images: Callable[..., None]) -> Path:
    """Return a data root with two categories of MVTec AD, as its archive is unpacked."""
    root = tmp_path / "data root"
    for category in ("bottle", "zipper"):
        folder = root / "mvtec" / category
        write_images(folder, *(f"train/good/{row:03d}.png" for row in range(4)))
        write_images(folder, *(f"test/{kind}/{row:03d}.png" for kind in ("good", "broken_large") for row in range(3)))
        for row in range(3):
            path = folder / "ground_truth" / "broken_large" / f"{row:03d}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((6, 5), dtype=np.uint8)
            mask[row] = 255
            Image.fromarray(mask).save(path)
        (folder / "license.txt").write_text("CC BY-NC-SA 4.0")
    return root


@pytest.fixture
def data_root(cifar_root: Path, tiles_root: Path, mvtec_root: Path) -> Path:
    """Return a data root with a small copy of every data set."""
    if not cifar_root == tiles_root == mvtec_root:
        raise ValueError("the small copies must lie in one root")
    return cifar_root


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real data, or skip the test where there is none."""
    root = os.environ.get("PANDA_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("real data: set PANDA_DATA to the folder that holds cifar10_images/")
    return Path(root)
