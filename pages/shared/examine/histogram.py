"""The scores of the test images as a histogram, with the threshold."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.examine.scores import StepScores
from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from panda_core.figures import histogram_figure


def show_histogram(scored: StepScores) -> None:
    """Draw the histogram."""
    st.markdown("**Scores of the test images**", help=tip("histogram"))
    show_figure(
        histogram_figure(scored.scores, scored.is_anomaly, threshold=scored.threshold),
        key="histogram",
        alt=_described(scored),
    )


def _described(scored: StepScores) -> str:
    """Return what the histogram shows, in words."""
    if not len(scored.scores):
        return "An empty chart: there are no test images."
    medians = [
        f"{name} images around {wording.amount(float(np.median(members)))}"
        for name, members in (
            ("normal", scored.scores[scored.is_anomaly == 0]),
            ("anomalous", scored.scores[scored.is_anomaly == 1]),
        )
        if len(members)
    ]
    line = "" if scored.threshold is None else f"; threshold at {wording.amount(scored.threshold)}"
    return f"Histogram of anomaly scores: {' and '.join(medians)}{line}."
