"""Charts of runs as Plotly figures: pure functions of small frozen values. What draws them is not known here."""

from __future__ import annotations

from panda_core.figures.comparison import compare_figure
from panda_core.figures.curve import Curve, curve_of
from panda_core.figures.curves import auroc_figure, distances_figure, rank_figure, ratios_figure
from panda_core.figures.patches import followed_figure, legend_figure, picture_figure
from panda_core.figures.replay import Cloud, replay_figure
from panda_core.figures.scores import histogram_figure, spectrum_figure

__all__ = [
    "Cloud",
    "Curve",
    "auroc_figure",
    "compare_figure",
    "curve_of",
    "distances_figure",
    "followed_figure",
    "histogram_figure",
    "legend_figure",
    "picture_figure",
    "rank_figure",
    "ratios_figure",
    "replay_figure",
    "spectrum_figure",
]
