"""The Inspect page: drop photos, check what was understood, learn, look at the results. The address holds the state.

`upload` and `run` in the address are random ids: whoever has them sees these images and this run, and this page lists
no others.
"""

from __future__ import annotations

import streamlit as st

from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import ADAPT as ADAPT_PAGE
from pages.shared.own.doubtful import show_doubtful
from pages.shared.own.drop import show_drop
from pages.shared.own.learned import show_figures, show_learned, show_trust
from pages.shared.own.look import SIDE, pictures_of, show_look
from pages.shared.own.removal import DONE, MESSAGE, show_removal
from pages.shared.own.results import show_results
from pages.shared.own.score import show_score
from pages.shared.own.steps import CHECK, DROP, LEARN, LEARNED, LOOK, RESULTS, STAGE, VIEW, show_steps
from pages.shared.paint.page import show_painting
from pages.shared.run.heading import show_corrections
from pages.shared.runs.choice import PARAMETER, UPLOAD, choose_rate, has_maps, opened_run
from pages.shared.runs.downloads import can_score, show_use
from pages.shared.runs.live import show_computing, show_ending
from panda_core.errors import PandaError
from panda_core.runs import launch as launching
from panda_core.runs.corrections import is_normal
from panda_core.runs.folder import ENDED, RunFolder
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.owner import upload_of
from panda_core.runs.uploads import Upload, find_upload

SHOWN = 60  # good photos, at most, while they are learned from
NEW, PAINT, USE = "New photos", "Paint a scratch", "Use it elsewhere"  # after those it knows


def show() -> None:
    """Draw the page."""
    head = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    head.title("Check your photos", width="content")
    if message := st.session_state.pop(MESSAGE, ""):
        st.error(wording.sentence(message), icon=":material/error:")
    if done := st.session_state.pop(DONE, ""):
        st.success(done, icon=":material/check_circle:")
    folder = opened_run()
    try:
        upload = _upload(folder)
        step = _step(folder, upload)
        ended = folder is not None and folder.state().state in ENDED
        show_steps(head, step, {DROP} | ({LOOK} if upload else set()) | ({RESULTS} if ended else set()))
        if step in (DROP, LOOK):
            launching.keep_ready()  # while people look at what was understood, a process imports what a run needs
        if step == LOOK and upload is not None:
            show_look(upload)
        elif folder is not None:
            _run(folder, upload)
        else:
            show_drop()
    except PandaError as error:
        st.error(wording.sentence(str(error)), icon=":material/broken_image:")


def _step(folder: RunFolder | None, upload: Upload | None) -> str:
    if upload is not None and (folder is None or st.query_params.get(STAGE) == LOOK):
        return LOOK
    if folder is None:
        return DROP
    return RESULTS if folder.state().state in ENDED else LEARN


def _upload(folder: RunFolder | None) -> Upload | None:
    """Return the upload of the address, or that of its run; a sentence takes the place of one that is not there."""
    token = st.query_params.get(UPLOAD, "")
    if folder is not None:
        token = upload_of(folder.config()) or ""
    upload = find_upload(token) if token else None
    if upload is not None and upload.understood.checked:
        upload = None  # photos that were dropped to be judged: nothing is learned from these
    if token and upload is None:
        st.warning(
            "There are no images with the id in this address. They may have been removed: uploads are kept for a "
            "limited time.",
            icon=":material/search_off:",
        )
    return upload


def _run(folder: RunFolder, upload: Upload | None) -> None:
    """Draw a run: its progress, or what came of it."""
    state = folder.state()
    if state.state not in ENDED:
        show_computing(folder)
        if not has_maps(folder):  # what labels say of an adaptation is elsewhere: images of one's own mostly have none
            query = {PARAMETER: folder.run_id}
            st.page_link(ADAPT_PAGE, label="Watch its curves", icon=":material/monitoring:", query_params=query)
        if upload is not None:
            _learned_from(upload)
        return
    run = LoadedRun(folder)
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
    _results(run, upload)


def _learned_from(upload: Upload) -> None:
    """Show good photos while a detector is learned from them."""
    names = upload.names()
    good = [place for place in sorted(names) if is_normal(place)][:SHOWN]
    shown = [(place, picture) for place, picture in zip(good, pictures_of(upload, good, SIDE), strict=True) if picture]
    if shown:
        st.markdown("**The good photos**: most are learned from, the others set the threshold and test it.")
        alt = [f"Good photo {names[place]}" for place, _ in shown]
        st.image([picture for _, picture in shown], width=SIDE, alt=alt)


def _results(run: LoadedRun, upload: Upload | None) -> None:
    """Draw what a detector is worth, its threshold, and one of four views of it."""
    show_corrections(run.folder)
    with st.container(key="verdicts"):  # stays in sight: see look.css
        slider, words, trust = st.columns([0.8, 1.2, 1.8], gap="medium", vertical_alignment="center")
        rate = choose_rate(slider, "own_alarms", tip("false_alarms")) if run.calibration.images else None
        with words:
            show_figures(run, rate)
        if run.kind.key != "few-shot":
            with trust:
                show_trust(run)
    views = [LEARNED, NEW, *([PAINT] if run.has_maps else []), USE]
    if run.kind.key == "few-shot":
        views = [NEW, USE]
    choice, way, rest = st.columns([1.6, 1.1, 0.8], gap="medium", vertical_alignment="bottom")
    view = choice.segmented_control(
        "What to look at",
        views,
        default=NEW if CHECK in st.query_params else views[0],
        key=VIEW,
        help=tip("own_view"),
        bind="query-params",
        required=True,
        label_visibility="collapsed",
        wrap=True,
    )
    if view == NEW:
        token = st.query_params.get(CHECK, "")
        head, more = st.columns([2, 1], vertical_alignment="center") if token else (st.container(), st.container())
        with more:
            show_score(run.folder)
        if token:
            show_results(run, token, rate, upload, (head, way, rest))
    elif view == PAINT:
        show_painting(run, rate)
    elif view == USE:
        show_use(run.folder, maps=run.has_maps)
    else:
        show_learned(run, upload, rate, (way, rest))
        if upload is not None and rate is not None:
            show_doubtful(run, upload, rate)
    owned = upload_of(run.config)
    if owned:
        with st.container(horizontal=True, vertical_alignment="center"):
            show_removal(owned)
            st.caption("Nobody else sees this in a list: only this page's address leads here. Keep it to come back.")
