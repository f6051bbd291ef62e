"""Defects drawn into normal images, each with the exact set of pixels it changed.

| kind | what is drawn | source |
|---|---|---|
| cut-paste | a rectangle of the image, its brightness slightly changed, pasted elsewhere | CutPaste, CVPR 2021 |
| texture | another texture, blended in where Perlin noise is high | DRAEM, ICCV 2021 |
| scratch | a thin curve with soft edges, brighter or darker | |
| blob | a soft ellipse, brighter or darker | |

Papers: Li, Sohn, Yoon, Pfister; Zavrtanik, Kristan, Skocaj. Both make images to train on; here they only measure.
Ours differs in size, the same for all kinds, in that textures come from normal images of the same data set, strongly
changed, or from noise, and in opacity (at least one half, so that what counts as a defect can be seen).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

# Of the image's pixels that a defect changes. A scratch may be smaller, and in tiny images as long as the shorter side.
SHARE = (0.005, 0.08)
FAINTEST = 4  # grey levels of 255; smaller changes are undone, so that the mask is exactly what changed
ATTEMPTS = 20  # a patch pasted onto its like changes nothing, for instance: then it is drawn anew
NOISE_SIDE = 256  # Perlin noise is made at most this large and enlarged: it is smooth


def draw_defect(
    image: np.ndarray, kind: str, rng: np.random.Generator, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (the image with a defect, its mask). The mask is never empty, and no pixel outside of it has changed.

    image, other: uint8 (H, W, 3), `other` of any size, a normal image to take texture from. kind: a key of `KINDS`.
    mask: bool (H, W), where a channel changed by more than `FAINTEST`. Grey images stay grey.
    """
    height, width = image.shape[:2]
    fewest, most = int(np.ceil(SHARE[0] * height * width)), max(int(SHARE[1] * height * width), 1)
    if kind == "scratch":
        fewest, most = 1, max(most, min(height, width))
    for _ in range(ATTEMPTS):
        drawn = KINDS[kind](image, rng, other)
        changed = cv2.absdiff(drawn, image) > FAINTEST  # (H, W, 3)
        mask = changed[:, :, 0] | changed[:, :, 1] | changed[:, :, 2]
        if fewest <= np.count_nonzero(mask) <= most:
            break
    else:
        rows, columns = _box(image, rng)
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[rows, columns] = True
        drawn = np.where(image < 128, image + np.uint8(64), image - np.uint8(64))  # visible on any ground
    return np.where(mask[:, :, None], drawn, image), mask


