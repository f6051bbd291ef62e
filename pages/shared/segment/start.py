"""Starting a segmentation run: the form, and the example that takes one click."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.shared.forms.choices import awaits_folder, choose_dataset, choose_options, choose_whole
from pages.shared.forms.named import choose_named
from pages.shared.forms.presets import EXAMPLE
from pages.shared.forms.sections import go_to_section
from pages.shared.forms.starting import show_start, start_run
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import OWN
from pages.shared.region.marking import show_region
from pages.shared.region.of_form import check_region, choose_form_region
from pages.shared.runs.choice import IMAGE, all_runs, has_maps, label_of, open_run
from panda_core.backbones import BACKBONES
from panda_core.config import FEWEST_TILES, MOST_TILES, TILES_AUTO, TILES_OFF, RunConfig, default_data_root
from panda_core.datasets import DATASETS
from panda_core.datasets.sets.synthetic import PREFIX as SYNTHETIC
from panda_core.datasets.sets.synthetic import synthetic_dataset
from panda_core.errors import PandaError
from panda_core.runs.folder import CHECKPOINTS, RunFolder
from panda_core.runs.kinds import options_of, resolve
from panda_core.runs.launch import keep_ready
from panda_core.segmentation.table import SEGMENTERS

SECTION = "segment"  # the key of the choice below
LOOK, PAINT, NEW = "Look at maps", "Paint a scratch", "Start a run"
PRETRAINED = "pretrained"
FORM = "seg_"  # of the keys of this form's widgets
WITH_MASKS = ("magnetic_tiles", "mvtec")  # for other datasets, defects are drawn unless people say no
_OFTEN = ("levels", "top", "sigma", "rotations", "coreset", "nearest_images")  # options that are shown first
_TILES = (TILES_OFF, TILES_AUTO, *map(str, range(FEWEST_TILES, MOST_TILES + 1)))
_ELSEWHERE = ("adapted", "checkpoint")  # options with a place of their own


def show_example() -> None:
    """Offer the run that starts with one click, and photos of one's own."""
    first, second = st.columns(2)
    with first.container(border=True, height="stretch"):
        st.markdown("**See it on solar cells**")
        st.caption(
            "Learns from 40 normal solar cells, then looks at 24 others with and without a defect. About 15 seconds."
        )
        if st.button(
            "Run the example",
            icon=":material/play_arrow:",
            type="primary",
            key="segment-example",
            help=tip("segment_example"),
        ):
            _open(start_run(RunConfig(**EXAMPLE)))
    with second.container(border=True, height="stretch"):
        st.markdown("**Use your own photos**")
        st.caption("Eight or more of what is normal are enough to begin; then drop others to check.")
        st.page_link(OWN, label="Drop images", icon=":material/add_photo_alternate:", help=tip("segment_own"))


def _open(run_id: str | None) -> None:
    """Put a run that was just started, if any, into the URL and switch to its maps."""
    if run_id is None:
        return
    open_run(run_id)
    st.query_params.pop(IMAGE, None)
    go_to_section(SECTION, LOOK)
    st.rerun()


def show_form() -> None:
    """Draw the form and its button."""
    keep_ready()  # while people look at the form, a process imports what a run needs
    left, right = st.columns([1, 1.25], gap="large")
    config, problem = None, ""
    try:
        with left:
            dataset, normal_class = _data()
            roi, marking = choose_form_region(FORM, dataset, normal_class)
            if marking is not None:
                show_region(marking)
        with right:
            config = _method(dataset, normal_class).replace(roi=roi)
            check_region(config)
            resolve(config)
    except PandaError as error:
        config, problem = None, str(error)
    if awaits_folder(FORM):
        problem = ""
    with right:
        _open(show_start(config, problem, key="segment-start", about=tip("segment_start")))
    show_example()


