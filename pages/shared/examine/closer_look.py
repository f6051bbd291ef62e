"""One test image: its score, its verdict, and the normal images it was compared with."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.examine.scores import StepScores
from pages.shared.examine.stopping_view import show_over_checkpoints, stops_by_sample
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import chosen_image
from pages.shared.runs.images import find_images, tile
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

SIDE = 240  # pixels
SMALL = 96


def show_image(run: LoadedRun, scored: StepScores) -> None:
    """Draw the chosen image; before one is chosen, that with the highest score."""
    image = chosen_image(len(scored.scores))
    if not len(scored.scores):
        return
    if image is None:
        image = int(np.argmax(scored.scores))
    kind = "anomalous" if scored.is_anomaly[image] else "normal"
    with st.container(border=True):
        st.markdown(f"**{wording.sentence(scored.names[image])}**")
        if find_images(run, "test")[0] is not None:
            picture = tile(run, "test", image, SIDE)
            if picture is not None:
                st.image(picture, alt=f"Test image {scored.names[image]}, {kind}")
        st.markdown(f"In truth **{kind}**. Score **{wording.amount(scored.scores[image])}**.", help=tip("score"))
        percentile = scored.percentile(image)
        if percentile is not None:
            verdict = scored.calibration.verdict(float(scored.scores[image]), scored.rate)
            judged = "right" if verdict == kind else "wrong"
            st.markdown(f"Verdict: **{verdict}**, {judged}.", help=tip("verdict"))
            st.markdown(f"Above **{percentile:.0f} %** of held-out normals.", help=tip("percentile"))
        show_over_checkpoints(run, image)
        _neighbours(run, scored, image)


def _neighbours(run: LoadedRun, scored: StepScores, image: int) -> None:
    step = int(scored.steps[image])
    try:
        arrays = run.adapt_arrays(step)
    except PandaError:
        return
    if arrays.neighbours is None or arrays.neighbour_distances is None:
        return
    rows, distances = arrays.neighbours[image], arrays.neighbour_distances[image]
    # Distances come in the unit of the score, which adds up some. Where each image has a checkpoint of its own, the
    # run has divided by that checkpoint's normaliser before.
    unit = scored.unit * (float(arrays.normaliser) if stops_by_sample(run) and scored.final else 1.0)
    st.markdown(f"**Nearest normal training images** at step {step}", help=tip("neighbours"))
    names, shown = run.split.train, find_images(run, "train")[0] is not None
    with st.grid(5, min_column_width=44, gap="small"):
        for row, distance in zip(rows, distances, strict=True):
            with st.container(gap="xsmall"):
                picture = tile(run, "train", int(row), SMALL) if shown else None
                if picture is not None:
                    st.image(picture, width="stretch", alt=f"Normal training image {names[row]}")
                else:
                    st.caption(wording.sentence(str(names[row])))
                st.caption(wording.amount(float(distance) / (unit or 1.0)))