def _cut_paste(image: np.ndarray, rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    rows, columns = _box(image, rng)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    top, left = (rng.integers(0, side - part + 1) for side, part in zip(image.shape[:2], (height, width), strict=True))
    patch = image[top : top + height, left : left + width].astype(np.float32)
    drawn = image.copy()
    drawn[rows, columns] = _bytes(patch * rng.uniform(0.9, 1.1) + rng.uniform(-20, 20))
    return drawn


def _texture(image: np.ndarray, rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    noise = _perlin(height, width, rng)
    inside = noise >= np.quantile(noise, 1 - rng.uniform(0.01, 0.07))
    if rng.random() < 0.5:
        texture = _strongly_changed(cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA), rng)
    else:
        grain = int(rng.integers(1, 1 + max(1, min(height, width) // 32)))
        coarse = rng.integers(0, 256, (-(-height // grain), -(-width // grain), 3), dtype=np.uint8)
        texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    if (image == image[:, :, :1]).all():
        texture = np.repeat(texture[:, :, :1], 3, axis=2)
    opacity = np.float32(rng.uniform(0.5, 1))
    drawn = image.copy()
    drawn[inside] = _bytes(image[inside] * (1 - opacity) + texture[inside] * opacity)
    return drawn


def _scratch(image: np.ndarray, rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    length, angle = rng.uniform(0.2, 0.7) * min(height, width), rng.uniform(0, np.pi)
    middle = rng.uniform(0.2, 0.8, 2) * (width, height)
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    bend = middle + rng.uniform(-0.5, 0.5) * np.array([-along[1], along[0]])
    t = np.linspace(0, 1, 33)[:, None]
    curve = (1 - t) ** 2 * (middle - along) + 2 * t * (1 - t) * bend + t**2 * (middle + along)  # Bezier's, (33, 2)
    line = np.zeros((height, width), dtype=np.uint8)
    thickness = 1 + int(rng.integers(0, 1 + min(height, width) // 200))
    points = np.rint(curve * 16).astype(np.int32)  # 16: four binary places, which `shift=4` declares
    cv2.polylines(line, [points], isClosed=False, color=255, thickness=thickness, lineType=cv2.LINE_AA, shift=4)
    return _shaded(image, line.astype(np.float32) / 255, rng)


def _blob(image: np.ndarray, rng: np.random.Generator, other: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    area, aspect, angle = rng.uniform(0.01, 0.08) * height * width, rng.uniform(0.5, 2), rng.uniform(0, np.pi)
    long, short = np.sqrt(area * aspect / np.pi), np.sqrt(area / aspect / np.pi)  # the two half-axes, in pixels
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(rng.uniform(0.1, 0.9) * height)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(rng.uniform(0.1, 0.9) * width)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    distance = ((x * cos + y * sin) / np.float32(long)) ** 2 + ((y * cos - x * sin) / np.float32(short)) ** 2
    return _shaded(image, np.clip(1.5 * (1 - distance), 0, 1), rng)  # full in the inner third, soft to its rim


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator, np.ndarray], np.ndarray]] = {
    "cut-paste": _cut_paste,
    "texture": _texture,
    "scratch": _scratch,
    "blob": _blob,
}


def _box(image: np.ndarray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return the rows and columns of a random rectangle of 0.5 to 7 % of the image, one pixel at least."""
    height, width = image.shape[:2]
    area, aspect = rng.uniform(0.01, 0.07) * height * width, rng.uniform(0.4, 2.5)
    rows = int(np.clip(np.sqrt(area * aspect), 1, height))
    columns = int(np.clip(area / rows, 1, width))
    rows = int(np.clip(area / columns, 1, height))  # rounded down: at least half of `area`, never more
    top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)


def _shaded(image: np.ndarray, strength: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image made brighter or darker by 30 to 100 grey levels where `strength`, (H, W) in [0, 1], is 1."""
    change = np.float32(rng.choice([-1, 1]) * rng.uniform(30, 100))
    return _bytes(image + (strength * change)[:, :, None])


def _strongly_changed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image shifted, mirrored and, in one of three ways, with other brightness."""
    shift = [int(rng.integers(0, side)) for side in image.shape[:2]]
    moved = np.roll(image, shift, axis=(0, 1))[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    way = rng.integers(0, 3)
    if way == 0:
        return 255 - moved
    if way == 1:
        return np.where(moved < 128, moved, 255 - moved)  # solarised
    return moved // 64 * 85  # posterised to four levels


def _perlin(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return Perlin noise as float32 (H, W), of 2 to 8 cells along each side (Perlin 1985; fade of 2002)."""
    sides = [min(side, NOISE_SIDE) for side in (height, width)]
    cells = [int(np.clip(2 ** rng.integers(1, 4), 1, max(side // 2, 1))) for side in sides]
    angle = rng.uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1))
    slope_y, slope_x = np.sin(angle), np.cos(angle)
    y, x = ((np.arange(side) + 0.5) * count / side for side, count in zip(sides, cells, strict=True))
    row, column = y.astype(int)[:, None], x.astype(int)[None, :]
    y, x = y[:, None] - row, x[None, :] - column  # within the cell: (h, 1) and (1, w), in [0, 1)

    def corner(down: int, right: int) -> np.ndarray:
        at = row + down, column + right
        return slope_x[at] * (x - right) + slope_y[at] * (y - down)  # (h, w)

    fade_y, fade_x = (part**3 * (part * (part * 6 - 15) + 10) for part in (y, x))
    upper = corner(0, 0) + fade_x * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + fade_x * (corner(1, 1) - corner(1, 0))
    noise = (upper + fade_y * (lower - upper)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
