"""A network, the spaces of its patches and a method fitted in them: images in, maps and scores out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.config import TILES_OFF, RunConfig
from panda_core.errors import UsageError
from panda_core.events import Computing
from panda_core.features.space import FeatureNorm
from panda_core.features.trunk import network_input, squared
from panda_core.linalg import Moments
from panda_core.segmentation.calibration import FOLDS
from panda_core.segmentation.geometry import Cells, network_side, on_even_grid
from panda_core.segmentation.inside import Inside, counted_in_copies, inside_of, turned_view
from panda_core.segmentation.maps import counted_cells, rotated
from panda_core.segmentation.method import Compared, PatchMethod, StreamedMethod
from panda_core.segmentation.patches import PatchSpace, aligned_patches
from panda_core.segmentation.probing import CELLS, cells_of, cells_tensor, find_cells
from panda_core.segmentation.results import Patches, PatchResult, as_arrays
from panda_core.segmentation.table import find_method
from panda_core.segmentation.tiles import TileGrid, grid_of, unit_of
from panda_core.segmentation.tiling import tiled_maps

TILES = "tiles"  # the name under which a model saves (height, width) of a photo like those it cuts
MOST_KEPT = 20_000  # patches of a level of a photo of which the nearest ones are kept: 1.2 MB
NO_DISTANCE = 1e-6  # the smallest unit of a map: held-out images that are copies of others must not make it infinite


class PatchModel:
    """Patch comparison with the stages `levels` of a network, as a resolved segmentation config describes it."""

    def __init__(self, config: RunConfig, network: Network, levels: tuple[str, ...], device: torch.device) -> None:
        options: Mapping[str, Any] = config.set
        self.network, self.levels, self.options, self.device = network, levels, options, device
        self.region = network.preprocessing.region
        self.method_class = find_method(config.recipe)
        self.feature_norm, self.seed = str(config.feature_norm), config.seed
        self.image_size = int(config.image_size or 0)  # pixels of a map
        self.side = network_side(self.image_size)  # pixels that the network looks at
        self.cells: tuple[Cells, ...] = ()  # of each level's maps; found with the first images
        self.measures_cells = True
        self.asked_tiles, self.most_kept = config.tiles, MOST_KEPT
        self.tiles: TileGrid | None = None  # how photos are cut; None: each is squeezed into a square
        self.merge = str(options.get("merge", "separate"))
        self.groups = [(level,) for level in levels] if self.merge == "separate" else [levels]
        self.rotations = int(options.get("rotations", 1))
        self.widths: list[tuple[int, ...]] = []
        self.spaces: list[PatchSpace] = []
        self.pooled_norm: FeatureNorm | None = None
        self.scales = np.ones(len(self.groups), np.float32)
        self.normal_views: np.ndarray | None = None  # (2, 2): mean and spread of two numbers of held-out images
        self.method: PatchMethod = self._method()

    def cut(self, photo: tuple[int, int]) -> None:
        """Cut images into tiles as `--tiles` asks, all like a photo (height, width); before anything is fitted."""
        self.tiles = grid_of(self.asked_tiles, photo, self.side, unit_of(self.network.patch))
        self.method = self._method()

    @torch.inference_mode()
    def patches(self, images: Sequence[np.ndarray], rotations: int = 1) -> Patches:
        """Return the raw patches of `rotations` copies of each decoded image (H, W, 3), those of one image together."""
        # A map must lie over all of an image: also networks whose weights came with a center crop see the whole of it.
        preprocessing = dataclasses.replace(self.network.preprocessing, crop=1.0)
        if self.tiles is not None:
            pools = self.method_class.pools
            look = partial(tiled_maps, self.tiles, self.network, self.levels, self.device, pools)
            several = [look(image, turn, rotations) for image in images for turn in range(rotations)]
            found = Patches.joined([as_arrays(self._grouped(maps), pooled) for maps, pooled in several])
            return self._counted(found, len(images), rotations)
        views = [turned_view(preprocessing, rotation, rotations) for rotation in range(rotations)]
        batch = np.stack(
            [
                squared(rotated(image, rotation, rotations), self.side, view)
                for image in images
                for rotation, view in enumerate(views)
            ]
        )
        found = as_arrays(*self.patches_of(network_input(batch, preprocessing).to(self.device)))
        return self._counted(found, len(images), rotations)

    def _counted(self, found: Patches, count: int, rotations: int) -> Patches:
        """Return patches of `rotations` copies of so many images, with which of them count where not all do."""
        if self.region is None:
            return found
        turned_back = self.tiles is not None
        own = [
            counted_in_copies(self.region, rotations, cells, self.extents(), group.shape[1:3], turned_back)
            for group, cells in zip(found.groups, self.group_cells(), strict=True)
        ]
        return dataclasses.replace(found, counted=[np.tile(copies, (count, 1, 1)) for copies in own])

    def patches_of(self, x: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return raw patches (B, g, g, D) of each group, and pooled features (B, P), of network input (B, 3, S, S)."""
        network = self.network
        groups = self._grouped(network.stage_maps(x, self.levels))
        return groups, network.tail(network.trunk(x)) if self.method_class.pools else None

    def _grouped(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return raw patches (B, h, w, D) of each group of levels, of the maps (B, C, h, w) of all stages."""
        maps = dict(zip(self.levels, stages, strict=True))
        self.widths = [self._widths([maps[level].shape[1] for level in group]) for group in self.groups]
        # Runs from before there was a choice lack the second.
        side, border = int(self.options["neighbourhood"]), str(self.options.get("border", "inside"))
        cells = dict(zip(self.levels, self._cells(list(maps.values())), strict=True))
        groups = [
            aligned_patches([maps[level] for level in group], side, border, [cells[level] for level in group])
            for group in self.groups
        ]
        if self.merge == "mean":
            groups = [torch.stack(group.split(self.widths[0][0], dim=-1)).mean(dim=0) for group in groups]
        return groups

    def _widths(self, widths: list[int]) -> tuple[int, ...]:
        """Return how wide the parts of a patch are, of levels of `widths` features."""
        if self.merge != "mean":
            return tuple(widths)
        if len(set(widths)) > 1:
            raise UsageError(
                f"`merge=mean` needs levels of one width; {', '.join(self.levels)} have {', '.join(map(str, widths))} "
                "features. Set `--set merge=separate`."
            )
        return tuple(widths[:1])

    def _cells(self, maps: Sequence[Tensor]) -> tuple[Cells, ...]:
        """Return where the cells of each level's maps (B, C, h, w) lie."""
        if not self.cells and self.measures_cells:
            self.cells = find_cells(self.network, self.levels, self.side, self.device)
        elif not self.cells:
            self.cells = tuple(Cells.even(self.side, level.shape[-1]) for level in maps)
        return self.cells

    def bytes_for(self, image: np.ndarray, count: int) -> int:
        """Return about how many bytes the patches of `count` normal images take: raw, in space, and those fitted to.

        A method that streams keeps moments instead, as many as there are folds and two more.
        """
        sizes = [group.nbytes for group in self.patches([image]).groups]
        if self.method_class.streams:
            return sum(sizes) * self.rotations + (FOLDS + 2) * sum(8 * sum(widths) ** 2 for widths in self.widths)
        twice = sizes[0] if self.feature_norm == "whiten" else 0  # the finest group has two views in space
        return count * self.rotations * (3 * sum(sizes) + 2 * twice)

    def fit_spaces(self, raw: Patches) -> None:
        """Fix the spaces from the raw patches of normal images."""
        dims, position = int(self.options.get("whiten_dims", 0)), float(self.options.get("position", 0.0))
        self.spaces = [
            PatchSpace.fit(
                self.feature_norm,
                raw.listed(group),
                widths,
                dims,
                position,
                self.seed,
                keep_length=group == 0,  # the finest: deeper ones find fewer defects with it
            )
            for group, widths in enumerate(self.widths)
        ]
        if raw.pooled is not None:
            pooled = torch.from_numpy(raw.pooled)
            self.pooled_norm = FeatureNorm.fit(self.feature_norm, pooled, self.network.level_widths, dims)

    def in_space(self, raw: Patches) -> Patches:
        """Return patches in the spaces of this model."""
        groups = [space(group) for space, group in zip(self.spaces, raw.groups, strict=True)]
        pooled = raw.pooled
        if pooled is not None and self.pooled_norm is not None:
            pooled = self.pooled_norm(torch.from_numpy(pooled)).numpy()
        return Patches(groups, pooled, raw.counted)

    def fit(self, normal: Patches, images: np.ndarray, rotations: int | None = None) -> Computing[None]:
        """Fit the method to patches, in space, of the turned copies of the normal images numbered `images`.

        rotations: how many copies of each these are; None: as many as the options say.
        """
        method = self._method(rotations)
        yield from method.fit(normal.groups, images, normal.pooled, normal.counted)
        self.method = method

    def fit_moments(self, groups: Sequence[Sequence[Moments]]) -> None:
        """Fit the method, one that streams, to all of some moments of patches, in space, of each group of levels."""
        method = cast(StreamedMethod, self._method())
        method.fit_moments([Moments.joined(same) for same in zip(*groups, strict=True)])
        self.method = method

    def compare(self, patches: Patches) -> list[Compared]:
        """Return how far patches in space, of each group of levels, lie from normal ones."""
        return self.method.compare(patches.groups, patches.pooled)

    def set_scales(self, held_out: Sequence[Sequence[Compared]]) -> None:
        """Take the mean distance of held-out normal patches, of some batches, as the unit of each group of levels."""
        found = [
            np.concatenate([group.distances[..., 0] for group in groups]) for groups in zip(*held_out, strict=True)
        ]
        inside = self.inside(found)
        if inside is not None:
            found = [distances[:, own.counts] for distances, own in zip(found, inside, strict=True)]
        means = [float(distances.mean()) for distances in found]
        self.scales = np.maximum(np.array(means, np.float32), NO_DISTANCE)

    def segment(self, patches: Patches) -> PatchResult:
        """Return what the fitted method says of patches in space."""
        return self.judged(self.compare(patches), patches)

    def judged(self, compared: list[Compared], patches: Patches) -> PatchResult:
        """Return maps and scores of patches in space, of which `compared` is known."""
        nearest = [group.distances[..., 0] for group in compared]  # (B, h, w)
        levels = [distances / scale for distances, scale in zip(nearest, self.scales, strict=True)]
        first, inside = max(0, len(levels) - (self.method_class.deepest or len(levels))), self.inside(levels)
        if inside is None:
            whole = np.mean([level.mean(axis=(1, 2)) for level in levels[first:]], axis=0)
            judging = compared
        else:
            whole = np.mean(
                [own.mean(level) for level, own in zip(levels[first:], inside[first:], strict=True)], axis=0
            )
            levels = [own.filled(level) for level, own in zip(levels, inside, strict=True)]
            judging = [own.alone(group) for group, own in zip(compared, inside, strict=True)]
        grids, deep = self._fused(levels, 0), self._fused(levels[first:], first)
        if self.region is not None:
            grids = grids * counted_cells(self.region, grids.shape[1:])
            deep = deep[:, counted_cells(self.region, deep.shape[1:])]
        scores = self.method.image_scores(deep, judging[first:], patches.groups[first:], patches.pooled)
        if self.normal_views is not None:
            scores = self._outstanding(scores, whole)
        known = [
            (group.distances, group.origins, own.shares(self.extents()[0]))
            for group, own in zip(compared, self.group_cells(), strict=True)
            if group.origins is not None and self._keeps(group)
        ]
        distances, origins, cells = zip(*known, strict=True) if known else ((), (), ())
        return PatchResult(
            grids, np.asarray(scores, np.float32), whole, distances, origins, np.array(cells).reshape(-1, 3)
        )

    def inside(self, maps: Sequence[np.ndarray]) -> list[Inside] | None:
        """Return what counts of maps (B, h, w) of each group; None where all of the image does."""
        if self.region is None:
            return None
        return [
            inside_of(self.region, cells, self.extents(), own.shape[1:])
            for own, cells in zip(maps, self.group_cells(), strict=True)
        ]

    def group_cells(self) -> list[Cells]:
        """Return where the patches of each group lie: where the cells of its first level do."""
        return [self.cells[self.levels.index(group[0])] for group in self.groups]

    def extents(self) -> tuple[int, int]:
        """Return (height, width) in pixels of what networks see of an image: a square, or the canvas of a photo."""
        return (self.side, self.side) if self.tiles is None else self.tiles.canvas

    def _keeps(self, group: Compared) -> bool:
        """Return whether the nearest patches are kept to be looked at: of photos in many tiles not the finest ones."""
        return self.tiles is None or group.distances[0, ..., 0].size <= self.most_kept

    def _fused(self, levels: Sequence[np.ndarray], first: int) -> np.ndarray:
        """Return one map (B, g, g) of those (B, h, w) of the groups from `first` on. It divides the image evenly."""
        cells = self.group_cells()[first : first + len(levels)]
        weights = [float(level.shape[1]) for level in levels]
        return self.method.fused(on_even_grid(levels, cells, self.extents()[0]), weights)

    def predict_maps(self, images: Sequence[np.ndarray]) -> PatchResult:
        """Return what the fitted method says of decoded images (H, W, 3)."""
        if self.tiles is None:
            return self.segment(self.in_space(self.patches(images)))
        # One photo after another: the patches of several would take a multiple of the memory, and save no time.
        return PatchResult.joined([self.segment(self.in_space(self.patches([image]))) for image in images])

    def calibrate(self, scores: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Take held-out normal images' scores (H,) and `whole` (H,) as what is normal; return their final scores."""
        if self.options.get("image_score") == "part-or-whole":
            views = np.stack([scores, whole])
            # With few images, or equal ones, the deviation says nothing: a twentieth of the mean is then a unit.
            spread = np.maximum(views.std(axis=1), views.mean(axis=1) / 20)
            self.normal_views = np.stack([views.mean(axis=1), np.maximum(spread, NO_DISTANCE)]).astype(np.float32)
            scores = self._outstanding(scores, whole)
        return scores

    def _outstanding(self, scores: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Return how far (B,) the highest patches, or the mean of all, lie above held-out normals, whichever more.

        In standard deviations of held-out normal images: a small defect shows in few patches, a wrong surface a little
        in all of them, and neither number alone sees both.
        """
        mean, spread = self.normal_views  # type: ignore[misc]
        return np.maximum((scores - mean[0]) / spread[0], (whole - mean[1]) / spread[1]).astype(np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """Return all that was learned, by name, for saving."""
        tensors = {
            f"{group}.space.{name}": value
            for group, space in enumerate(self.spaces)
            for name, value in space.tensors().items()
        }
        if self.pooled_norm is not None:
            tensors |= {f"pooled_space.{name}": value for name, value in self.pooled_norm.tensors().items()}
        widths = {f"{group}.widths": torch.tensor(widths) for group, widths in enumerate(self.widths)}
        views = {} if self.normal_views is None else {"normal_views": torch.from_numpy(self.normal_views)}
        cells = {CELLS: cells_tensor(self.cells)}
        if self.tiles is not None:
            cells[TILES] = torch.tensor(self.tiles.photo)
        return {**tensors, **widths, **views, **cells, "scales": torch.from_numpy(self.scales), **self.method.tensors()}

    def load(self, tensors: Mapping[str, Tensor]) -> PatchModel:
        """Take what `tensors()` returned; a missing one raises `KeyError`."""
        groups = range(len(self.groups))
        self.widths = [tuple(tensors[f"{group}.widths"].tolist()) for group in groups]
        self.spaces = [
            PatchSpace.from_tensors(self.feature_norm, self.widths[group], _below(tensors, f"{group}.space."))
            for group in groups
        ]
        if self.method_class.pools:
            pooled = _below(tensors, "pooled_space.")
            self.pooled_norm = FeatureNorm.from_tensors(self.feature_norm, self.network.level_widths, pooled)
        self.scales = tensors["scales"].numpy()
        if self.asked_tiles != TILES_OFF:
            height, width = tensors[TILES].tolist()
            self.cut((height, width))
        if CELLS in tensors:
            self.cells = cells_of(tensors[CELLS])
        else:  # the run is from before cells were measured: its bank was made at the very size, its maps evenly
            self.side, self.measures_cells = self.image_size, False
        if self.options.get("image_score") == "part-or-whole":
            self.normal_views = tensors["normal_views"].numpy()
        self.method = self._method().load(tensors, len(self.groups))
        for group, widths in enumerate(self.widths):
            patch = self.spaces[group](np.zeros((1, 1, 1, sum(widths)), np.float32))
            if self.method.width(group) != patch.shape[-1]:
                raise ValueError(f"its patches are {self.method.width(group)} wide, not {patch.shape[-1]}")
        return self

    def _method(self, rotations: int | None = None) -> PatchMethod:
        options = dict(self.options)
        if self.tiles is not None and "top" in options:  # a defect counts as much as it would in one tile
            counted = 1.0 if self.region is None else float(self.region.marked.mean())
            options["top"] = float(options["top"]) * min(1.0, self.tiles.share / counted)
        return self.method_class.from_options(options, seed=self.seed, rotations=rotations or self.rotations)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
