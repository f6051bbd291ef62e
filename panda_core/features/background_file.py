"""The background that comes with the program: features of photographs, for the bundled networks.

`background.npz` holds numbers that were computed from 1,000 photographs of ImageNet (`assets/make_background.py`), and
neither a picture nor what a network sees of one: of all of them together the mean and the directions of largest
variance, as features of 65 images that never were (`panda_core.features.background.condensed`), in steps of 1/255 of
the range of each feature. NETWORK/SIDE/rows is uint8 (65, D), NETWORK/SIDE/low and /step float32 (D,). Photographs,
of 256 px, are as a run sees them whose normal images have SIDE pixels: at `SIZE`, and shrunk to SIDE first where that
is less. NETWORK/SIDE/far is `far_of` by `SCALINGS`.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from panda_core.records import read_arrays

FILE = Path(__file__).parent / "background.npz"
PARTS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
TOGETHER = "efficientnet_lite_all"  # of all of them, one after the other
NETWORKS = (*PARTS, TOGETHER)
SIDES = (32, 128)  # short sides in pixels of the normal images that they are compared with
SIZE = 128  # of the networks' input
IMAGES = 1000
SCALINGS = ("l2", "none")  # features of unit length, as they are


@dataclasses.dataclass(frozen=True)
class BundledBackground:
    """rows: float32 (65, D), as of images that never were. side: of `SIDES`.

    far: see `far_of`, by `SCALINGS`, of each network that takes part.
    """

    rows: np.ndarray
    side: int
    far: dict[str, tuple[float, ...]]


def bundled_background(network: str, side: int) -> BundledBackground:
    """Return the background of one of `NETWORKS`, of photographs as near as possible to `side` pixels."""
    nearest = min(SIDES, key=lambda one: abs(math.log(one / side)))
    arrays = read_arrays(FILE)
    parts = [f"{part}/{nearest}" for part in (PARTS if network == TOGETHER else (network,))]
    rows = np.concatenate([_rows(arrays, part) for part in parts], axis=1)
    far = np.stack([arrays[f"{part}/far"] for part in parts], axis=1).tolist()  # by scaling, then by network
    return BundledBackground(rows, nearest, {key: tuple(values) for key, values in zip(SCALINGS, far, strict=True)})


def _rows(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    rows: np.ndarray = arrays[f"{name}/rows"] * arrays[f"{name}/step"] + arrays[f"{name}/low"]
    return rows


def packed(rows: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Return rows (K + 1, D) as arrays of the file, under the names that begin with `name`."""
    low = rows.min(axis=0).astype(np.float32)
    step = np.maximum((rows.max(axis=0) - low) / 255, np.finfo(np.float32).tiny).astype(np.float32)
    return {f"{name}/rows": np.round((rows - low) / step).astype(np.uint8), f"{name}/low": low, f"{name}/step": step}
