"""How many images a data set has, and some of them at random: what is normal, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.figures import show_figures
from pages.shared.frame.glossary import tip
from pages.shared.frame.thumbnails import square
from panda_core.datasets import Dataset, Images, find_dataset
from panda_core.datasets.io.counts import ClassCounts, count_images
from panda_core.errors import UnreadableImage

SIDE, GAP = 104, 4  # pixels
SHOWN = 14
FRESH = 60  # seconds for which counts and pictures are kept: a folder of one's own may change

Tile = tuple[np.ndarray, str, str]  # picture, label, name


def show_counts(dataset: Dataset, data_root: str, normal_class: str) -> None:
    """Draw the number of images of the chosen class, and of all others in a table."""
    with st.spinner("Counting images", show_time=True):
        counts = _counted(dataset.key, data_root)
    chosen = counts[normal_class]
    show_figures(
        (
            ("Classes", f"{len(counts):,}", "", tip("data_classes")),
            ("Normal, for training", f"{chosen.train:,}", "", tip("data_train")),
            ("Normal, for testing", f"{chosen.test_normal:,}", "", tip("data_test_normal")),
            ("Anomalous", f"{chosen.test_anomalous:,}", "", tip("data_anomalous")),
        )
    )
    if len(counts) > 1:
        with st.expander(f"All {len(counts)} classes", icon=":material/table_rows:"):
            st.dataframe(
                pd.DataFrame(
                    {
                        "class": list(counts),
                        "normal, for training": [row.train for row in counts.values()],
                        "normal, for testing": [row.test_normal for row in counts.values()],
                        "anomalous": [row.test_anomalous for row in counts.values()],
                    }
                ),
                width="stretch",
                hide_index=True,
                height="content",
                key="data-counts",
                alt="Numbers of training and test images for each class as the normal one",
            )


def show_images(dataset: Dataset, data_root: str, normal_class: str, seed: int) -> None:
    """Draw random normal training images, and random anomalous test images with what they are called."""
    if "data_drawn" not in st.session_state:
        st.session_state["data_drawn"] = 0
    normal, anomalous = _drawn(dataset.key, data_root, normal_class, seed, st.session_state["data_drawn"])
    st.markdown("**Normal**, some of the training set", help=tip("data_train"))
    _show_tiles(normal, "normal training image", captions=False)
    st.markdown("**Anomalous**, some of the test set", help=tip("data_anomalous"))
    _show_tiles(anomalous, "anomalous test image", captions=True)
    if st.button("Draw others", icon=":material/shuffle:", key="data-draw", help=tip("data_draw")):
        st.session_state["data_drawn"] += 1
        st.rerun()


def _show_tiles(tiles: list[Tile], what: str, *, captions: bool) -> None:
    if not tiles:
        st.caption("There are none.")
        return
    st.image(
        [picture for picture, *_ in tiles],
        caption=[wording.sentence(label) for _, label, _ in tiles] if captions else None,
        width=SIDE + 2 * GAP,
        alt=[f"{what}, {label}: {name}" for _, label, name in tiles],
    )


@st.cache_data(max_entries=32, ttl=FRESH, show_spinner=False)
def _counted(dataset: str, data_root: str) -> dict[str, ClassCounts]:
    return count_images(find_dataset(dataset), Path(data_root))


@st.cache_data(max_entries=16, ttl=FRESH, show_spinner=False)
def _drawn(dataset: str, data_root: str, normal_class: str, seed: int, draw: int) -> tuple[list[Tile], list[Tile]]:
    """Return pictures, labels and names of random normal training images, and of random anomalous test images."""
    splits = find_dataset(dataset).open(Path(data_root), normal_class, seed)
    rng = np.random.default_rng([seed, draw])
    normal = rng.permutation(np.nonzero(splits.train_labels == splits.normal_label)[0])
    anomalous = rng.permutation(np.nonzero(splits.test_labels != splits.normal_label)[0])
    return _tiles(splits.train, splits.train_labels, normal), _tiles(splits.test, splits.test_labels, anomalous)


def _tiles(images: Images, labels: np.ndarray, rows: np.ndarray) -> list[Tile]:
    tiles: list[Tile] = []
    for row in rows.tolist():
        try:
            tile = np.pad(square(images.load(row), SIDE), ((0, 0), (GAP, GAP), (0, 0)))  # see-through margins
            tiles.append((tile, str(labels[row]), images.names[row]))
        except UnreadableImage:  # the health check counts and names them
            continue
        if len(tiles) == SHOWN:
            break
    return tiles
