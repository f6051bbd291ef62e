"""The Own images page: drop, see what was understood, learn, set the threshold, score. The address holds the state.

`upload` and `run` in the address are random ids: whoever has them sees these images and this run, and this page lists
no others.
"""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT as ADAPT_PAGE
from pages.shared.own.drop import MESSAGE, show_drop, show_understood
from pages.shared.own.results import show_results
from pages.shared.own.score import CHECK, show_score
from pages.shared.runs.choice import IMAGE, PARAMETER, UPLOAD, choose_rate, has_maps, open_run, opened_run
from pages.shared.runs.downloads import can_score, show_use
from pages.shared.runs.live import show_computing, show_ending, show_heading
from panda_core.config import RunConfig
from panda_core.datasets.own.images import FEWEST
from panda_core.datasets.own.layout import IMAGES
from panda_core.errors import PandaError
from panda_core.runs import launch as launching
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.uploads import Upload, find_upload, upload_of

PATCHES, ADAPT = "Patches: where is the defect", "Adapt: is the whole image normal"
_RECIPES = {PATCHES: "patchcore", ADAPT: "panda-early"}


def show() -> None:
    """Draw the page."""
    st.title("Your own images")
    if message := st.session_state.pop(MESSAGE, ""):
        st.error(wording.sentence(message), icon=":material/error:")
    folder = opened_run()
    upload = _upload()
    try:
        if folder is not None:
            _run(folder, upload)
        elif upload is not None:
            launching.keep_ready()  # while people look at what was understood, a process imports what a run needs
            show_understood(upload)
            _learn(upload)
        else:
            launching.keep_ready()
            show_drop()
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _upload() -> Upload | None:
    """Return the upload of the address; a friendly sentence takes the place of one that is not there."""
    token = st.query_params.get(UPLOAD, "")
    upload = find_upload(token) if token else None
    if token and upload is None:
        st.warning(
            "There are no images with the id in this address. They may have been removed: uploads are kept for a "
            "limited time.",
            icon=":material/search_off:",
        )
    return upload


def _learn(upload: Upload) -> None:
    """Draw the choice of method and the button that starts."""
    st.subheader("Learn what is normal")
    enough = upload.understood.normals >= FEWEST
    method = st.segmented_control(
        "How",
        (PATCHES, ADAPT),
        default=PATCHES,
        key="own_method",
        help=tip("own_method"),
        bind="query-params",
        required=True,
    )
    if not enough:
        words = f"{wording.count(upload.understood.normals, 'normal image')} so far; {FEWEST} are needed to begin."
        st.warning(words, icon=":material/add_a_photo:")
    st.button(
        "Learn",
        icon=":material/school:",
        type="primary",
        key="own-learn",
        disabled=not enough,
        help=tip("own_learn"),
        on_click=_start,
        args=(upload, method or PATCHES),
    )


def _start(upload: Upload, method: str) -> None:
    """Start the run; for the button."""
    name = f"My {upload.understood.normals} normal images"
    try:
        folder = launching.start(
            RunConfig(recipe=_RECIPES[method], dataset=f"folder:{upload.images.resolve()}", name=name)
        )
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    open_run(folder.run_id)


def _run(folder: RunFolder, upload: Upload | None) -> None:
    """Draw a run: its progress, or the threshold and what it says of new images."""
    if upload is not None and str(upload.path.resolve() / IMAGES) in folder.config().dataset:
        show_understood(upload, folded=True)
    state = folder.state()
    if state.state not in ENDED:
        show_computing(folder)
        if not has_maps(folder):  # what labels say of an adaptation is elsewhere: images of one's own mostly have none
            query = {PARAMETER: folder.run_id}
            st.page_link(ADAPT_PAGE, label="Watch its curves", icon=":material/monitoring:", query_params=query)
        return
    run = LoadedRun(folder)
    show_heading(run.config, state)
    if upload_of(run.config):
        st.caption(
            "Nobody else sees this detector in a list. Only this page's address leads here: keep it to come back, and "
            "give it to those alone who may see these images."
        )
    st.button("Other images", icon=":material/refresh:", key="own-new", help=tip("own_new"), on_click=_begin_anew)
    if state.state != "finished":
        show_ending(folder, state, finished=run.metrics is not None)
        return
    if not can_score(folder):
        st.info(
            "This run came with the program, or its weights were removed: it can be looked at, but it cannot score "
            "new images. Start a run of your own.",
            icon=":material/info:",
        )
        return
    launching.keep_ready()
    rate = _choose_rate(run)
    show_score(folder)
    token = st.query_params.get(CHECK, "")
    if token:
        show_results(run, token, rate)
    show_use(folder, maps=run.has_maps)


def _choose_rate(run: LoadedRun) -> float | None:
    """Draw the choice of the false-alarm rate and what it will do; None where no normal images were held out."""
    calibration = run.calibration
    st.subheader("When to reject")
    if not calibration.images:
        st.warning("No normal images were held out of this run: it has scores, but no threshold.")
        return None
    choice, words = st.columns([1, 1.6], gap="large", vertical_alignment="center")
    rate = choose_rate(choice, "own_alarms", tip("false_alarms"))
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
        rejected = int(calibration.rejects(anomalies, rate).sum())
        words.markdown(
            f"Of {wording.count(len(anomalies), 'known anomalous image')}, **{rejected}** "
            f"{'is' if rejected == 1 else 'are'} rejected; AUROC {wording.auroc((run.metrics or {}).get('auroc'))}.",
            help=tip("auroc"),
        )
    if alarms.expected > rate * 1.02:
        needed = int(np.ceil(1 / rate)) - 1
        words.caption(
            f"{calibration.images} images are too few to promise {100 * rate:.0f} %: that takes {needed}. "
            "The threshold is the highest value that a normal image had."
        )
    return rate


def _anomalies(run: LoadedRun) -> np.ndarray:
    """Return the scores (A,) of the anomalous images that came with the normal ones."""
    step = run.segmented[-1].step if run.has_maps else "final"
    return run.scores_at(step)[np.asarray(run.split.is_anomaly) == 1]


def _begin_anew() -> None:
    """Leave this run and these images; for the button."""
    for name in (PARAMETER, UPLOAD, CHECK, IMAGE):
        st.query_params.pop(name, None)
