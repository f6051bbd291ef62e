"""What came of a finished run, in one line of figures: each with what it means."""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from panda_core.methods.options import FISHER
from panda_core.methods.table import RECIPES
from panda_core.runs.loaded import LoadedRun

UNCHANGED = "unchanged by adapting"


def change(gain: float) -> str:
    """Return what adapting changed of the AUROC, in words; nothing that rounds to 0 counts as a loss."""
    return f"{gain:+.3f} by adapting" if abs(gain) >= 0.0005 else UNCHANGED


def show_results(run: LoadedRun) -> None:
    """Draw the final figures of a finished run."""
    metrics = run.metrics or {}
    final, unadapted = metrics.get("auroc"), metrics.get("unadapted_auroc")
    undefined = "" if final is not None else f" {tip('undefined')}"
    gain = "" if final is None or unadapted is None else f", {change(final - unadapted)}"
    between = wording.interval(metrics.get("auroc_low"), metrics.get("auroc_high"))
    figures = [
        ("Final AUROC", f"{wording.auroc(final)}{gain}", tip("final_auroc") + undefined),
        ("95 % interval", between, tip("auroc") + undefined),
        ("Unadapted AUROC", wording.auroc(unadapted), tip("unadapted_auroc") + undefined),
        ("Scores from", where_from(run), tip("stop_step")),
        (
            "Best AUROC on the way",
            f"{wording.auroc(metrics.get('oracle_auroc'))}, step {wording.step(metrics.get('oracle_step'))}",
            tip("oracle") + undefined,
        ),
    ]
    if metrics.get("whitened_auroc") is not None:
        figures.append(("Whitened, not adapted", wording.auroc(metrics["whitened_auroc"]), tip("whitened_auroc")))
    with st.container(horizontal=True, gap="large", key="results"):
        for name, value, about in figures:
            st.markdown(f"{name}  \n**{value}**", width="content", help=about)
    held_out = metrics.get("held_out_images", 0)
    st.caption(
        f"From {wording.count(metrics.get('test_images', 0), 'test image')}. Adapted on "
        f"{wording.count(metrics.get('train_images', 0) - held_out, 'normal image')}; "
        f"{held_out} held out to set the threshold."
    )
    if reason := metrics.get("end_reason"):
        st.caption(f"It ended before its last step. {wording.sentence(str(reason))}")
    fisher = run.environment.get("fisher")
    if fisher:
        st.caption(f"What the weights are worth: {wording.sentence(str(fisher))}.", help=FISHER["fisher_images"].plain)


def where_from(run: LoadedRun) -> str:
    """Return which step gave the final scores, and what chose it: a rule, or the length that was asked for."""
    step = wording.step((run.metrics or {}).get("stop_step"))
    rule = wording.stop_rule(run.config.recipe, run.metrics or {})
    recipe = RECIPES.get(run.config.recipe)
    return f"{rule}, median {step}" if recipe is not None and recipe.per_image else f"step {step}, {rule}"
