"""Maps of a few images at every step of a run, as bytes on one scale of colours: a film that a browser can play."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from panda_core.figures.heatmaps import Scale, coloured, fixed_scale
from panda_core.region import Region
from panda_core.segmentation.maps import full_map

MOST_SIDE = 32  # values on a side of a map: more are not seen in a picture of two hundred pixels
LEVELS = 256


@dataclasses.dataclass(frozen=True)
class MapsAt:
    """What a segmentation says at one step, with the network as adapted until then.

    grids: (N, g, g) and peaks: (N,), the highest values of the full maps, of the images of the film.
    held_out_grids: (H, g, g) of held-out normal images; H may be 0.
    low, middle: of the colours, from their full maps (`panda_core.runs.calibration`); None where there are none.
    """

    grids: np.ndarray
    peaks: np.ndarray
    held_out_grids: np.ndarray
    low: float | None = None
    middle: float | None = None


def map_film(
    moments: Sequence[MapsAt | None], *, size: int, sigma: float, region: Region | None = None
) -> dict[str, Any]:
    """Return the maps of every step as plain JSON; None for a step that has no maps, {} where none has any.

    Features shrink as they collapse, and distances with them: every value is divided by what a patch of a held-out
    normal image scores on average at its step. On that scale one choice of colours serves the whole film: from the
    lower end over the middle, both of the first step with maps, to the film's highest value.
    `maps`: for each step, uint8 (N, side, side) in base64, each byte a position on the scale; they are full maps,
    blurred, at the centers of the patches. `peaks`: highest values. `colours`: RGBA of each byte. size, sigma,
    region: of a full map, see `panda_core.segmentation.maps.full_map`.
    """
    first = next((moment for moment in moments if moment is not None), None)
    if first is None:
        return {}
    side = min(first.grids.shape[-1], MOST_SIDE)
    peaks = np.concatenate([moment.peaks / unit_of(moment) for moment in moments if moment is not None])
    scale = _scale(first, float(peaks[np.isfinite(peaks)].max(initial=0)))
    positions = [
        None if moment is None else scale.positions(_sampled(moment, side, size, sigma, region)) for moment in moments
    ]
    return {
        "side": side,
        "maps": [None if found is None else _bytes((LEVELS - 1) * found) for found in positions],
        "peaks": [None if moment is None else _rounded(moment.peaks / unit_of(moment)) for moment in moments],
        "low": scale.low,
        "middle": scale.middle,
        "high": scale.high,
        "calibrated": scale.calibrated,
        "colours": _bytes(coloured(np.linspace(0, 1, LEVELS)[None], Scale(0, 0.5, 1))),
    }


def unit_of(moment: MapsAt) -> float:
    """Return what a patch of a held-out normal image scores on average at a step; 1 where nobody knows."""
    unit = float(moment.held_out_grids.mean(dtype=np.float64)) if moment.held_out_grids.size else 1.0
    return unit if np.isfinite(unit) and unit > 0 else 1.0


def _scale(first: MapsAt, highest: float) -> Scale:
    """Return the scale of a run at its first step, stretched upwards: twelve images have room for their differences."""
    unit = unit_of(first)
    if first.low is None or first.middle is None:
        return fixed_scale(None, None, first.grids / unit)
    scale = fixed_scale(first.low / unit, first.middle / unit, first.grids)
    return dataclasses.replace(scale, high=max(scale.high, highest))


def _sampled(moment: MapsAt, side: int, size: int, sigma: float, region: Region | None) -> np.ndarray:
    """Return the full maps at the centers of `side` by `side` squares: what a browser enlarges again."""
    full = [full_map(grid.astype(np.float32), size, sigma, region) for grid in moment.grids]
    small = [cv2.resize(one, (side, side), interpolation=cv2.INTER_LINEAR) for one in full]  # samples, not means
    return np.nan_to_num(np.reshape(small, (len(small), side, side)) / unit_of(moment))


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(np.asarray(values).round().astype(np.uint8).tobytes()).decode()


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.3g}") if np.isfinite(value) else None for value in values.astype(float)]
