"""How good a segmentation run is: what it rejects, its metrics, and the same for each kind of defect."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.figures import show_figures
from pages.shared.frame.glossary import tip
from pages.shared.segment.map_style import MapStyle
from pages.shared.segment.maps import MapView, opened, view_of
from panda_core.events import SegmentationEvaluated
from panda_core.pixel_metrics import PixelCounts, at_threshold

MANY = 200  # images; for more, counting pixels takes seconds and waits to be asked for


def show_verdicts(view: MapView) -> None:
    """Say how many images the threshold rejects: normal ones, wrongly, and defects, rightly."""
    if view.threshold is None or view.is_anomaly is None:
        st.markdown("No normal image was held out: there are scores, but no threshold.")
        return
    parts = []
    for label, words in ((0, "normal rejected"), (1, "defects found")):
        members = view.rejected[view.is_anomaly == label]
        if len(members):
            parts.append(f"**{members.sum()} of {len(members)}** {words}")
    parts.append(f"threshold {wording.amount(view.threshold)}")
    st.markdown("; ".join(parts), help=f"{tip('map_rejected')} {tip('map_found')}")


def show_counts(view: MapView, style: MapStyle, step: int) -> None:
    """Say what the threshold promises, and how many pixels are marked, rightly and wrongly."""
    if view.threshold is None or view.is_anomaly is None:
        return
    st.caption(f"{view.maps.calibration.sentence(view.rate)} {view.maps.calibration.warning}")
    marked = view.marked & (view.is_anomaly == 1)
    if not marked.any() or style.level is None:
        return
    counts = _counts_if_cheap(view, style.level, step)
    note = f"above map value {style.level:.2f}"
    show_figures(
        (
            ("Pixel precision", wording.percent(counts.precision if counts else None), note, tip("pixel_precision")),
            ("Pixel recall", wording.percent(counts.recall if counts else None), note, tip("pixel_recall")),
            ("Pixel overlap (IoU)", wording.percent(counts.iou if counts else None), note, tip("pixel_iou")),
        )
    )


def _counts_if_cheap(view: MapView, level: float, step: int) -> PixelCounts | None:
    if view.marked.sum() > MANY and not st.toggle(
        "Count pixels as well (some seconds for each map value)", key="map_pixels", help=tip("map_pixels")
    ):
        return None
    return _counts(view.run.run_id, step, round(level, 4))


@st.cache_data(max_entries=256, show_spinner="Counting pixels")
def _counts(run_id: str, step: int, level: float) -> PixelCounts:
    view = view_of(opened(run_id), step)

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for image in np.nonzero(view.marked)[0]:
            mask = view.mask(int(image))
            if mask is not None:
                size = (view.maps.size, view.maps.size)
                yield (
                    view.maps.full(int(image)),
                    cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0,
                )

    region = view.maps.region
    return at_threshold(pairs, level, None if region is None else region.inside((view.maps.size, view.maps.size)))


def show_unused_masks(view: MapView) -> None:
    """Say, beside the figures of pixels, which masks they leave out, and why."""
    if masks := view.run.unused_masks:
        words = f"{wording.count(len(masks), 'mask')} not used: the figures of pixels say nothing of these images"
        with st.expander(words, icon=":material/hide_image:"):
            for name, reason in masks[:MANY]:
                st.markdown(f"- {wording.sentence(name)}: {wording.sentence(reason)}")


def show_metrics(view: MapView, event: SegmentationEvaluated) -> None:
    """Draw the metrics of a step in one row, and what the search found if it was not exact."""
    interval = wording.interval(event.image_auroc_low, event.image_auroc_high)
    figures = (
        ("Image AUROC", event.image_auroc, interval, "image_auroc"),
        ("Pixel AUROC", event.pixel_auroc, "all pixels", "pixel_auroc"),
        ("AUPRO", event.aupro, "up to 30 % false", "aupro"),
        ("Average precision", event.pixel_average_precision, "all pixels", "pixel_ap"),
        ("Best F1", event.oracle_pixel_f1, "chosen with the masks", "oracle_f1"),
    )
    show_figures(
        (title, wording.auroc(value), note, tip(term) + ("" if value is not None else f" {tip('undefined_map')}"))
        for title, value, note, term in figures
    )
    recall = (view.run.metrics or {}).get("recall")
    if recall is not None and recall < 1:
        st.caption(
            f"The search for nearest patches is approximate: it finds the nearest of {100 * recall:.1f} % of them.",
            help=tip("recall"),
        )


def show_kinds(view: MapView) -> None:
    """Draw a line for each kind of defect."""
    kinds = (view.run.metrics or {}).get("kinds") or {}
    if not kinds:
        return
    st.markdown("**Kind by kind**", help=tip("kinds"))
    rows = [
        {
            "Kind": name,
            "Images": measured.get("images"),
            "Image AUROC": wording.auroc(measured.get("image_auroc")),
            "Pixel AUROC": wording.auroc(measured.get("pixel_auroc")),
            "AUPRO": wording.auroc(measured.get("aupro")),
        }
        for name, measured in kinds.items()
    ]
    st.dataframe(
        pd.DataFrame(rows),
        width="stretch",
        hide_index=True,
        height="content",
        key="map-kinds",
        alt="Image AUROC, pixel AUROC and AUPRO for each kind of defect",
        column_config={
            name: st.column_config.TextColumn(help=tip(term), alignment="right")
            for name, term in (("Image AUROC", "image_auroc"), ("Pixel AUROC", "pixel_auroc"), ("AUPRO", "aupro"))
        },
    )
