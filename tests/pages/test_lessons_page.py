"""Lessons: files that can be read, answers that are true of the recorded runs, and a page that asks before it tells."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pages.shared.forms.presets import PRESETS
from pages.shared.frame.teaching import PANELS
from pages.shared.lessons.content import Lesson, all_lessons, read_lesson
from pages.shared.lessons.page import GUESSES, answer_of
from pages.shared.lessons.picture import picture_of
from pages.shared.lessons.recorded_numbers import at_moment, filled, number_of
from pages.shared.runs.choice import find_run
from panda_core.errors import PandaError
from panda_core.runs.loaded import LoadedRun

ROOT = Path(__file__).resolve().parents[2]
LESSONS = all_lessons()
each = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)


def test_there_are_five_lessons_in_order() -> None:
    """A lesson that is lost because its file cannot be read, or taught before its time."""
    assert [lesson.title for lesson in LESSONS] == [
        "What is a one-class problem?",
        "Why it gets better",
        "Why it collapses",
        "Three ways to stop it",
        "What adapting learns, and what whitening gives for free",
    ]


@each
def test_every_step_asks_answers_and_leads_to_something_that_exists(lesson: Lesson) -> None:
    """A question without an answer, a picture of a run that is not shipped, a link to a page that has gone."""
    assert lesson.about
    for step in lesson.steps:
        assert step.text and step.question and step.reveal
        answer = answer_of(step.question)
        number = step.question.choices == ()
        assert 0.5 <= float(answer or 0) <= 1 if number else answer in step.question.choices  # a slider has no less
        if step.shown is not None:
            run_id, at, panels = step.shown
            folder = find_run(run_id)
            assert folder is not None and folder.arrays(at_moment(LoadedRun(folder), at).step)
            assert set(panels) <= set(PANELS)
        for text in (step.text, step.question.text, step.reveal):
            assert "{" not in filled(text) and "–" not in filled(text), "a number that is not there"
            assert not re.search(r"\d\.\d\d", text), "a number that a new recording makes untrue"
        unseen = step.shown is None or not step.first
        assert not (unseen and re.search("[Tt]urn o[nf]|scrubber", step.text)), (
            "what to do with a film that comes later"
        )
        for link in step.links:
            assert (ROOT / "pages" / f"{link.page}.py").is_file()
            assert link.query.get("preset", "break") in {preset.key for preset in PRESETS}
            assert "run" not in link.query or find_run(link.query["run"])
    assert any(step.links for step in lesson.steps), "nothing to do"


def test_what_the_lessons_say_of_numbers_is_true() -> None:
    """Prose that was written for other recordings: the collapse, the early stop, and the choice of each image."""
    answers = {step.title: answer_of(step.question) for lesson in LESSONS for step in lesson.steps if step.question}
    early, end, stopped, chosen = (
        float(str(answers[title]))
        for title in ("What counts is the ratio", "Go too far", "Stop early", "Let each image choose")
    )
    start = float(str(number_of("auroc", "break-cifar10-ship", "0")))
    assert early > start + 0.01  # "a few looks at normal images were enough"
    assert end < start - 0.05  # "well below the network that was never adapted"
    assert stopped > early - 0.01  # "nearly the best it ever had"
    assert chosen > end + 0.03


def test_what_is_said_of_whitening_is_true_of_both_recordings() -> None:
    """Prose that was written for other recordings: ships that whitening alone tells apart, 9s that it does not."""
    ship, nine = (
        {moment: float(str(number_of("auroc", run, moment))) for moment in ("0", "best", "end")}
        | {"whitened": float(str(number_of("whitened", run, "0")))}
        for run in ("break-cifar10-ship", "raw-digits-9")
    )
    assert ship["0"] + 0.02 < ship["best"]  # "it rises"
    assert 0 <= ship["whitened"] - ship["best"] < 0.01  # "to the line at most", "all but touches"
    assert ship["end"] < ship["0"] < ship["whitened"]  # "nor can whitening be overdone, while this curve"
    assert nine["end"] > nine["whitened"] + 0.015 > nine["0"]  # "above the line"
    assert filled("{whitened raw-digits-9}") == f"{nine['whitened']:.2f}"


def test_what_is_said_of_the_table_is_in_it() -> None:
    """A conclusion that outlived its measurement: who is above whitening, who below, and by how much."""
    text = (ROOT / "tests" / "benchmarks" / "results.json").read_text(encoding="utf-8")
    rows = [row for row in json.loads(text)["whitening"]["rows"] if "pairs" in row]
    mean, half = {}, {}
    for row in rows:
        middle, spread = row["best - whitened"].split(" ± ")
        mean[row["data"], row["space"]], half[row["data"], row["space"]] = float(middle), float(spread)
    assert len({data for data, _ in mean}) == 5 and len(mean) == 10
    assert {data for data, space in mean if mean[data, space] > half[data, space]} == {"wbc"}
    assert all(abs(mean[key]) <= half[key] for key in mean if key[0] in ("digits", "elpv", "magnetic_tiles"))
    said = next(step.reveal for step in LESSONS[-1].steps if step.title == "What the table says")
    assert f"by {mean['wbc', 'as they are']:.1f} points" in said and mean["wbc", "as they are"] > 0
    assert f"{-mean['cifar10', 'as they are']:.1f} points above the best" in said


@pytest.mark.parametrize(
    "text",
    [
        "no title\n\n## Step\n\ntext",
        "# Title\n\nno step",
        "# Title\n\n## Step\n\nChoose: a question | one | two",
        "# Title\n\n## Step\n\nPredict: a question | auroc",
        "# Title\n\n## Step\n\nShow: run | soon | auroc",
        "# Title\n\n## Step\n\nSee: run | -1 | auroc",
    ],
)
def test_a_lesson_that_cannot_be_understood_names_its_file(text: str, tmp_path: Path) -> None:
    """A slip of the pen that shows a question nobody can answer."""
    path = tmp_path / "1-mine.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PandaError, match=r"1-mine\.md"):
        read_lesson(path)


def test_the_answer_comes_after_the_guess(open_page: Any) -> None:
    """An answer that is seen before the prediction; an error that is not remembered."""
    at = open_page("lessons", lesson="collapse", step="1")
    reveal = "This is **collapse**"
    assert not any(reveal in element.value for element in at.markdown)
    at.slider[0].set_value(0.9)
    at.button(key="reveal-collapse-0").click().run()
    assert not at.exception
    assert any(reveal in element.value for element in at.markdown)
    _, guess, answer = at.session_state[GUESSES][("collapse", 0)]
    assert guess == 0.9 and answer == number_of("auroc", "break-cifar10-ship", "end")


@each
def test_a_lesson_is_whole_without_a_click(lesson: Lesson, open_page: Any) -> None:
    """Readers who do not click, and learn nothing."""
    at = open_page("lessons", lesson=lesson.key, step="all")
    words = " ".join(element.value for element in at.markdown)
    for step in lesson.steps:
        assert filled(step.reveal) in words
    assert [button.label for button in at.button] == ["All lessons"] and not at.slider


@pytest.mark.parametrize(
    ("lesson", "step"), [("nothing", "1"), ("collapse", "99"), ("collapse", "-1"), ("better", "٣")]
)
def test_an_address_that_means_nothing_falls_back(lesson: str, step: str, open_page: Any) -> None:
    """A stale link that ends in an error."""
    assert len(open_page("lessons", lesson=lesson, step=step).title) == 1


def test_a_lesson_is_gone_through_by_its_buttons(open_page: Any) -> None:
    """A link to the page that is shown: it leaves the address alone, and the next click lands on another step."""
    at = open_page("lessons")
    at.button(key="go-Begin-better-1").click().run()
    lesson = next(lesson for lesson in LESSONS if lesson.key == "better")
    for number, step in enumerate(lesson.steps, 1):
        assert (at.query_params["lesson"], at.query_params["step"]) == ("better", str(number))
        assert step.title in [header.value for header in at.header]
        if at.radio:
            at.radio[0].set_value(at.radio[0].options[0]).run()
        at.button(key=f"reveal-better-{number - 1}").click().run()
        assert step.title in [header.value for header in at.header]
        assert any(filled(step.reveal) in element.value for element in at.markdown)
        if number < len(lesson.steps):
            at.button(key=f"go-Next step-better-{number + 1}").click().run()
    at.button(key="go-All lessons--").click().run()
    assert at.title[0].value == "Lessons" and "step" not in at.query_params


def test_a_lesson_is_pictured_by_its_own_recording(open_page: Any) -> None:
    """A card without a picture, or with one of another moment: after a collapse the points lie at the center."""
    spread = {}
    for lesson in LESSONS:
        if (found := picture_of(lesson)) is None:  # its film is of another kind than an adaptation's
            continue
        drawn, about = found
        run_id, moment, _ = next(step.shown for step in lesson.steps if step.shown)
        folder = find_run(run_id)
        assert folder is not None and f"step {at_moment(LoadedRun(folder), moment).step} " in about
        marks = re.findall(r"translate\(([\d.-]+) ([\d.-]+)\).*?--x:([\d.-]+)px;--y:([\d.-]+)px", drawn)
        assert len(marks) > 50
        places = np.array(marks, float)
        spread[lesson.key] = (places[:, :2] + places[:, 2:]).std(axis=0).mean() / places[:, :2].std(axis=0).mean()
    assert spread["one-class"] == 1 and spread["collapse"] < 0.5 < spread["better"]
    at = open_page("lessons")
    assert len(at.get("image")) == len(spread) >= 4


def test_a_lesson_without_its_recording_has_no_picture() -> None:
    """A list of lessons that ends in a traceback."""
    (step, *_) = [step for step in LESSONS[1].steps if step.shown]
    gone = dataclasses.replace(step, shown=("gone", "end", ()))
    assert picture_of(dataclasses.replace(LESSONS[1], steps=(gone,))) is None
