"""The test images of a run, and one of them closely: its score, its verdict, the normal images it was compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from pages.shared.examine.gallery import show_gallery
from pages.shared.examine.scores import StepScores
from pages.shared.examine.stopping_view import show_over_checkpoints, stops_by_sample
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.runs.choice import chosen_image
from pages.shared.runs.images import find_images, tile
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

SIDE = 420  # pixels
SMALL = 96


def show_viewer(run: LoadedRun, scored: StepScores, beside: Callable[[int], None] = lambda image: None) -> None:
    """Draw the gallery, the chosen image in large with the normal images it was compared with, and its score.

    Before one is chosen, that with the highest score is. beside: draws what else there is to do about it.
    """
    with st.container(key="viewer"):  # on a phone, the second column comes first: see look.css
        gallery, large, facts = st.columns([1.25, 1.1, 0.9], gap="medium")
    if not len(scored.scores):
        return
    asked = chosen_image(len(scored.scores))
    image = int(np.argmax(scored.scores)) if asked is None else asked
    with gallery:
        show_gallery(run, scored, image)
    with large:
        _large(run, scored, image)
        _neighbours(run, scored, image)
    with facts:
        _facts(scored, image)
        beside(image)
        show_over_checkpoints(run, image)


def _large(run: LoadedRun, scored: StepScores, image: int) -> None:
    name = scored.names[image]
    st.markdown(f"**{wording.sentence(name)}**")
    picture = tile(run, "test", image, SIDE) if find_images(run, "test")[0] is not None else None
    if picture is not None:
        st.image(picture, width="stretch", alt=f"Test image {name}, {_kind(scored, image)}")


def _kind(scored: StepScores, image: int) -> str:
    return "anomalous" if scored.is_anomaly[image] else "normal"


def _facts(scored: StepScores, image: int) -> None:
    """Say what the image is, and what the run says of it."""
    kind, score = _kind(scored, image), float(scored.scores[image])
    st.markdown(f"In truth **{kind}**.")
    percentile = scored.percentile(image)
    if percentile is None or scored.threshold is None:
        st.markdown(f"Score **{wording.amount(score)}**.", help=tip("score"))
        return
    rejected = bool(scored.rejected[image])
    judged = "rightly" if rejected == (kind == "anomalous") else "wrongly"
    verdict, sign = ("Rejected", ">") if rejected else ("Accepted", "≤")
    st.markdown(
        f"**{verdict}**, {judged}: score {wording.amount(score)} {sign} {wording.amount(scored.threshold)}.",
        help=f"{tip('score')} {tip('verdict')}",
    )
    st.caption(f"Above {percentile:.0f} % of held-out normals.", help=tip("percentile"))


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