def _data() -> tuple[str, str | None]:
    """Draw the choice of images, and return the key of the dataset and its normal class."""
    dataset = choose_dataset(FORM, first="elpv")
    if dataset is None:
        raise PandaError("Give the folder of your images.")
    unmarked = dataset.key in DATASETS and dataset.key not in WITH_MASKS
    drawn = st.toggle(
        "Draw defects into normal images",
        value=unmarked,
        key=f"{FORM}synthetic-{dataset.key}",
        help=tip("synthetic"),
    )
    classes = dataset.classes(Path(default_data_root()))
    chosen = st.selectbox("Normal class", classes, key=f"{FORM}class", help=tip("class"), bind="query-params")
    if drawn:
        st.caption(synthetic_dataset(dataset).about)
    return (f"{SYNTHETIC}{dataset.key}" if drawn else dataset.key), chosen


def _method(dataset: str, normal_class: str | None) -> RunConfig:
    """Draw method, network and limits, and return the run they describe."""
    titles = {key: row.title for key, row in SEGMENTERS.items()}
    method = choose_named("Method", titles, f"{FORM}method", next(iter(titles)), tip("segmenter"))
    st.caption(f"{SEGMENTERS[method].about} {SEGMENTERS[method].source}. On the command line: {method}.")
    adapted = {folder.run_id: folder for folder in all_runs() if _has_network(folder)}
    network = st.selectbox(
        "Adapted in a run",
        [PRETRAINED, *adapted],
        key=f"{FORM}network",
        format_func=lambda key: "no, as pretrained" if key == PRETRAINED else label_of(adapted[key]),
        help=SEGMENTERS[method].options["adapted"].plain,
    )
    settings: dict[str, int | float | str] = {}
    if network == PRETRAINED:
        networks = {key: row.title for key, row in BACKBONES.items()}
        backbone = choose_named("Network", networks, f"{FORM}backbone", next(iter(networks)), tip("backbone"))
        if missing := BACKBONES[backbone].missing():
            st.caption(missing)
    else:
        backbone = str(adapted[network].config().backbone)
        which = st.segmented_control(
            "Of that run",
            ("last", "all"),
            default="last",
            key=f"{FORM}checkpoint",
            help=SEGMENTERS[method].options["checkpoint"].plain,
            required=True,
        )
        settings = {"adapted": str(adapted[network].path.resolve()), "checkpoint": which or "last"}
    first, second, third = st.columns(3)
    size = choose_whole(first, "Image size", "image_size", 32, 1024, 32, "224", FORM)
    train = choose_whole(second, "Training images", "train_limit", 2, 10_000_000, 50, "all", FORM)
    test = choose_whole(third, "Test images", "test_limit", 1, 10_000_000, 50, "all", FORM)
    with st.expander("More settings", icon=":material/tune:"):
        first, second, third = st.columns(3)
        tiles = third.selectbox("Tiles", _TILES, key=f"{FORM}tiles", help=tip("tiles"))
        seed = choose_whole(first, "Seed", "seed", 0, 2**31 - 1, 1, "0", FORM)
        name = second.text_input("Name", key=f"{FORM}name", max_chars=80, help=tip("name"))
        settings |= _options(method, backbone, dataset)
    return RunConfig(
        recipe=method,
        dataset=dataset,
        normal_class=normal_class,
        backbone=backbone,
        image_size=size,
        train_limit=train,
        test_limit=test,
        seed=seed or 0,
        name=name.strip(),
        tiles=tiles,
        set=settings,
    )


def _options(method: str, backbone: str, dataset: str) -> dict[str, int | float | str]:
    """Draw the options of the method, those often changed first, and return the ones that were."""
    options = options_of(RunConfig(recipe=method, backbone=backbone, dataset=dataset))
    order = [key for key in _OFTEN if key in options] + [key for key in options if key not in _OFTEN]
    return choose_options({key: options[key] for key in order if key not in _ELSEWHERE}, f"{FORM}set_")


def _has_network(folder: RunFolder) -> bool:
    """Return whether a run is an adaptation whose weights are there."""
    return not has_maps(folder) and bool(folder.steps_in(CHECKPOINTS))
