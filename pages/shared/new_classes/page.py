"""The New classes page: a trained model, a few normal references of something new, and images to judge with them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.shared.forms.sections import choose_section, go_to_section
from pages.shared.frame import wording
from pages.shared.frame.figures import show_figures
from pages.shared.frame.glossary import tip
from pages.shared.new_classes.start import show_example, show_form
from pages.shared.own.drop import kept_for, show_left_out
from pages.shared.own.removal import DONE, MESSAGE, show_removal
from pages.shared.own.results import check_of, show_results
from pages.shared.own.steps import CHECK
from pages.shared.runs.choice import IMAGE, all_runs, choose_run, open_run, opened_run
from pages.shared.runs.live import show_computing, show_ending, show_heading
from panda_core.datasets.own.images import Source
from panda_core.datasets.own.layout import CHECKED
from panda_core.errors import PandaError
from panda_core.few_shot.table import GENERALISERS
from panda_core.runs import launch as launching
from panda_core.runs.calibration import RATE
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.kinds import kind_of
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.uploads import Upload, keep_upload, note_check

FEWEST, MOST = 2, 8  # references: with one alone nothing says how much normal images differ; the papers go up to 8
TRY, TRAIN = "Try a trained model", "Train one"
SECTION, PICKED = "new_classes", "new_classes_run"
_JUDGED = "new_judged"  # in the session: the run and the files that were judged last


def show() -> None:
    """Draw the page."""
    section = choose_section("Only two to eight good photos?", (TRY, TRAIN), SECTION, tip("new_classes_section"))
    if message := st.session_state.pop(MESSAGE, ""):
        st.error(wording.sentence(message), icon=":material/error:")
    if done := st.session_state.pop(DONE, ""):
        st.success(done, icon=":material/check_circle:")
    st.markdown(
        "A model that was trained on other things judges new photos beside your few good ones. Nothing is learned: "
        "each place is compared with the most similar place of the good photos."
    )
    if section == TRAIN:
        _open(show_form())
        return
    folders, opened = {folder.run_id: folder for folder in all_runs() if _generalises(folder)}, opened_run()
    if not folders:
        st.info("No model has been trained for new classes yet.", icon=":material/info:")
        _open(show_example())
        return
    if opened is not None and opened.run_id not in folders:
        st.info("The run in this address knows one class alone. Pick one that generalises.", icon=":material/info:")
    folder = choose_run(folders, opened, PICKED)
    if folder is None:
        return
    try:
        _run(folder)
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _open(run_id: str | None) -> None:
    """Put a run that was just started, if any, into the URL and switch to it."""
    if run_id is None:
        return
    open_run(run_id)
    for name in (CHECK, IMAGE):
        st.query_params.pop(name, None)
    go_to_section(SECTION, TRY)
    st.rerun()


def _generalises(folder: RunFolder) -> bool:
    try:
        return kind_of(folder.config()).key == "few-shot"
    except PandaError:  # the Runs page says what is wrong with it
        return False


def _run(folder: RunFolder) -> None:
    state = folder.state()
    if state.state not in ENDED:
        show_computing(folder)
        return
    run = LoadedRun(folder)
    if state.state != "finished":
        show_heading(run.config, state)
        show_ending(folder, state, finished=run.metrics is not None)
        return
    _learned(run)
    launching.keep_ready()  # while people choose images, a process imports what judging needs
    _drop(folder)
    token = st.query_params.get(CHECK, "")
    if token:
        head = st.container()
        way, rest = st.columns([2, 1], vertical_alignment="bottom")
        show_results(run, token, RATE, None, (head, way, rest))
        if (output := check_of(run, token)) is not None:
            show_removal(None, [output])


def _learned(run: LoadedRun) -> None:
    """Say what a model was trained on, and how well it did on a class that it had not seen."""
    metrics: dict[str, Any] = run.metrics or {}
    seen = ", ".join(f"**{wording.sentence(name)}** ({_amounts(amounts)})" for name, amounts in metrics["seen"].items())
    st.markdown(f"Trained on {seen}.", help=GENERALISERS["resad"].options["seen"].plain)
    draws = metrics["draws"]
    words = f"{wording.sentence(str(run.config.normal_class))} of {wording.sentence(run.config.dataset)}"
    show_figures(
        (
            (f"Image AUROC on {words}", wording.auroc(_mean(draws, "image_auroc")), "", tip("new_auroc")),
            ("Without training", wording.auroc(_mean(draws, "residual_auroc")), "", tip("residual_auroc")),
            ("Pixel AUROC", wording.auroc(metrics["pixel_auroc"]), "", tip("pixel_auroc")),
        )
    )


def _amounts(amounts: dict[str, Any]) -> str:
    normals = wording.count(int(amounts["normals"]), "normal image")
    return f"{normals}, anomalies: {wording.sentence(amounts['anomalies_are'])}"


def _mean(draws: list[dict[str, Any]], key: str) -> float | None:
    values = [draw[key] for draw in draws if draw[key] is not None]
    return sum(values) / len(values) if values else None


def _drop(folder: RunFolder) -> None:
    """Draw both fields; what is dropped on the second is judged at once, and again when the references change."""
    first, second = st.columns(2, gap="medium")
    with first.container(border=True, height="stretch"):
        st.markdown("**1. What is normal in the new class**")
        references = st.file_uploader(
            f"{FEWEST} to {MOST} normal images",
            accept_multiple_files=True,
            key="new_references",
            help=tip("new_references"),
        )
    with second.container(border=True, height="stretch"):
        st.markdown("**2. What is to be judged**")
        others = st.file_uploader(
            "Other images of that class",
            accept_multiple_files=True,
            key="new_others",
            help=tip("new_others"),
        )
    count = len(references or [])
    enough = FEWEST <= count <= MOST
    if (count or others) and not enough:
        st.warning(f"{wording.count(count, 'reference')}; {FEWEST} to {MOST} are needed.", icon=":material/info:")
    st.caption(kept_for())
    dropped = (folder.run_id, *(file.file_id for file in [*(references or []), *(others or [])]))
    if enough and others and st.session_state.get(_JUDGED) != dropped:
        _judge(folder, list(references or []), list(others), dropped)


def _judge(folder: RunFolder, references: list[Any], others: list[Any], dropped: tuple[str, ...]) -> None:
    """Keep both kinds of images and have a process judge the others beside the references; remember what was `dropped`.

    Where that fails nothing is remembered: the sentence that says why stays until other files are dropped.
    """
    try:
        with st.spinner("Reading images"):
            known, judged = (_keep(files) for files in (references, others))
        if known.understood.checked < FEWEST:
            words = f"Only {wording.count(known.understood.checked, 'reference')} can be read; {FEWEST} are needed."
            st.error(words, icon=":material/error:")
            show_left_out(known.understood)
            return
        if not judged.understood.checked:
            st.error("None of the images to judge can be read.", icon=":material/error:")
            show_left_out(judged.understood)
            return
        output = launching.check(folder, judged.images, known.images)
        note_check(output, judged, known)
        st.session_state[_JUDGED] = dropped
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/error:")
        return
    open_run(folder.run_id)
    st.query_params[CHECK] = output.name
    st.query_params.pop(IMAGE, None)
    st.rerun()


def _keep(files: list[Any]) -> Upload:
    sources: list[Source] = [(CHECKED, file.name, file) for file in files]
    return keep_upload(sources)
