"""The Examine page: scores, threshold and images of one run."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages.shared.examine.closer_look import show_image
from pages.shared.examine.gallery import show_gallery
from pages.shared.examine.histogram import show_histogram
from pages.shared.examine.scores import FINAL, StepScores, scores_of
from pages.shared.examine.stopping_view import show_chosen
from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.figures import Figure, show_figures
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
    scored = _scores(run, steps)
    _answers(run)
    with st.container(key="viewer"):  # on a phone, the second column comes first: see look.css
        left, right = st.columns([1.7, 1], gap="large")
    with left:
        show_gallery(run, scored)
    with right:
        show_image(run, scored)
    show_chosen(run)


def _step(steps: list[int | str]) -> int | str:
    """Draw the slider over steps and return the chosen one; it starts at the final scores."""
    names = [str(step) for step in steps]
    if len(names) == 1:
        st.markdown("Scores at step " + names[0], help=tip("step"))
        return steps[0]
    chosen = st.select_slider(
        "Scores at step", names, value=names[-1], key="step", help=tip("step"), bind="query-params"
    )
    return steps[names.index(chosen)] if chosen in names else steps[-1]


def _scores(run: LoadedRun, steps: list[int | str]) -> StepScores:
    """Draw the scores at a step and the threshold, beside the figures they change; return them as it judges them."""
    chart, numbers = st.columns([1.7, 1], gap="large")
    with numbers:
        step = _step(steps)
    rate = choose_rate(numbers, "false_alarms", tip("false_alarms"))
    scored = scores_of(run, step, rate)
    with chart:
        show_histogram(scored)
    with numbers:
        value = scored.auroc()
        undefined = "" if value is not None else f" {tip('undefined')}"
        figures = [("AUROC", wording.auroc(value), "", tip("auroc") + undefined)]
        if scored.threshold is None:
            show_figures(figures)
            st.caption("No normal images were held out of this run, so it has no threshold and gives no verdicts.")
        else:
            figures += [_count(scored, 0, "Normal rejected", "rejected"), _count(scored, 1, "Anomalies found", "found")]
            show_figures(figures)
            st.caption(f"{scored.calibration.sentence(scored.rate)} {scored.calibration.warning}")
    more = st.expander("Directions the features use", icon=":material/bar_chart:", on_change="rerun", key="spectrum")
    if more.open:
        with more:
            _spectrum(run, step)
    return scored


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


def _count(scored: StepScores, label: int, title: str, term: str) -> Figure:
    above, among = scored.above(label)
    value = f"{above} of {among}" if among else wording.NONE
    return title, value, f"{100 * above / among:.1f} %" if among else "there are none", tip(term)


def _spectrum(run: LoadedRun, step: int | str) -> None:
    last = run.evaluated[-1].step if step == FINAL else int(step)
    values, unadapted = (run.adapt_arrays(number).singular_values for number in (last, 0))
    st.markdown(f"**How the spread of the training features is shared, step {last}**", help=tip("spectrum"))
    show_figure(
        spectrum_figure(values, unadapted),
        key="spectrum-figure",
        alt=f"Share of the spread in each direction at step {last}, beside that of the unadapted network.",
    )
