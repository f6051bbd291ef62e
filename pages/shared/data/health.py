"""The health check: looks at every image when asked to, and shows what would spoil a measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import GAP, sheet, square
from pages.shared.region.marking import show_region
from pages.shared.region.of_form import check_region, choose_form_region
from panda_core.config import RunConfig
from panda_core.datasets import Dataset, OneClassTask, find_dataset, one_class_task
from panda_core.datasets.finding import NOTE, PROBLEM, WARNING, Finding
from panda_core.datasets.health import Health, check_health
from panda_core.datasets.io.regions import read_region, task_within
from panda_core.errors import PandaError, UnreadableImage
from panda_core.events import CacheProgress, Event, result_of

FORM = "data_"  # before the names of this page's widgets
RESULT = "data_health"  # in the session: (what was checked, what was found)
AT_MOST = 2000  # images of each half that are looked at unless the user says otherwise
SIDE, APART = 112, 24  # pixels; of an image, and between two pairs
PAIRS = 8
OFTEN = 25  # images between two updates of the bar
ICONS = {PROBLEM: ":material/error:", WARNING: ":material/warning:", NOTE: ":material/info:"}
PAIRED = ("in_both", "nearly_in_both", "contradicted", "repeated", "copies")
Checked = tuple[str, str, str, int, int, str, str]  # dataset, data root, class, seed, most images, region, its digest


def show_health(dataset: Dataset, data_root: str, normal_class: str) -> str:
    """Draw the check's button and limit, and its result once it is there; return the file of the region, "" for none.

    Images that differ as wholes may be equal inside of a region: a set is fit to measure on with one, or without.
    """
    st.subheader("Health check", anchor=False)
    st.caption(
        "Looks for equal and nearly equal images in training and test set, files that cannot be read, too few images, "
        "and sizes or colours that give the label away."
    )
    roi, marking = choose_form_region(FORM, dataset.key, normal_class)
    if marking is not None:
        show_region(marking)
    limit_place, button_place = st.columns([1, 3], vertical_alignment="bottom")
    limit = limit_place.number_input(
        "Images of each half, at most",
        min_value=10,
        max_value=1_000_000,
        value=AT_MOST,
        step=500,
        key="data_limit",
        help=tip("data_limit"),
    )
    seed = int(st.session_state.get("data_seed") or 0)
    digest = read_region(roi).sha256 if roi else ""
    wanted: Checked = (dataset.key, data_root, normal_class, seed, int(limit or AT_MOST), roi, digest)
    pressed = button_place.button(
        "Check", icon=":material/health_and_safety:", key="data-check", help=tip("data_check")
    )
    if pressed:
        try:
            check_region(RunConfig(dataset=dataset.key, data_root=data_root, normal_class=normal_class, roi=roi))
            st.session_state[RESULT] = (wanted, _watched(_task(wanted)))
        except PandaError as error:
            st.error(wording.sentence(str(error)), icon=":material/error:")
    checked, health = st.session_state.get(RESULT, (None, None))
    if checked == wanted and health is not None:
        _show(health, wanted)
    return roi


def _task(wanted: Checked) -> OneClassTask:
    key, data_root, normal_class, seed, limit, roi, _ = wanted
    splits = find_dataset(key).open(Path(data_root), normal_class, seed)
    task = one_class_task(splits, train_limit=limit, test_limit=limit, seed=seed)
    return task_within(task, read_region(roi)) if roi else task


def _watched(task: OneClassTask) -> Health:
    """Check a task while a bar shows how far it is."""
    bar = st.progress(0.0, text="looking at images")

    def show(event: Event) -> None:
        if isinstance(event, CacheProgress) and event.done % OFTEN == 0:
            bar.progress(event.done / event.total, text=f"looked at {event.done:,} of {event.total:,} images")

    health = result_of(check_health(task), show)
    bar.empty()
    return health


def _show(health: Health, wanted: Checked) -> None:
    looked = f"{wording.count(health.train, 'training image')} and {wording.count(health.test, 'test image')}"
    looked += ", inside the region of interest" if wanted[5] else ""
    if not health.findings:
        st.success(f"Nothing wrong in {looked}.", icon=":material/check_circle:")
        return
    st.markdown(f"In {looked}:")
    for finding in health.findings:
        box = {PROBLEM: st.error, WARNING: st.warning, NOTE: st.info}[finding.level]
        box(finding.told, icon=ICONS[finding.level])
        if finding.kind in PAIRED:
            _show_pairs(finding, wanted)
        if finding.examples:
            with st.expander(f"Which: {len(finding.examples)} of {finding.count}", icon=":material/list:"):
                width = max(map(len, finding.examples))
                columns = [
                    "image",
                    *(["it equals"] * (width > 1)),
                    *(f"and {n}" for n in range(3, width + 1)),
                ]
                if finding.has_reasons:
                    columns[1] = "why"
                st.dataframe(
                    pd.DataFrame(
                        [[*names, *[""] * (width - len(names))] for names in finding.examples], columns=columns
                    ),
                    width="stretch",
                    hide_index=True,
                    key=f"data-{finding.kind}",
                    alt=f"Images concerned: {finding.told}",
                )


def _show_pairs(finding: Finding, wanted: Checked) -> None:
    """Draw the first pairs side by side: a person sees at once whether they are the same thing."""
    pictures = _pairs(wanted, tuple(names[:2] for names in finding.examples[:PAIRS]))
    if pictures:
        st.image(
            [picture for picture, _ in pictures],
            width=2 * SIDE + GAP + APART,
            alt=[f"Side by side: {' and '.join(names)}" for _, names in pictures],
        )


@st.cache_data(max_entries=16, ttl=600, show_spinner=False)
def _pairs(wanted: Checked, pairs: tuple[tuple[str, ...], ...]) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """Return each pair of images as one picture, with their names, which begin with `train: ` or `test: `."""
    task = _task(wanted)
    rows = {
        f"{half}: {name}": (images, row)
        for half, images in (("train", task.train), ("test", task.test))
        for row, name in enumerate(images.names)
    }
    pictures = []
    for names in pairs:
        try:
            pair = sheet([square(images.load(row), SIDE) for images, row in (rows[name] for name in names)])
            pictures.append((np.pad(pair, ((0, 0), (0, APART), (0, 0))), names))
        except (KeyError, UnreadableImage):  # the folder has changed since it was checked
            continue
    return pictures
