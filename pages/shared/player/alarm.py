"""The label-free alarm in plain words: its formula, what it watched in this run, and what it made of it."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from panda_core.figures import alarm_figure, curve_of
from panda_core.methods.alarm import COLLAPSING, KEPT
from panda_core.runs.loaded import LoadedRun

WORDS = """
A falling loss says nothing about anomalies, and without labels nobody can measure them. But the pretrained network
knows which normal images resemble each other. Good adapting moves all of them closer together and leaves near images
near; in a collapse every image is as close to every other, and who is nearest becomes chance. So the alarm asks of each
training image which third of the others is nearest to it, and how much of that third is as it was at step 0:
"""
FORMULA = r"o_t = \frac{s_t - 1/3}{1 - 1/3}, \qquad s_t = \text{mean of } \frac{|N_t(x) \cap N_0(x)|}{|N_0(x)|}"
RULE = (
    "By chance alone a third would be the same, so that share counts as 0 %, and an unchanged neighbourhood as 100 %. "
    f"Below **{100 * KEPT:.0f} %** the alarm says **collapsing**. It says **healthy plateau** when the overlap has "
    "fallen and hardly changes any more, and **adapting** otherwise. The recipe *PANDA, stopped by the alarm* ends "
    "there, and adds up what this network and the unadapted one say of an image, each relative to held-out normal "
    "images. No label and no anomaly is used."
)


def show_alarm(run: LoadedRun) -> None:
    """Draw how the alarm works, and its curve for this run, which has at least one measurement."""
    st.markdown(WORDS)
    st.latex(FORMULA)
    st.markdown(RULE)
    evaluated = run.evaluated
    if evaluated[0].neighbour_overlap is None:
        st.caption("This run is older than the alarm: its neighbours were not recorded.")
        return
    curve = curve_of(evaluated, last_step=run.config.steps)
    fired = next((index for index, event in enumerate(evaluated) if event.alarm == COLLAPSING), None)
    happened = "The alarm never fired." if fired is None else f"The alarm fired at step {evaluated[fired].step}."
    st.markdown("**What it saw in this run**", help=tip("alarm"))
    show_figure(
        alarm_figure(curve, kept=KEPT, fired=fired),
        key="alarm-chart",
        alt=f"How much of the neighbourhoods of step 0 is left, over optimiser steps. {happened}",
    )
    known = [event.auroc for event in evaluated if event.auroc is not None]
    judged = ""
    if known and fired is not None and evaluated[fired].auroc is not None:
        judged = (
            f" Labels show whether that was early enough: the AUROC is {wording.auroc(evaluated[fired].auroc)} there, "
            f"{wording.auroc(max(known))} at its best, and {wording.auroc(known[-1])} at the end."
        )
    st.markdown(happened + judged)
