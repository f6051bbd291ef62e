"""The Lessons page: text, a prediction, the answer, and something to do; every step has an address of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.shared.forms.presets import PRESETS, query_of
from pages.shared.frame import wording
from pages.shared.frame.glossary import tip
from pages.shared.frame.router import LINKS, page_path
from pages.shared.frame.teaching import PANELS
from pages.shared.lessons.content import Lesson, Link, Question, Step, all_lessons
from pages.shared.lessons.links_page import step_key
from pages.shared.lessons.picture import picture_of
from pages.shared.lessons.recorded_numbers import at_moment, filled, number_of
from pages.shared.lessons.toy import show_toy
from pages.shared.player.time_machine import show_time_machine
from pages.shared.runs.choice import OPENS, find_run
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

LESSON, STEP, WHOLE = "lesson", "step", "all"  # query parameters; the step that stands for the whole text
GUESSES = "lesson_guesses"  # (lesson, step) -> (question, guess, answer), of this session alone
START = 0.75  # where the slider of a guess begins
_TOP = st.components.v2.component("panda_top", js=Path(__file__).with_name("top.js").read_text(encoding="utf-8"))


def show() -> None:
    """Draw the page: the step of the address, or the list of lessons."""
    lessons = {lesson.key: lesson for lesson in all_lessons()}
    lesson = lessons.get(st.query_params.get(LESSON, ""))
    if lesson is None:
        _overview(lessons)
        return
    text = st.query_params.get(STEP, "1")
    if text == WHOLE:
        st.title(lesson.title)
        _whole(lesson)
        return
    index = int(text) - 1 if text.isascii() and text.isdigit() and 0 < int(text[:4]) <= len(lesson.steps) else 0
    _one(lesson, index, list(lessons.values()))


def _overview(lessons: dict[str, Lesson]) -> None:
    st.title("Lessons")
    st.markdown("A few minutes each. Guess before you look: it is remembered in this session only.")
    with st.container(key="lessons"), st.grid(len(lessons), min_column_width=190):
        for number, lesson in enumerate(lessons.values(), 1):
            with st.container(border=True, height="stretch", gap="small"):
                if (picture := picture_of(lesson)) is not None:
                    st.image(picture[0], width="stretch", alt=picture[1])
                st.markdown(f"**{number}. {lesson.title}**")
                st.markdown(lesson.about)
                st.markdown("\n".join(f"{place}. {step.title}" for place, step in enumerate(lesson.steps, 1)))
                st.space("stretch")
                _go(lesson, "1", "Begin", ":material/arrow_forward:", tip("lesson_begin"))
                _go(lesson, WHOLE, "Read it as text", ":material/article:", tip("lesson_text"))
    _guesses()


def _whole(lesson: Lesson) -> None:
    """Draw a lesson as text, answers included: nothing needs a click."""
    st.markdown(lesson.about)
    for number, step in enumerate(lesson.steps, 1):
        st.header(f"{number}. {step.title}")
        st.markdown(filled(step.text))
        if step.question is not None:
            st.markdown(f"*{filled(step.question.text)}* **{_shown(answer_of(step.question))}.** {filled(step.reveal)}")
        _links(step.links)
    _go(None, "", "All lessons", ":material/school:", tip("lesson_all"))


def _one(lesson: Lesson, index: int, lessons: list[Lesson]) -> None:
    step = lesson.steps[index]
    head = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    head.title(lesson.title, width="content")
    head.progress((index + 1) / len(lesson.steps), text=f"Step {index + 1} of {len(lesson.steps)}", width=320)
    # Most pictures would give the answer away: they come after the guess.
    guessed = step.question is None or (lesson.key, index) in st.session_state.get(GUESSES, {})
    pictured = step.shown is not None and (guessed or step.first)
    with st.container(
        key="slide" if not (step.toy or pictured) else "step"
    ):  # alone, it fills the screen: see look.css
        told, asked = _places(step)
        with told:
            st.header(step.title)
            st.markdown(filled(step.text))
        if step.question is not None:
            with asked, st.container(border=True):
                _ask(lesson, index, step, step.question)
    if pictured:
        _picture(lesson, index, step)
    if guessed:
        _links(step.links)
    with st.container(horizontal=True, vertical_alignment="center"):
        if index > 0:
            _go(lesson, str(index), "Back", ":material/arrow_back:", tip("lesson_back"))
        following = lessons.index(lesson) + 1
        if index + 1 < len(lesson.steps):
            _go(lesson, str(index + 2), "Next step", ":material/arrow_forward:", tip("lesson_next"))
        elif following < len(lessons):
            title = f"Next lesson: {lessons[following].title}"
            _go(lessons[following], "1", title, ":material/arrow_forward:", tip("lesson_begin"))
        _go(None, "", "All lessons", ":material/school:", tip("lesson_all"))
        if not st.context.is_embedded:  # who follows a projector's link prepares none
            st.page_link(
                LINKS,
                label="Link to this step for a class",
                icon=":material/link:",
                query_params={OPENS: step_key(lesson, index + 1)},
                help=tip("lesson_link"),
            )
    if index + 1 == len(lesson.steps):
        _guesses()
    _TOP(key="top", data={"place": f"{lesson.key}-{index}"})


def _places(step: Step) -> tuple[DeltaGenerator, DeltaGenerator]:
    """Draw the toy, where a step has one, and return where its text and its question stand."""
    if step.toy:
        wide, narrow = st.columns([2.8, 1], gap="medium")
        with wide:
            show_toy("toy")
        return narrow.container(), narrow.container()
    left, right = st.columns([1.25, 1], gap="large")
    return left, right


def _ask(lesson: Lesson, index: int, step: Step, question: Question) -> None:
    """Draw a prediction; once it is made, the answer."""
    guesses = st.session_state.setdefault(GUESSES, {})
    name = f"{lesson.key}-{index}"
    st.markdown(f"**Your prediction.** {filled(question.text)}")
    if (given := guesses.get((lesson.key, index))) is not None:
        _, guess, answer = given
        st.markdown(f"{_verdict(guess, answer)} {filled(step.reveal)}")
        return
    about: dict[str, Any] = {"key": f"guess-{name}", "help": tip("guess")}
    if question.choices:
        guess = st.radio("Your guess", question.choices, index=None, **about)
    else:
        guess = st.slider("Your guess", 0.5, 1.0, START, 0.01, **about)
    if st.button("Show the answer", key=f"reveal-{name}", type="primary", help=tip("reveal"), disabled=guess is None):
        st.session_state[GUESSES] = {
            **guesses,
            (lesson.key, index): (filled(question.text), guess, answer_of(question)),
        }
        st.rerun()


def _verdict(guess: str | float, answer: str | float | None) -> str:
    """Return the answer beside the guess, in words."""
    if isinstance(guess, float) and isinstance(answer, float):
        return f"**{answer:.2f}**; you said {guess:.2f}, {abs(guess - answer):.2f} off."
    return "**Right.**" if guess == answer else f"**{_shown(answer)}**, not *{guess}*."


def answer_of(question: Question) -> str | float | None:
    """Return the right answer; that of a number is read from its recorded run, None if it is not there."""
    return question.correct if question.number is None else number_of(*question.number)


def _shown(answer: str | float | None) -> str:
    return wording.NONE if answer is None else f"{answer:.2f}" if isinstance(answer, float) else answer


def _picture(lesson: Lesson, index: int, step: Step) -> None:
    run_id, moment, panels = step.shown or ("", "end", ())
    folder = find_run(run_id)
    try:
        if folder is None:
            raise PandaError("the recorded run is not here.")
        run = LoadedRun(folder)
        hidden = [panel for panel in PANELS if panel not in panels]
        at = at_moment(run, moment).step
        show_time_machine(run, key=f"lesson-{lesson.key}-{index}", plays=False, at=at, hidden=hidden)
    except PandaError as error:
        st.info(f"The picture of this step is missing: {wording.sentence(str(error))}")


def _links(links: tuple[Link, ...]) -> None:
    for link in links:
        query = dict(link.query)
        for preset in PRESETS:
            if query.get("preset") == preset.key:
                query = query_of(preset)
        st.page_link(page_path(link.page), label=link.label, icon=":material/arrow_forward:", query_params=query)


def _go(lesson: Lesson | None, step: str, label: str, icon: str, about: str) -> None:
    """Draw a button that leads to a step of a lesson, or to all lessons.

    No link: one to the page that is shown draws it anew but leaves the address alone, and the next click on anything
    lands where the address still is.
    """
    key = f"go-{label.partition(':')[0]}-{lesson.key if lesson else ''}-{step}"
    st.button(label, icon=icon, key=key, type="tertiary", help=about, on_click=_show_step, args=(lesson, step))


def _show_step(lesson: Lesson | None, step: str) -> None:
    for name, value in ((LESSON, lesson.key if lesson else ""), (STEP, step)):
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def _guesses() -> None:
    """Show the guesses of this session, and offer them as a table to keep."""
    guesses = st.session_state.get(GUESSES, {})
    if not guesses:
        return
    rows = [
        {"Question": question, "Your guess": _shown(guess), "Answer": _shown(answer), "Error": _error(guess, answer)}
        for question, guess, answer in guesses.values()
    ]
    st.header("Your predictions")
    frame = pd.DataFrame(rows)
    st.dataframe(frame, hide_index=True, key="guesses", alt="Your predictions in this session beside the answers")
    st.download_button(
        "Download as CSV",
        frame.to_csv(index=False),
        file_name="predictions.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="download-guesses",
        help=tip("guesses_csv"),
    )


def _error(guess: str | float, answer: str | float | None) -> str:
    if isinstance(guess, float) and isinstance(answer, float):
        return f"{abs(guess - answer):.2f}"
    return "right" if guess == answer else "wrong"
