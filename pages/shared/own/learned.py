"""What a detector makes of the photos it was learned with: how far to trust it, where its threshold lies, which it gets
wrong, and the button that says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.examine.closer_look import show_viewer as show_scored
from pages.shared.examine.histogram import show_histogram
from pages.shared.examine.scores import FINAL, StepScores, scores_of
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.own.look import detail_of_upload, start_learning
from pages.shared.own.removal import MESSAGE
from pages.shared.segment.map_style import choose_style
from pages.shared.segment.maps import view_of
from pages.shared.segment.viewer import show_viewer
from panda_core.errors import PandaError
from panda_core.runs.calibration import RATE
from panda_core.runs.corrections import add, correct, is_normal
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.trust import Level, trust_of
from panda_core.runs.uploads import Upload

_SIGNS: dict[Level, tuple[str, str]] = {  # icon and colour
    "good": (":material/verified:", "green"),
    "some": (":material/thumb_up:", "green"),
    "none": (":material/warning:", "orange"),
    "unknown": (":material/help:", "orange"),
}


def show_trust(run: LoadedRun) -> None:
    """Say in one sentence how far to trust a detector."""
    trust = trust_of(run)
    icon, colour = _SIGNS[trust.level]
    st.markdown(f":{colour}[{icon} **How far to trust it:**] {trust.sentence}", help=tip("own_trust"))


def detail_told(run: LoadedRun, upload: Upload | None) -> str:
    """Return what detail a detector can see, in words; nothing where the photos are gone."""
    if upload is None:
        return ""
    detail = detail_of_upload(upload, int(run.config.image_size or 0), run.config.tiles, maps=run.has_maps)
    return "" if detail is None else detail.sentence(maps=run.has_maps)


def show_learned(
    run: LoadedRun, upload: Upload | None, rate: float | None, drawing: tuple[DeltaGenerator, DeltaGenerator]
) -> None:
    """Draw the photos that were held back to test with: verdicts, one closely, and a histogram.

    drawing: the places for the choice of how maps are drawn.
    """
    names = {} if upload is None else upload.names()
    places = list(run.split.test)
    shown = [names.get(place, place) for place in places]
    scored = dataclasses.replace(final_scores(run, rate or RATE), names=shown)
    if not places:
        st.info("No photo was held back to test with. Drop more good ones.", icon=":material/info:")
        return
    if run.has_maps:
        step = run.segmented[-1].step
        view = view_of(run, step, rate or RATE)
        view = dataclasses.replace(view, maps=dataclasses.replace(view.maps, names=shown))
        style = choose_style(view.maps, *drawing)
        show_viewer(view, style, step, [step], _correcting(run, upload, places))
    else:
        show_scored(run, scored, _correcting(run, upload, places))
    show_histogram(scored)
    st.caption(calibrated(run, rate or RATE))
    if told := detail_told(run, upload):
        st.caption(told)


def _correcting(run: LoadedRun, upload: Upload | None, places: Sequence[str]) -> Callable[[int], None]:
    """Return what draws the button that corrects an image; it draws nothing where the images are not somebody's own."""
    return lambda image: None if upload is None else show_correction(run, upload, places[image])


def final_scores(run: LoadedRun, rate: float) -> StepScores:
    """Return the scores of a finished run that count."""
    return scores_of(run, run.segmented[-1].step if run.has_maps else FINAL, rate)


def show_correction(
    run: LoadedRun, upload: Upload, place: str, judged: Upload | None = None, key: str = "own-correct"
) -> None:
    """Draw the button that says the truth of a photo is another, and learns once more.

    judged: the upload that the photo is in, where that is not the one that was learned from. key: how the keys begin.
    """
    st.markdown("**Wrong?**" if judged is None else "**What is it in truth?**", help=tip("own_correct"))
    truths = (True, False) if judged is not None else (is_normal(place),)
    with st.container(horizontal=True):
        for bad in truths:
            st.button(
                "It is bad: learn again" if bad else "It is good: learn again",
                icon=":material/edit:",
                key=f"{key}-{'bad' if bad else 'good'}",
                help=tip("own_correct"),
                on_click=_correct,
                args=(run, upload, place, bad, judged),
            )


def _correct(run: LoadedRun, upload: Upload, place: str, bad: bool, judged: Upload | None) -> None:
    try:
        if judged is None:
            wiser = correct(upload, place, is_anomaly=bad)
        else:
            wiser = add(upload, judged, place, is_anomaly=bad)
    except PandaError as error:
        st.session_state[MESSAGE] = str(error)
        return
    start_learning(wiser, run.config.recipe, run.config.image_size, run.config.roi, run.config.tiles)


def show_figures(run: LoadedRun, rate: float | None) -> None:
    """Say what the threshold does to photos whose truth is known, and what it promises for others."""
    if rate is None:
        st.markdown("No normal photo was held out: there are scores, but no threshold.")
        return
    scored = final_scores(run, rate)
    parts = []
    for label, done, kind in ((0, "rejected", "good"), (1, "found", "bad")):
        above, among = scored.above(label)
        if among:
            parts.append(f"**{above} of {among}** {kind} {done}")
    parts.append(f"threshold {wording.amount(scored.threshold)}")
    alarms = run.calibration.false_alarms(rate)
    if alarms is not None:
        parts.append(f"false alarms to expect: **{100 * alarms.expected:.1f} %**")
    st.markdown("; ".join(parts), help=f"{calibrated(run, rate)} {tip('own_interval')}")


def calibrated(run: LoadedRun, rate: float) -> str:
    """Return what the threshold will do to fresh good photos, and whether there were enough to set it."""
    return f"{run.calibration.sentence(rate)} {run.calibration.warning}".strip()
