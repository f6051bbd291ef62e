"""Charts of runs as Plotly figures: pure functions of small frozen values. What draws them is not known here."""

from __future__ import annotations

from panda_core.figures.curve import Curve, curve_of
from panda_core.figures.curves import (
    auroc_figure,
    compare_figure,
    copies_figure,
    distances_figure,
    kept_figure,
    rank_figure,
    ratios_figure,
)
from panda_core.figures.elastic import fisher_figure, moved_figure, strengths_figure
from panda_core.figures.map_film import MapsAt, map_film
from panda_core.figures.patches import followed_figure, legend_figure, picture_figure
from panda_core.figures.scores import chosen_figure, histogram_figure, normalised_figure, spectrum_figure
from panda_core.figures.time_machine import Moment, jumps, thinned, time_machine

__all__ = [
    "Curve",
    "MapsAt",
    "Moment",
    "auroc_figure",
    "chosen_figure",
    "compare_figure",
    "copies_figure",
    "curve_of",
    "distances_figure",
    "fisher_figure",
    "followed_figure",
    "histogram_figure",
    "jumps",
    "kept_figure",
    "legend_figure",
    "map_film",
    "moved_figure",
    "normalised_figure",
    "picture_figure",
    "rank_figure",
    "ratios_figure",
    "spectrum_figure",
    "strengths_figure",
    "thinned",
    "time_machine",
]
