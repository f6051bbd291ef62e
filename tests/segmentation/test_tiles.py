"""Photos cut into tiles: that tiles cover them, and that what is put together has no seam."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from panda_core import RunConfig, UnreadableImage, UsageError
from panda_core.backbones import find_backbone
from panda_core.events import result_of
from panda_core.segmentation.calibration import fit_calibrated
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.model import PatchModel
from panda_core.segmentation.tiles import (
    AUTO_MOST,
    MOST_MAP,
    OVERLAP,
    TileGrid,
    automatic,
    canvas_side,
    drawing_of,
    unit_of,
)
from panda_core.segmentation.tiling import TOGETHER, tiled_maps

PHOTOS = [(2000, 3000), (3000, 2000), (1000, 1000), (300, 4000), (97, 61)]
CPU = torch.device("cpu")


def test_a_grid_worked_out_by_hand() -> None:
    """Tiles along the shorter side, or an aspect that is lost."""
    grid = TileGrid((2000, 3000), 224, 4)
    assert grid.canvas == (480, 704) and grid.offsets(1) == [0, 160, 320, 480] and grid.offsets(0) == [0, 128, 256]
    assert grid.tiles == (3, 4) and grid.transposed().canvas == (704, 480)


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("count", [2, 5, 16])
@pytest.mark.parametrize(("side", "unit"), [(224, 32), (64, 32), (448, 14)])
def test_tiles_cover_a_photo_and_overlap(photo: tuple[int, int], count: int, side: int, unit: int) -> None:
    """A strip between two tiles that nobody looks at; tiles that lie off the cells of their neighbours."""
    grid = TileGrid(photo, side, count, unit)
    assert max(grid.tiles) == count and max(grid.canvas) == side + (count - 1) * grid.step
    for axis, extent in enumerate(grid.canvas):
        offsets = grid.offsets(axis)
        assert offsets[0] == 0 and max(extent, side) == offsets[-1] + side
        assert all(offset % unit == 0 for offset in offsets)
        assert all(0 < after - before <= (1 - OVERLAP) * side for before, after in itertools.pairwise(offsets))
        for cells in (side // unit, 2 * side // unit):
            weights, total = grid.weights(axis, cells), np.zeros(max(extent, side) * cells // side)
            for offset, own in zip(offsets, weights, strict=True):
                total[offset * cells // side :][:cells] += own
            np.testing.assert_allclose(total, 1, rtol=1e-6)
            assert (weights > 0).all()
            if len(offsets) > 1:
                assert weights[0, -1] <= 0.5 and weights[0, 0] == 1, "least where a neighbour knows better"
    aspect = math.log(grid.canvas[0] / grid.canvas[1] * photo[1] / photo[0])
    assert abs(aspect) <= unit / min(grid.canvas) or min(grid.canvas) == unit, "rounded to whole cells, no further"


@pytest.mark.parametrize(
    ("photo", "tiles"),
    [((200, 224), "off"), ((300, 300), "off"), ((300, 400), "2"), ((640, 640), "3"), ((9000, 1), "4")],
)
def test_auto_enlarges_no_photo_and_has_a_bound(photo: tuple[int, int], tiles: str) -> None:
    """A default that changes figures of small images, or takes a hundred times as long without a word."""
    assert automatic(photo, 224) == tiles and AUTO_MOST == 4
    assert tiles == "off" or canvas_side(224, int(tiles)) <= max(photo)


def test_maps_are_bounded_and_blurred_as_one_tile() -> None:
    """Gigabytes of maps; a blur that grows with the photo and takes every scratch with it."""
    off = drawing_of(RunConfig(recipe="patchcore", image_size=224, set={"sigma": 4.0}))
    assert off == (224, 4.0)
    several = drawing_of(RunConfig(recipe="patchcore", image_size=224, tiles="4", set={"sigma": 4.0}))
    assert several.size == 704 and several.sigma * several.size == pytest.approx(4 * 224)
    assert drawing_of(RunConfig(recipe="patchcore", image_size=224, tiles="16", set={})).size == MOST_MAP


def test_what_cannot_be_is_a_sentence(tiny_network: Callable[..., Any]) -> None:
    """A traceback, or a photo that is squeezed until it fits."""
    for wrong in ("1", "17", "4.0", "many", "", "²"):
        with pytest.raises(UsageError, match=r"`tiles` must be off, auto or a whole number in \[2, 16\].*--tiles auto"):
            RunConfig(tiles=wrong)
    assert RunConfig(tiles=4).tiles == RunConfig(tiles="04").tiles == "4"  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"at least 64 px.*got 32 px.*--image-size 128"):
        TileGrid((20, 30), 32, 2)
    with pytest.raises(UsageError, match=r"that 14 px divide; got 256 px. Set `--image-size 224`"):
        TileGrid((20, 30), 256, 2, unit_of(14))
    grid = TileGrid((2000, 3000), 224, 4)
    grid.check_fits((210, 300, 3), "a.png")
    for shape in ((3000, 2000, 3), (2000, 3600, 3)):
        with pytest.raises(UnreadableImage, match=r"`a.png` is .* px; with `--tiles 4`.*3,000 × 2,000 px, within 10%"):
            grid.check_fits(shape, "a.png")
    with pytest.raises(UsageError, match=r"stage `first` has 15 of them over 64 px"):
        tiled_maps(TileGrid((20, 30), 64, 2), tiny_network(), ("first",), CPU, False, np.zeros((20, 30, 3), np.uint8))


@pytest.mark.parametrize("photo", [(100, 160), (160, 100), (30, 160)])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_network_that_sees_no_neighbours_gives_the_map_of_the_whole(
    tiny_network: Callable[..., Any], photo: tuple[int, int], quarters: int
) -> None:
    """A tile in another's place, a weight that does not sum to one, a turned photo that is not turned back."""

    looked_at = []

    def blocks(x: torch.Tensor, stages: Any) -> list[torch.Tensor]:
        looked_at.append(x.shape)
        return [F.avg_pool2d(x, stride) for stride in (8, 32)]

    network, grid = tiny_network(stage_maps=blocks), TileGrid(photo, 64, 3)
    image = np.random.default_rng(0).integers(0, 256, (*grid.canvas, 3), dtype=np.uint8)
    maps, pooled = tiled_maps(grid, network, ("first", "last"), CPU, False, image, quarters, 4)
    whole = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    if quarters == 2:  # half a turn keeps the shape, and places are those of the turned photo
        whole = whole.rot90(2, (2, 3))
    for found, wanted in zip(maps, blocks((whole - 0.5) / 0.5, ()), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert pooled is None
    *several, _whole = looked_at
    assert max(len(shape) for shape in several) == 4 and max(shape[0] for shape in several) <= TOGETHER
    assert sum(shape[0] for shape in several) == math.prod(grid.tiles), "each tile once, and never all of them"


WIDE, HIGH = 768, 512  # of drawn photos, on a canvas of 448 x 288 pixels


def ground(seed: int) -> np.ndarray:
    """Return a photo of an even rough surface, alike everywhere."""
    noise = np.random.default_rng(seed).normal(0, 1, (HIGH // 4, WIDE // 4)).astype(np.float32)
    grey = 128 + 22 * cv2.resize(noise, (WIDE, HIGH), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.stack([grey] * 3, axis=-1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def fitted() -> PatchModel:
    """Return PatchCore fitted to six such photos in 3 x 2 tiles of 192 pixels."""
    from panda_core.runs.kinds import resolve

    config = RunConfig(recipe="patchcore", image_size=192, tiles="3", set={"bank_rows": 200, "candidates": 2000})
    config = resolve(config)
    network = find_backbone(str(config.backbone)).load(str(config.set["cut"]))
    model = PatchModel(config, network, network.levels, CPU)
    model.cut((HIGH, WIDE))
    photos = [ground(seed) for seed in range(6)]
    result_of(fit_calibrated(model, model.patches(photos), len(photos)))
    return model


def drawn(model: PatchModel, image: np.ndarray) -> np.ndarray:
    return full_map(model.predict_maps([image]).grids[0], 448, 4.0 * 192 / 448)


def test_a_map_has_no_seam(fitted: PatchModel) -> None:
    """A step in the map where a tile ends, of whose last rows the network saw zeros beyond."""
    assert fitted.tiles is not None and fitted.tiles.tiles == (2, 3)
    maps = np.stack([drawn(fitted, ground(seed)) for seed in range(20, 24)])
    for axis in (1, 2):
        steps = np.abs(np.diff(maps, axis=axis)).mean(axis=(0, 3 - axis))
        offsets = fitted.tiles.offsets(axis - 1)
        borders = {place for offset in offsets for place in (offset, offset + 192) if 0 < place < maps.shape[axis]}
        near = np.array([min(abs(place - border) for border in borders) <= 3 for place in range(1, maps.shape[axis])])
        inner = np.arange(1, maps.shape[axis])
        away = ~near & (inner > 16) & (inner < maps.shape[axis] - 16)
        assert steps[near].max() < 1.5 * steps[away].max() and steps[near].mean() < 1.25 * steps[away].mean()


def test_a_defect_keeps_its_height_across_the_border_of_a_tile(fitted: PatchModel) -> None:
    """A defect that half of two tiles sees, and neither for what it is."""
    peaks, places = [], []
    for middle in range(190, 361, 34):  # in the photo; tiles begin at 219 and end at 329 of its 768 columns
        image = ground(99)
        cv2.circle(image, (middle, 256), 9, (30, 30, 30), -1)
        values = drawn(fitted, image)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        peaks.append(values.max())
        places.append(np.hypot((row + 0.5) / values.shape[0] * HIGH - 256, (column + 0.5) / 448 * WIDE - middle))
    assert max(places) < 16, "the highest place is the defect"
    assert min(peaks) > 0.75 * max(peaks)
    assert min(peaks) > 1.5 * drawn(fitted, ground(99)).max()


def test_a_photo_is_judged_alone(fitted: PatchModel) -> None:
    """A score that depends on what else is asked; a photo of another size that is another photo."""
    photos = [ground(30), ground(31), cv2.resize(ground(31), (2 * WIDE, 2 * HIGH), interpolation=cv2.INTER_NEAREST)]
    together = fitted.predict_maps(photos)
    for row, photo in enumerate(photos):
        alone = fitted.predict_maps([photo])
        assert alone.scores[0] == together.scores[row] and np.array_equal(alone.grids[0], together.grids[row])
    assert together.grids.shape[1:] == (36, 56) and together.cells.shape == (len(together.distances), 3)
    # A photo counts once: the numbers of images, rows and columns behind its patches are those of photos.
    for distances, origins in zip(together.distances, together.origins, strict=True):
        assert (origins.reshape(-1, 4).max(axis=0) < (6, 1, *distances.shape[1:3])).all()


def test_of_many_patches_the_nearest_of_the_finest_are_not_kept(
    fitted: PatchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six megabytes beside each map, of which a person looks at three crops; a place of another level's patches."""
    whole = fitted.predict_maps([ground(30)])
    monkeypatch.setattr(fitted, "most_kept", whole.distances[1][0, ..., 0].size)
    less = fitted.predict_maps([ground(30)])
    assert len(less.distances) == len(less.origins) == len(less.cells) == len(whole.distances) - 1
    np.testing.assert_array_equal(less.distances[0], whole.distances[1])
    np.testing.assert_array_equal(less.cells, whole.cells[1:])
    assert less.scores == whole.scores and np.array_equal(less.grids, whole.grids)
