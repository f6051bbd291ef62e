"""How maps are looked at: threshold, colours and way of drawing, and the picture that results."""

from __future__ import annotations

import dataclasses

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.frame.glossary import tip
from pages.shared.segment.maps import Mapped
from panda_core.figures.heatmaps import Scale, boxed, contoured, heated, own_scale, shaded

HEATMAP, CONTOUR, MASK, BOXES = WAYS = ("heatmap", "contour", "mask", "boxes")
FIXED, OWN = ("one scale for all images", "each image its own")


@dataclasses.dataclass(frozen=True)
class Look:
    """threshold: of the map, None where there is none. way: one of `WAYS`. own: whether each image has a scale."""

    threshold: float | None
    scale: Scale
    way: str = HEATMAP
    opacity: float = 0.7
    own: bool = False

    def scale_of(self, values: np.ndarray) -> Scale:
        """Return the colours of one map."""
        return own_scale(values) if self.own else self.scale

    def drawn(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return a picture (H, W, 3) with its map (S, S) drawn on it."""
        if self.way == HEATMAP or self.threshold is None:
            return heated(picture, values, self.scale_of(values), self.opacity)
        if self.way == MASK:
            return shaded(picture, values, self.threshold, self.opacity)
        return (contoured if self.way == CONTOUR else boxed)(picture, values, self.threshold)


def choose_threshold(found: Mapped, place: DeltaGenerator) -> float | None:
    """Draw the threshold's slider, as a rate of false alarms or as a value of the map, and return the value."""
    with place:
        calibrated = len(found.held_out_peaks) > 0
        slider = st.container()
        by_value = st.toggle(
            "Set the map value directly", key="map_by_value", help=tip("map_by_value"), bind="query-params"
        )
        if by_value:
            top = max(float(found.peaks.max(initial=0)), float(found.held_out_peaks.max(initial=0)), 1.0) * 1.05
            start = min(found.threshold(0.05) or top / 2, top)
            chosen: float = slider.slider(
                "Threshold of the map",
                0.0,
                round(top, 2),
                round(start, 2),
                0.01,
                key="map_value",
                help=tip("map_value"),
            )
            return chosen
        if not calibrated:
            slider.caption(tip("no_map_threshold"))
            return None
        percent = slider.slider(
            "False alarms allowed, %", 1, 50, 5, key="map_alarms", help=tip("map_alarms"), bind="query-params"
        )
        return found.threshold(percent / 100)


def choose_look(found: Mapped, threshold: float | None) -> Look:
    """Draw the ways of drawing, the opacity and the choice of colours, and return them with the threshold."""
    ways, colours, opacity = st.columns([1.5, 1.7, 1], gap="medium", vertical_alignment="bottom")
    way = ways.segmented_control(
        "Draw the map as",
        WAYS if threshold is not None else WAYS[:1],
        default=HEATMAP,
        key="map_way",
        help=tip("map_way"),
        bind="query-params",
        required=True,
    )
    own = colours.segmented_control(
        "Colours",
        (FIXED, OWN),
        default=FIXED,
        key="map_colours",
        help=tip("map_colours"),
        bind="query-params",
        required=True,
    )
    strength = opacity.slider(
        "Opacity, %", 0, 100, 70, step=5, key="map_opacity", help=tip("map_opacity"), bind="query-params"
    )
    if own == OWN:
        st.warning(tip("own_scale"), icon=":material/warning:")
    return Look(threshold, found.scale(threshold), way or HEATMAP, strength / 100, own == OWN)
