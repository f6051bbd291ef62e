"""How maps are looked at: which are rejected, colours and way of drawing, and the picture that results."""

from __future__ import annotations

import dataclasses

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.forms.sections import take_older_address
from pages.shared.frame.glossary import tip
from pages.shared.segment.maps import Maps
from panda_core.figures.heatmaps import Scale, boxed, contoured, heated, own_scale, shaded

HEATMAP, CONTOUR, MASK, BOXES = WAYS = ("heatmap", "contour", "mask", "boxes")
FIXED, OWN = ("one scale for all images", "each image its own")


@dataclasses.dataclass(frozen=True)
class MapStyle:
    """How maps are drawn.

    level: map value above which a part is marked; None where no normal image was held out.
    way: one of `WAYS`.
    own: whether each image has a scale of its own.
    """

    level: float | None
    scale: Scale
    way: str = HEATMAP
    opacity: float = 0.7
    own: bool = False

    def scale_of(self, values: np.ndarray) -> Scale:
        """Return the colours of one map."""
        return own_scale(values) if self.own else self.scale

    def drawn(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return a picture (H, W, 3) with its map (S, S) drawn on it."""
        if self.way == HEATMAP or self.level is None:
            return heated(picture, values, self.scale_of(values), self.opacity)
        if self.way == MASK:
            return shaded(picture, values, self.level, self.opacity)
        return (contoured if self.way == CONTOUR else boxed)(picture, values, self.level)


def choose_style(maps: Maps, row: DeltaGenerator, rest: DeltaGenerator) -> MapStyle:
    """Draw the ways of drawing in `row`, opacity and colours in `rest`, and return what was chosen."""
    level = maps.calibration.map_middle
    take_older_address("map_way", WAYS if level is not None else WAYS[:1])
    take_older_address("map_colours", (FIXED, OWN))
    way = row.segmented_control(
        "Draw the map as",
        WAYS if level is not None else WAYS[:1],
        default=HEATMAP,
        format_func=str.capitalize,
        key="map_way",
        help=tip("map_way"),
        bind="query-params",
        required=True,
    )
    with rest.popover("Colours, opacity, level", icon=":material/palette:", width="stretch", help=tip("map_colours")):
        own = st.segmented_control(
            "Colours",
            (FIXED, OWN),
            default=FIXED,
            format_func=str.capitalize,
            key="map_colours",
            help=tip("map_colours"),
            bind="query-params",
            required=True,
        )
        strength = st.slider(
            "Opacity, %", 0, 100, 70, step=5, key="map_opacity", help=tip("map_opacity"), bind="query-params"
        )
        if level is not None:
            level = _choose_level(maps, level)
    if own == OWN:
        st.warning(tip("own_scale"), icon=":material/warning:")
    return MapStyle(level, maps.scale, way or HEATMAP, strength / 100, own == OWN)


def _choose_level(maps: Maps, middle: float) -> float:
    """Draw the slider of the map value from which on a part of an image is marked; it starts where normal maps end."""
    top = round(max(float(maps.peaks.max(initial=0)), middle, 1e-6) * 1.05, 2)
    chosen: float = st.slider(
        "Mark what lies above this map value",
        0.0,
        max(top, 0.01),
        min(round(middle, 2), max(top, 0.01)),
        0.01,
        key="map_value",
        help=tip("map_value"),
    )
    return chosen
