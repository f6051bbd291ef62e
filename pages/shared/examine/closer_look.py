"""One test image: its score, its verdict, and the normal images it was compared with."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.examine.stopping_view import show_over_checkpoints, stops_by_sample
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.gallery import chosen_image
from pages.shared.runs.images import find_images, tile
from pages.shared.runs.scored import Scored
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

SIDE = 240  # pixels
SMALL = 96


def show_image(run: LoadedRun, found: Scored) -> None:
    """Draw the chosen image; before one is chosen, that with the highest score."""
    image = chosen_image(found)
    if not len(found.scores):
        return
    if image is None:
        image = int(np.argmax(found.scores))
    kind = "anomalous" if found.is_anomaly[image] else "normal"
    with st.container(border=True):
        st.markdown(f"**{wording.sentence(found.names[image])}**")
        if find_images(run, "test")[0] is not None:
            picture = tile(run, "test", image, SIDE)
            if picture is not None:
                st.image(picture, alt=f"Test image {found.names[image]}, {kind}")
        st.markdown(f"In truth **{kind}**. Score **{wording.amount(found.scores[image])}**.", help=tip("score"))
        percentile = found.percentile(image)
        if percentile is not None:
            verdict = found.calibration.verdict(float(found.scores[image]), found.rate)
            right = "right" if verdict == kind else "wrong"
            st.markdown(f"Verdict: **{verdict}**, {right}.", help=tip("verdict"))
            st.markdown(f"Above **{percentile:.0f} %** of held-out normals.", help=tip("percentile"))
        show_over_checkpoints(run, image)
        _neighbours(run, found, image)


def _neighbours(run: LoadedRun, found: Scored, image: int) -> None:
    step = int(found.steps[image])
    try:
        arrays = run.arrays(step)
        rows, distances = arrays["neighbours"][image], arrays["neighbour_distances"][image]
        # Where each image has a checkpoint of its own, distances come in the unit of its score, which adds up some.
        unit = float(arrays["normaliser"]) if stops_by_sample(run) and found.final else 1.0
    except (PandaError, KeyError, IndexError):
        return
    st.markdown(f"**Nearest normal training images** at step {step}", help=tip("neighbours"))
    names, shown = run.split["train"], find_images(run, "train")[0] is not None
    with st.grid(5, min_column_width=44, gap="small"):
        for row, distance in zip(rows, distances, strict=True):
            with st.container(gap="xsmall"):
                picture = tile(run, "train", int(row), SMALL) if shown else None
                if picture is not None:
                    st.image(picture, width="stretch", alt=f"Normal training image {names[row]}")
                else:
                    st.caption(wording.sentence(str(names[row])))
                st.caption(wording.amount(float(distance) / (unit or 1.0)))
