"""The Runs page: a table of all runs, a comparison, and what can be done with one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pandas as pd
import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT, DUEL, EXAMINE, INSTRUMENT, OWN, SEGMENT, SETTINGS
from pages.shared.run.heading import show_corrections
from pages.shared.runs.choice import RACE, all_runs, has_maps, is_recorded
from pages.shared.runs.downloads import can_score, download_detector, zipped
from pages.shared.runs.live import follow_states
from pages.shared.runs.table import Row, chosen_otherwise, differing_settings, row_of, start_alike
from panda_core.errors import PandaError
from panda_core.figures import compare_figure, style
from panda_core.runs.deleted import KEPT, bring_back, put_aside, remove_deleted
from panda_core.runs.folder import ENDED, RunFolder

MOST = len(style.RUNS)  # runs in one chart: each has a colour
COMPARE = "compare"  # query parameter, and key of the widget: ids of the compared runs
CHOSEN = "chosen_run_id"  # in the session
DELETED = "deleted_run"  # in the session: its name, where it lies aside, and until when it can be brought back


def show() -> None:
    """Draw the page."""
    st.title("Runs")
    if message := st.session_state.pop("runs_message", ""):
        st.toast(message)
    if st.session_state.get(DELETED):
        st.fragment(_offer_undo, run_every=1.0)()
    rows = {folder.run_id: row_of(folder) for folder in all_runs()}
    good = {run_id: row for run_id, row in rows.items() if not row.problem}
    if all(is_recorded(row.folder) for row in rows.values()):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("No run of your own yet: these came with the program.", width="content")
            st.page_link(ADAPT, label="Adapt a network", icon=":material/tune:")
    if good:
        _one(good)
        _table(list(good.values()))
        st.caption(
            "What others learned from images that they dropped is not listed: only its address leads there. Whoever "
            "knows the address of such a run can open, rename and delete it."
        )
        _compare(good)
        follow_states([(row.folder, row.state) for row in good.values()])
    for row in rows.values():
        if row.problem:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.warning(wording.sentence(row.problem), icon=":material/broken_image:")
                if not is_recorded(row.folder):
                    _delete(row.folder, "Delete this broken run", row.folder.run_id)


def _table(rows: list[Row]) -> None:
    frame = pd.DataFrame([row.cells() for row in rows])
    st.dataframe(
        frame,
        width="stretch",
        hide_index=True,
        height="content",
        key="table",
        on_select=lambda: _point_at(rows),
        selection_mode="single-cell",
        alt="All runs with their settings, state and AUROC",
        column_config={
            "State": st.column_config.TextColumn(help=tip("state")),
            "AUROC": st.column_config.TextColumn(help=tip("final_auroc"), alignment="right"),
            "Unadapted": st.column_config.TextColumn(help=tip("unadapted_auroc"), alignment="right"),
            "Steps": st.column_config.TextColumn(help=tip("steps"), alignment="right"),
            "Recipe": st.column_config.TextColumn(help=tip("recipe")),
        },
    )


def _point_at(rows: list[Row]) -> None:
    """Choose the run whose row was clicked."""
    for row, _ in st.session_state["table"]["selection"]["cells"]:
        st.session_state[CHOSEN] = rows[row].folder.run_id


def _compare(good: dict[str, Row]) -> None:
    curved = {run_id: row for run_id, row in good.items() if row.curve.steps}
    if len(curved) < 2:
        return
    st.header("Compare")
    if COMPARE not in st.session_state:
        asked = [run_id for run_id in st.query_params.get(COMPARE, "").split(",") if run_id in curved]
        st.session_state[COMPARE] = asked[:MOST] or list(curved)[:2]
    # By id: a name can change, and an address or a choice that holds names is then of no run.
    st.session_state[COMPARE] = [run_id for run_id in st.session_state[COMPARE] if run_id in curved]
    chosen = st.multiselect(
        "Runs in one chart",
        list(curved),
        max_selections=MOST,
        key=COMPARE,
        format_func=lambda run_id: curved[run_id].label,
        help=tip("compare"),
        placeholder="Choose two to four runs",
        on_change=_address_comparison,
    )
    rows = [curved[run_id] for run_id in chosen[:MOST]]
    if not rows:
        return
    curves = [row.curve for row in rows]
    left, right = st.columns(2, gap="medium")
    named = ", ".join(row.label for row in rows)
    with left:
        st.markdown("**AUROC**", help=tip("auroc"))
        show_figure(compare_figure(curves, "auroc"), key="compare-auroc", alt=f"AUROC over steps of {named}")
    with right:
        st.markdown("**Anomalous distance divided by training distance**", help=tip("ratios"))
        show_figure(compare_figure(curves, "ratio"), key="compare-ratio", alt=f"Distance ratio over steps of {named}")
    if start_alike(rows):
        st.page_link(
            DUEL,
            label="Watch them race",
            icon=":material/compare_arrows:",
            query_params={RACE: ",".join(chosen[:MOST])},
            help=tip("race_these"),
        )
    for row in rows:
        if told := chosen_otherwise(row):
            st.caption(wording.sentence(told))
    settings = differing_settings(rows)
    if len(rows) > 1 and settings:
        st.markdown("**Settings that differ**", help=tip("different_settings"))
        st.dataframe(
            pd.DataFrame(settings),
            width="stretch",
            hide_index=True,
            key="differences",
            alt=f"Settings in which these runs differ: {named}",
        )
    elif len(rows) > 1:
        st.caption("These runs have the same settings.")


def _address_comparison() -> None:
    """Put the ids of the compared runs into the address."""
    st.query_params[COMPARE] = ",".join(st.session_state[COMPARE])


def _one(good: dict[str, Row]) -> None:
    """Draw the choice of a run, which a click on its row in the table makes as well, and what can be done with it."""
    # Set at every look: a list whose names have changed would go back to its first run, which nobody chose.
    chosen = st.session_state.get(CHOSEN)
    st.session_state["chosen_run"] = chosen if chosen in good else next(iter(good))
    run_id = st.selectbox(
        "Run, or click on its row",
        list(good),
        format_func=lambda run_id: good[run_id].label,
        key="chosen_run",
        help=tip("chosen_run"),
        on_change=_choose,
    )
    row = good[run_id]
    with st.container(horizontal=True, vertical_alignment="center"):
        query = {"run": run_id}
        if has_maps(row.folder):
            st.page_link(SEGMENT, label="Maps", icon=":material/center_focus_strong:", query_params=query)
        else:
            st.page_link(INSTRUMENT, label="Film", icon=":material/movie:", query_params=query)
            st.page_link(EXAMINE, label="Images", icon=":material/image_search:", query_params=query)
        st.page_link(SETTINGS, label="Settings", icon=":material/tune:", query_params=query)
        st.download_button(
            "Download",
            data=lambda: zipped(row.folder),
            file_name=f"{run_id}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            key="download",
            help=tip("download"),
        )
        if can_score(row.folder) and row.folder.state().state in ENDED:
            st.page_link(OWN, label="Score images", icon=":material/fact_check:", query_params=query)
            download_detector(row.folder)
        if not is_recorded(row.folder):
            _rename(row)
            _delete(row.folder, "Delete", row.label)
    show_corrections(row.folder)


def _choose() -> None:
    st.session_state[CHOSEN] = st.session_state["chosen_run"]


def _rename(row: Row) -> None:
    run_id = row.folder.run_id
    with st.popover("Rename", icon=":material/edit:", key=f"rename-popover-{run_id}"):
        st.caption(f"{wording.sentence(row.label)}. Id: `{run_id}`")
        name = st.text_input("Name", value=row.config.name, max_chars=80, key=f"name-{run_id}", help=tip("name"))
        if st.button("Save", key=f"rename-{run_id}", type="primary", help=tip("rename")):
            try:
                row.folder.write_config(row.config.replace(name=name.strip()))
            except PandaError as error:
                st.error(wording.sentence(str(error)))
                return
            st.session_state[CHOSEN] = run_id
            st.session_state["runs_message"] = "Renamed."
            st.rerun()


def _delete(folder: RunFolder, label: str, name: str) -> None:
    with st.popover(label, icon=":material/delete:", key=f"delete-popover-{folder.run_id}"):
        st.markdown(f"This removes **{wording.sentence(name)}** from this machine. You can undo it for {KEPT:.0f} s.")
        st.caption(f"Id: {wording.sentence(folder.run_id)}")
        if st.button("Delete", key=f"delete-{folder.run_id}", type="primary", help=tip("delete")):
            try:
                aside = put_aside(folder)
            except (PandaError, OSError) as error:
                st.error(wording.sentence(str(error)))
                return
            removal = threading.Timer(KEPT + 1, remove_deleted, [folder.path.parent])
            removal.daemon = True
            removal.start()
            st.session_state[DELETED] = (name, aside, time.time() + KEPT - 1)
            st.rerun()


def _offer_undo() -> None:
    """Draw the offer to bring back what was deleted last, until it cannot be brought back any more."""
    name, aside, until = st.session_state.get(DELETED) or ("", Path(), 0.0)
    left = until - time.time()
    if left <= 0:
        st.session_state.pop(DELETED, None)
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"Deleted **{wording.sentence(name)}**. It is gone for good in {left:.0f} s.", icon=":material/delete:")
        st.button("Undo", icon=":material/undo:", key="undo", help=tip("undo"), on_click=_undo, args=(aside,))


def _undo(aside: Path) -> None:
    st.session_state.pop(DELETED, None)
    try:
        st.session_state[CHOSEN] = bring_back(aside).run_id
        st.session_state["runs_message"] = "It is back."
    except (PandaError, OSError) as error:
        st.session_state["runs_message"] = wording.sentence(str(error))
