"""The film of maps: one scale for all steps, values that do not shrink with the features, bytes that mean colours."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from panda_core.figures import MapsAt, map_film
from panda_core.figures.heatmaps import Scale, coloured

SIZE, GRID = 36, 4  # nine pixels for each patch: one lies at its centre


def maps_at(size: float = 1.0, hot: float = 3.0, held_out: int = 30) -> MapsAt:
    """Return maps of two images whose values all have this size: a calm one, and one with a hot patch at (1, 2)."""
    rng = np.random.default_rng(0)
    grids = rng.uniform(0.9, 1.1, (2, GRID, GRID))
    grids[1, 1, 2] = hot
    normal = rng.uniform(0.8, 1.2, (held_out, GRID, GRID))
    low, middle = (size * np.median(normal), size * normal.max()) if held_out else (None, None)
    return MapsAt(size * grids, size * grids.max(axis=(1, 2)), size * normal, low, middle)


def film_of(*moments: MapsAt | None, sigma: float = 0.0) -> dict[str, Any]:
    return map_film(moments, size=SIZE, sigma=sigma)


def values_of(film: dict[str, Any], place: int) -> np.ndarray:
    """Return the bytes of a step as (images, side, side)."""
    raw = np.frombuffer(base64.b64decode(film["maps"][place]), np.uint8)
    return raw.reshape(-1, film["side"], film["side"])


def test_a_collapse_does_not_cool_the_maps() -> None:
    """A defect that fades because all distances shrink, or a middle that is the one of another unit."""
    film = film_of(maps_at(), maps_at(0.01), maps_at(1e-6))
    assert film["maps"][0] == film["maps"][1] == film["maps"][2]
    assert film["peaks"][0] == pytest.approx(film["peaks"][2], rel=1e-2)
    assert film["calibrated"] and max(film["peaks"][0][:1]) < film["middle"] < film["peaks"][0][1]
    assert json.loads(json.dumps(film)) == film


def test_one_scale_serves_all_steps() -> None:
    """Colours stretched anew at each step: what grows hotter would look the same."""
    film = film_of(maps_at(hot=1.5), maps_at(hot=6.0))
    first, later = values_of(film, 0), values_of(film, 1)
    assert 255 == later[1, 1, 2] > first[1, 1, 2] > 128  # above the middle of the bytes
    assert np.array_equal(first[0], later[0])
    assert film["high"] == pytest.approx(film["peaks"][1][1], rel=1e-2)
    calm = film_of(maps_at(hot=1.0))  # without anomalies there is no reason to stretch
    assert calm["high"] - calm["middle"] == pytest.approx(calm["middle"] - calm["low"])


def test_bytes_are_positions_on_the_scale_and_have_its_colours() -> None:
    """A patch drawn in the place or the colour of another."""
    film = film_of(maps_at())
    held = maps_at().held_out_grids
    scale = Scale(film["low"], film["middle"], film["high"])
    values = maps_at().grids / held.mean()
    assert np.abs(values_of(film, 0) - 255 * scale.positions(values)).max() < 1
    colours = np.frombuffer(base64.b64decode(film["colours"]), np.uint8).reshape(256, 4)
    ends = coloured(np.array([[scale.low, scale.middle, scale.high]]), scale)[0]
    assert np.abs(colours[[0, 128, 255]].astype(int) - ends).max() <= 4  # 128 is not quite the middle


def test_the_blur_of_the_full_map_is_seen() -> None:
    """A film sharper than the maps of the Segment page, above a middle that those do not reach."""
    sharp, soft = (values_of(film_of(maps_at(hot=1.3), maps_at(hot=9.0), sigma=sigma), 0)[1] for sigma in (0.0, 40.0))
    assert soft.max() < sharp.max() and np.ptp(soft.astype(int)) < np.ptp(sharp.astype(int))


def test_steps_without_maps_and_runs_without_normals_held_out() -> None:
    """A film that stands still where a step is missing; a middle invented where no image was held out."""
    film = film_of(None, maps_at(), None)
    assert [found is None for found in film["maps"]] == [True, False, True] == [p is None for p in film["peaks"]]
    assert film_of(None, None) == {}
    bare = film_of(maps_at(held_out=0))
    assert not bare["calibrated"] and bare["low"] < bare["middle"] < bare["high"]


def test_maps_of_a_collapse_to_nothing() -> None:
    """A division by zero, or a NaN in JSON, where all features have become the same point."""
    film = film_of(maps_at(), maps_at(0.0), maps_at(np.nan))
    assert json.loads(json.dumps(film, allow_nan=False)) == film
    assert values_of(film, 1).max() == 0
