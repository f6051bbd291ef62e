"""The photos of a run that cuts them into tiles: what shape they have, and those of another, which are left out."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from panda_core.config import TILES_OFF, RunConfig
from panda_core.datasets import FileImages, Images, OneClassTask
from panda_core.datasets.io.headers import stored_size
from panda_core.datasets.one_class import ChangedImages
from panda_core.errors import PandaError, UnreadableImage, UsageError
from panda_core.segmentation.geometry import network_side
from panda_core.segmentation.tiles import TileGrid, grid_of, same_aspect

LOOKED_AT = 9  # photos, spread evenly, whose shapes stand for all: of those that are no files, pixels are decoded
TURNED = 5  # from this EXIF orientation on, width and height are swapped


class FittingImages(ChangedImages):
    """`images` without those that a grid does not fit: these are unreadable, and named as such."""

    def __init__(self, images: Images, grid: TileGrid) -> None:
        super().__init__(images)
        self.grid = grid

    def changed(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), as it is; `UnreadableImage` where it does not fit."""
        self.grid.check_fits(image.shape, name)
        return image


def cut_into_tiles(config: RunConfig, task: OneClassTask) -> tuple[RunConfig, OneClassTask, tuple[int, int] | None]:
    """Return a resolved config with what `auto` means in numbers, the task without photos of another shape, and theirs.

    The shape is (height, width) in pixels, None where nobody asked for tiles.
    """
    if config.tiles == TILES_OFF:
        return config, task, None
    grid = grid_of_photos(config, task.train)
    if grid is None:
        return config.replace(tiles=TILES_OFF), task, _photo_of(task.train)
    train, test = (FittingImages(images, grid) for images in (task.train, task.test))
    return config.replace(tiles=str(grid.count)), dataclasses.replace(task, train=train, test=test), grid.photo


def grid_of_photos(config: RunConfig, normal: Images) -> TileGrid | None:
    """Return how a run of `config` cuts photos like its normal ones; None where it looks at them whole."""
    if config.tiles == TILES_OFF:
        return None
    return grid_of(config.tiles, _photo_of(normal), network_side(int(config.image_size or 0)))


def _photo_of(images: Images) -> tuple[int, int]:
    """Return the (height, width) in pixels that most of some of the images have; of equally many, the first's.

    `UsageError` where not even half of them could be cut like it: then most images would be left out.
    """
    rows = np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).round().astype(int).tolist()
    shapes: list[tuple[int, int]] = []
    for row in rows:
        try:
            shapes.append(_shape_of(images, row))
        except UnreadableImage:  # named elsewhere, when the images are read
            continue
    if not shapes:
        raise PandaError("None of the normal images that were looked at could be decoded. Check the files.")
    photo = Counter(shapes).most_common(1)[0][0]
    fitting = sum(same_aspect(shape, photo) for shape in shapes)
    if 2 * fitting <= len(shapes):
        raise UsageError(
            f"`--tiles` needs photos of one aspect; of {len(shapes)} normal images that were looked at, {fitting} "
            f"{'has' if fitting == 1 else 'have'} that of {photo[1]:,} × {photo[0]:,} px. Leave `--tiles` out."
        )
    return photo


def _shape_of(images: Images, row: int) -> tuple[int, int]:
    if isinstance(images, FileImages):
        (width, height), orientation = stored_size(images.paths[row], images.names[row])
        return (height, width) if orientation < TURNED else (width, height)
    high, wide = images.load(row).shape[:2]
    return high, wide
