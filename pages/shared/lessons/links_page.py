"""The page that prepares a link for a class: what it opens, what is hidden and locked, and how large it is written."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import streamlit as st

from pages.shared.forms.named import choose_named, choose_several
from pages.shared.forms.presets import PRESETS, query_of
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.teaching import PANELS
from pages.shared.lessons.content import Lesson, all_lessons
from pages.shared.runs.choice import OPENS, PARAMETER, find_run, is_recorded, recorded_runs
from panda_core.runs.folder import list_runs
from panda_core.runs.kinds import kind_of

Target = tuple[str, dict[str, str]]  # name of a page, and its query
# Kind of run -> what a link to it opens, in a word, and on which page.
VIEWS = {"adapt": ("Film", "instrument"), "segment": ("Maps", "segment"), "few-shot": ("Verdicts", "new_classes")}
_ASKED = "links_run"  # in the session: a run of one's own, which stays among the choices
LOCKS = {"": "Nothing", "seed,lr,steps": "Learning rate, steps and seed", "all": "All settings"}
# Panel -> what it is called here.
NAMES = {
    "numbers": "AUROC and caption",
    "jumps": "Jumps and switches",
    "embedding": "Features",
    "auroc": "AUROC",
    "meters": "Meters without labels",
    "histogram": "Scores",
    "ratios": "Distances",
    "spectrum": "Directions",
    "ranking": "Twelve images",
    "heatmap": "Heatmap",
    "presets": "Cards",
}


def step_key(lesson: Lesson, place: int) -> str:
    """Return the key of a step of a lesson among the targets; place: 1 for the first."""
    return f"{lesson.key}-{place}"


def targets(asked: str = "") -> dict[str, tuple[str, Target]]:
    """Return key -> what a link can open, in words, and where that is: steps of lessons, films, cards, a race.

    asked: the id of a run that is offered as well, whosever it is: to whoever knows its id.
    """
    found: dict[str, tuple[str, Target]] = {}
    for number, lesson in enumerate(all_lessons(), 1):
        for place, step in enumerate(lesson.steps, 1):
            query = {"lesson": lesson.key, "step": str(place)}
            found[step_key(lesson, place)] = (f"Lesson {number}, step {place}: {step.title}", ("lessons", query))
    own = find_run(asked) if asked else None
    listed = list_runs(recorded_runs())
    for folder in [own, *listed] if own is not None and not is_recorded(own) else listed:
        word, page = VIEWS[kind_of(folder.config()).key]
        found[folder.run_id] = (f"{word}: {wording.run_title(folder.config())}", (page, {PARAMETER: folder.run_id}))
    for preset in PRESETS:
        found[f"card-{preset.key}"] = (f"Lab: {preset.title}", ("adapt", query_of(preset)))
    found["race"] = ("Race of the recorded runs", ("duel", {}))
    found["strength"] = ("Strength of elastic weights", ("elastic", {}))
    return found


def link_of(target: Target, hidden: list[str], lock: str, *, large: bool, projector: bool) -> Target:
    """Return the page and the whole query of a prepared link."""
    name, query = target
    teaching = {"hide": ",".join(hidden), "lock": lock, "large": "yes" if large else ""}
    given = {**query, **{key: value for key, value in teaching.items() if value}}
    return name, given | ({"embed": "true", "embed_options": "light_theme"} if projector else {})


def show() -> None:
    """Draw the page."""
    st.title("Prepare a link for a class")
    st.markdown("Choose what it opens and how: below is what a class sees.")
    asked = st.query_params.get(OPENS, "")
    if asked and find_run(asked) is not None:
        st.session_state[_ASKED] = asked
    known = targets(st.session_state.get(_ASKED, ""))
    first, second, third, fourth = st.columns([1.5, 1.3, 1, 1.1], gap="medium", vertical_alignment="bottom")
    with first:
        names = {key: words for key, (words, _) in known.items()}
        opened = choose_named("It opens", names, OPENS, next(iter(names)), tip("link_opens"))
    with second:
        panels = {panel: NAMES[panel] for panel in PANELS}
        hidden = choose_several("Leave out", panels, "leave_out", len(PANELS), tip("link_hide"), "Nothing")
    with third:
        lock = choose_named("Lock", LOCKS, "locked", "", tip("link_lock"))
    with fourth.container(gap="xsmall"):
        large = st.toggle("Large type", key="enlarged", help=tip("link_large"))
        projector = st.toggle("Bright, without the frame", key="projector", help=tip("link_bright"))
    page, query = link_of(known[opened][1], hidden, lock, large=large, projector=projector)
    address = f"{_origin()}/{page}" + (f"?{urlencode(query)}" if query else "")
    shown, said = st.columns([5, 1], gap="medium")
    with said:
        st.markdown("**The link**")
        st.code(address, language=None, wrap_lines=True)
        # In a tab of its own, where what it hides ends with it; a page link would refuse a projector's `embed`.
        st.link_button("Try it", address, icon=":material/open_in_new:", type="tertiary", help=tip("link_try"))
        st.caption(
            "What a link hides, locks or enlarges holds until another link says otherwise, or the tab is closed."
        )
    with shown.container(key="preview"):  # as a class sees it, made smaller: see look.css
        st.iframe(address, height=1080, alt=f"What the link opens: {known[opened][0]}")


def _origin() -> str:
    """Return where this program is reached: "http://127.0.0.1:8501"."""
    parts = urlsplit(st.context.url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
