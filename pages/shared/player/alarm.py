"""The label-free alarm in plain words: what its gauges measure, and what they saw in this run."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from panda_core.figures import copies_figure, kept_figure
from panda_core.methods.alarm import FALL, KEPT, ROUNDING, fired, readings
from panda_core.runs.loaded import LoadedRun

WORDS = f"""
A falling loss says nothing about anomalies, and without labels nobody can measure them. The alarm asks three questions
that need neither, at every measurement:

- **Neighbours kept.** The pretrained network knows which normal images resemble each other. Of each training image, how
  much of its nearest third is as it was at step 0? By chance alone a third would be: that counts as 0 %. The line lies
  at {100 * KEPT:.0f} %. Lost neighbours alone are no lost detection: images may fall together while anomalies stay out.
- **Strange copies told apart.** Copies of held-out normal images, made strange, stand in for anomalies. The line lies
  {FALL:g} below the best AUROC that they had so far. Below it the alarm fires: detection suffers.
- **Digits left.** Features have seven digits. Where normal images differ by less than {ROUNDING:,.0f} rounding errors,
  three digits, distances soon are rounding alone.
"""
FORMULA = r"o_t = \frac{s_t - 1/3}{1 - 1/3}, \qquad s_t = \text{mean of } \frac{|N_t(x) \cap N_0(x)|}{|N_0(x)|}"


def show_alarm(run: LoadedRun) -> None:
    """Draw how the alarm works, and two of its gauges over this run, which has at least one measurement."""
    st.markdown(WORDS)
    st.latex(FORMULA)
    evaluated = run.evaluated
    if evaluated[0].neighbour_overlap is None:
        st.caption("This run is older than the alarm: its neighbours were not recorded.")
        return
    alarm, place = readings(evaluated), fired(evaluated)
    last = max(evaluated[-1].step, run.config.steps or 1)
    happened = "The alarm never fired." if place is None else f"The alarm fired at step {evaluated[place].step}."
    st.markdown("**What it saw in this run**", help=tip("alarm"))
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("Neighbours kept, %")
        show_figure(
            kept_figure(alarm, last),
            key="alarm-kept",
            alt="How much of the neighbourhoods of step 0 is left, over optimiser steps, and the line of the alarm.",
        )
    if any(reading.detection.value is not None for reading in alarm):
        with right:
            st.markdown("Strange copies told apart, AUROC")
            show_figure(
                copies_figure(alarm, last, place),
                key="alarm-copies",
                alt=f"AUROC of held-out normal images against strange copies, over optimiser steps. {happened}",
            )
    known = [event.auroc for event in evaluated if event.auroc is not None]
    judged = ""
    if known and place is not None and evaluated[place].auroc is not None:
        judged = (
            f" Labels show whether that was early enough: the AUROC is {wording.auroc(evaluated[place].auroc)} there, "
            f"{wording.auroc(max(known))} at its best, and {wording.auroc(known[-1])} at the end."
        )
    st.markdown(happened + judged)
