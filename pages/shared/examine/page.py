"""The Examine page: scores, threshold and images of one run."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.examine.closer_look import show_viewer
from pages.shared.examine.histogram import show_histogram
from pages.shared.examine.scores import FINAL, StepScores, scores_of
from pages.shared.examine.stopping_view import show_chosen
from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, SEGMENT
from pages.shared.run.heading import show_title
from pages.shared.runs.choice import all_runs, choose_rate, choose_run, has_maps, opened_run
from panda_core.errors import PandaError
from panda_core.figures import spectrum_figure
from panda_core.runs.adapt.results import answered
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun

PICKED = "examined_run"


def show() -> None:
    """Draw the page."""
    opened = opened_run()
    show_title(opened, "Examine the images of a run")
    folder = _chosen() if opened is None else opened
    if folder is None:
        st.info("There are no runs with scores yet. Start one, and look at its images here.", icon=":material/info:")
        st.page_link(ADAPT, label="Adapt a network", icon=":material/tune:")
        return
    if has_maps(folder):
        st.info("This run has maps of its images: they are on another page.", icon=":material/info:")
        query = {"run": folder.run_id}
        st.page_link(SEGMENT, label="Open it", icon=":material/center_focus_strong:", query_params=query)
        return
    try:
        _run(LoadedRun(folder))
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _chosen() -> RunFolder | None:
    """Draw the choice among runs that have scores here, for an address that names none; one with maps has none."""
    folders = {folder.run_id: folder for folder in all_runs() if folder.split_file.is_file() and not has_maps(folder)}
    return choose_run(folders, None, PICKED)


def _run(run: LoadedRun) -> None:
    steps: list[int | str] = [event.step for event in run.evaluated]
    if run.folder.arrays_file(FINAL).is_file():
        steps.append(FINAL)
    if not steps:
        st.info("This run has no scores yet: they come with its first evaluation.", icon=":material/hourglass_empty:")
        return
    scored, step = _scores(run, steps)
    show_viewer(run, scored)
    show_histogram(scored)
    if scored.threshold is not None:
        st.caption(f"{scored.calibration.sentence(scored.rate)} {scored.calibration.warning}")
    more = st.expander("Directions the features use", icon=":material/bar_chart:", on_change="rerun", key="spectrum")
    if more.open:
        with more:
            _spectrum(run, step)
    show_chosen(run)
    _answers(run)


def _scores(run: LoadedRun, steps: list[int | str]) -> tuple[StepScores, int | str]:
    """Draw the choice of a step and of the threshold, beside the figures they change; return the scores and the step.

    They stay in sight over the images: see look.css.
    """
    with st.container(key="verdicts"):
        sliders = st.columns([1, 1, 1.7], gap="large", vertical_alignment="center")
        step = _step(sliders[0], steps)
        rate = choose_rate(sliders[1], "false_alarms", tip("false_alarms"))
        scored = scores_of(run, step, rate)
        with sliders[2]:
            st.markdown("; ".join(_figures(scored)), help=_explained(scored))
    return scored, step


def _step(place: DeltaGenerator, steps: list[int | str]) -> int | str:
    """Draw the slider over steps and return the chosen one; it starts at the final scores."""
    names = [str(step) for step in steps]
    if len(names) == 1:
        place.markdown("Scores at step " + names[0], help=tip("step"))
        return steps[0]
    chosen = place.select_slider(
        "Scores at step", names, value=names[-1], key="step", help=tip("step"), bind="query-params"
    )
    return steps[names.index(chosen)] if chosen in names else steps[-1]


def _figures(scored: StepScores) -> list[str]:
    """Return what the scores are worth: the AUROC, and what the threshold does to each kind of image."""
    figures = [f"AUROC **{wording.auroc(scored.auroc())}**"]
    if scored.threshold is None:
        return [*figures, "no normal image was held out, so there is no threshold and no verdict"]
    for label, words in ((0, "normal rejected"), (1, "anomalies found")):
        above, among = scored.above(label)
        if among:
            figures.append(f"**{above} of {among}** {words}")
    return [*figures, f"threshold {wording.amount(scored.threshold)}"]


def _explained(scored: StepScores) -> str:
    """Return what the figures mean, and what the threshold promises."""
    undefined = "" if scored.auroc() is not None else f" {tip('undefined')}"
    told = (
        ""
        if scored.threshold is None
        else f"{scored.calibration.sentence(scored.rate)} {tip('rejected')} {tip('found')} "
    )
    return f"{told}{tip('auroc')}{undefined}"


def _answers(run: LoadedRun) -> None:
    """Draw what else was measured when the run ended: answers of a network's heads, the best of a grid of settings."""
    metrics = run.metrics or {}
    rows = answered(metrics)
    if rows:
        st.markdown("**How often each head is right at the end**", help=tip("answers"))
        frame = pd.DataFrame(
            [[row.question, wording.percent(row.normal), wording.percent(row.anomalous)] for row in rows],
            columns=["Head", "Normal images", "Anomalous images"],
        )
        st.dataframe(frame, width="stretch", hide_index=True, key="answers", alt="Accuracy of each head, in percent")
    if "oracle_grid_auroc" in metrics:
        value = wording.auroc(metrics["oracle_grid_auroc"])
        st.caption(f"The best setting of the grid, chosen with the labels of these images, has an AUROC of {value}.")


def _spectrum(run: LoadedRun, step: int | str) -> None:
    last = run.evaluated[-1].step if step == FINAL else int(step)
    values, unadapted = (run.adapt_arrays(number).singular_values for number in (last, 0))
    st.markdown(f"**How the spread of the training features is shared, step {last}**", help=tip("spectrum"))
    show_figure(
        spectrum_figure(values, unadapted),
        key="spectrum-figure",
        alt=f"Share of the spread in each direction at step {last}, beside that of the unadapted network.",
    )
