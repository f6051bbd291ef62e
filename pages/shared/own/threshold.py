"""The threshold of a detector, as a rate of false alarms, and how sure that rate is with the images there are."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.runs.loaded import LoadedRun


def choose_rate(run: LoadedRun) -> float | None:
    """Draw the choice of the false-alarm rate and what it will do; None where no normal images were held out."""
    calibration = run.calibration
    st.subheader("When to reject")
    if not calibration.images:
        st.warning("No normal images were held out of this run: it has scores, but no threshold.")
        return None
    choice, words = st.columns([1, 1.6], gap="large", vertical_alignment="center")
    percent = choice.slider(
        "False alarms allowed, %", 1, 50, 5, key="own_alarms", help=tip("false_alarms"), bind="query-params"
    )
    rate = percent / 100
    threshold, alarms = calibration.threshold(rate), calibration.false_alarms(rate)
    if threshold is None or alarms is None:
        return None
    words.markdown(
        f"An image is rejected if its score is above **{wording.amount(threshold)}**. Expected: "
        f"**{wording.percent(alarms.expected)}** false alarms. With "
        f"{wording.count(calibration.images, 'normal image')} to judge by, the true share may lie "
        f"**between {wording.percent(alarms.low)} and {wording.percent(alarms.high)}** (95 %).",
        help=tip("own_interval"),
    )
    if len(anomalies := _anomalies(run)):
        found = int(calibration.rejects(anomalies, rate).sum())
        words.markdown(
            f"Of {wording.count(len(anomalies), 'known anomalous image')}, **{found}** "
            f"{'is' if found == 1 else 'are'} rejected; AUROC {wording.auroc((run.metrics or {}).get('auroc'))}.",
            help=tip("auroc"),
        )
    if alarms.expected > rate * 1.02:
        needed = int(np.ceil(1 / rate)) - 1
        words.caption(
            f"{calibration.images} images are too few to promise {percent} %: that takes {needed}. The threshold is "
            "the highest value that a normal image had."
        )
    return rate


def _anomalies(run: LoadedRun) -> np.ndarray:
    """Return the scores (A,) of the anomalous images that came with the normal ones."""
    step = run.segmented[-1].step if run.is_segmentation else "final"
    return np.asarray(run.arrays(step)["scores"])[np.asarray(run.split["is_anomaly"]) == 1]
