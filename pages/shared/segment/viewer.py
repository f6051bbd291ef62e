"""One image in large, with its map; the gallery it comes from; and the argument behind its hottest patch."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from pages.shared.examine.scores import unit_of_scores
from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from pages.shared.segment.gallery import show_gallery
from pages.shared.segment.map_style import MapStyle
from pages.shared.segment.maps import MapView, maps_of
from pages.shared.segment.patches import choose_patch, clicked_patch, show_neighbours
from panda_core.events import mask_of
from panda_core.figures import followed_figure, legend_figure, picture_figure
from panda_core.figures.heatmaps import FADED, marked


def show_viewer(
    view: MapView, style: MapStyle, step: int, steps: list[int], beside: Callable[[int], None] = lambda image: None
) -> None:
    """Draw the gallery, the chosen image, and the normal patches that its map was made from.

    beside: draws what else there is to do about the chosen image.
    """
    if not len(view.maps.scores):
        st.info("There are no images to look at.", icon=":material/info:")
        return
    if view.images is None:
        st.info(wording.sentence(view.note), icon=":material/hide_image:")
    with st.container(key="viewer"):  # on a phone, the second column comes first: see look.css
        gallery, large, facts = st.columns([1.1, 1.5, 0.9], gap="medium")
    with gallery:
        image = show_gallery(view, style)
    with large:
        _large(view, style, image)
    with facts:
        _facts(view, image)
        beside(image)
        _truth(view, image, view.truth(image))
    show_neighbours(view, style, image)
    if len(steps) > 1 and view.key == view.run.run_id:
        _followed(view, image, step, steps)


def _large(view: MapView, style: MapStyle, image: int) -> None:
    """Draw the large picture, on which patches are chosen, and the legend of its colours."""
    name, values = view.maps.names[image], view.maps.full(image)
    st.markdown(f"**{wording.sentence(name)}**", help=tip("map_click"))
    picture = view.picture(image)
    patch = choose_patch(view, image)
    if picture is not None:
        clicked_patch(
            picture_figure(style.drawn(picture, values), view.maps.grids[image], patch),
            view,
            image,
            alt=f"{name} with its map as {style.way}; the chosen patch is in row {patch[0] + 1}, column {patch[1] + 1}",
        )
    scale, peak = style.scale_of(values), float(view.maps.peaks[image])
    middle = f", maps of normal images end at {scale.middle:.2f}" if scale.calibrated else ""
    show_figure(
        legend_figure(scale, peak),
        key="map-legend",
        alt=f"Colours of the map from {scale.low:.2f} to {scale.high:.2f}{middle}; highest here {peak:.2f}.",
    )
    st.caption("◇ the highest value of this image. " + tip("map_unit"))


def _facts(view: MapView, image: int) -> None:
    """Say what the image is, and what the run says of it."""
    score, truth = float(view.maps.scores[image]), view.truth(image)
    if truth:
        known = ("normal", "anomalous")
        st.markdown(f"In truth **{truth if truth in known else f'anomalous: {wording.sentence(truth)}'}**.")
    if view.threshold is None:
        st.markdown(f"Score **{wording.amount(score)}**.", help=unit_of_scores(view.run))
    else:
        verdict, sign = ("Rejected", ">") if view.rejected[image] else ("Accepted", "≤")
        st.markdown(
            f"**{verdict}**: score {wording.amount(score)} {sign} {wording.amount(view.threshold)}.",
            help=f"{tip('map_verdict')} {unit_of_scores(view.run)}",
        )
    percentile = view.maps.percentile(image)
    above = "" if percentile is None else f"Above {percentile:.0f} % of held-out normals. "
    st.caption(f"{above}Highest map value {view.maps.peaks[image]:.2f}.", help=tip("percentile"))
    if view.maps.region is not None:
        st.caption(FADED)


def _truth(view: MapView, image: int, truth: str) -> None:
    picture = view.picture(image)
    if picture is None:
        return
    mask, name = view.mask(image), view.maps.names[image]
    if mask is not None and mask.any():
        st.image(marked(picture, mask), width="stretch", alt=f"{name} with the outline of its marked defect")
        st.caption("In green: the defect as it was marked.", help=tip("ground_truth"))
        return
    st.image(picture, width="stretch", alt=f"{name} without its map")
    unused = dict(view.run.unused_masks).get(mask_of(name)) if view.key == view.run.run_id else None
    if unused is not None:
        st.caption(f"The image alone. Its mask is not used: {wording.sentence(unused)}", help=tip("ground_truth"))
    elif mask is None and view.marked[image]:
        st.caption("The image alone: its mask has changed since the run.", help=tip("ground_truth"))
    elif truth == "normal":
        st.caption("The image alone: it is normal, there is nothing to mark.", help=tip("ground_truth"))
    else:
        st.caption("The image alone: nobody has marked where a defect is.", help=tip("ground_truth"))


def _followed(view: MapView, image: int, step: int, steps: list[int]) -> None:
    """Draw the image's highest map value over the steps of the adapted network."""
    at_steps = [maps_of(view.run, number) for number in steps]
    peaks = [float(maps.peaks[image]) for maps in at_steps]
    st.markdown("**This image while the network was adapted**", help=tip("map_followed"))
    show_figure(
        followed_figure(steps, peaks, [maps.calibration.map_middle for maps in at_steps], step),
        key="map-followed",
        alt=f"Highest map value of this image: {peaks[0]:.2f} at step {steps[0]}, {peaks[-1]:.2f} at step {steps[-1]}.",
    )
