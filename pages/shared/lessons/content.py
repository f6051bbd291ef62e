"""Lessons as files: Markdown with a few marked lines, and how they are read.

A lesson is `# title`, a line about it, and steps `## title`. In a step, lines that begin with these words are marked:

    Predict: question | metric | run | moment            a number to guess, taken from a recorded run
    Choose: question | answer | right answer* | answer   a choice; the star marks what is right
    Reveal: what is said after the guess
    Show: run | moment | panels                          the film with these panels, after the guess
    See: run | moment | panels                           the same, before the guess
    Do: label | page | query                             a link to a page
    Toy: pull                                            the toy, before the guess

Marked lines may go on until a blank line. Everything else is text. What metrics and moments there are, and what
stands for a number in texts, says `recorded_numbers`.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from urllib.parse import parse_qsl

from pages.shared.frame.router import ASSETS
from pages.shared.lessons.recorded_numbers import is_moment
from panda_core.errors import PandaError

FOLDER = ASSETS / "lessons"
_MARKED = re.compile(r"^(Predict|Choose|Reveal|Show|See|Do|Toy): ?(.*)", re.S)


@dataclasses.dataclass(frozen=True)
class Question:
    """A prediction to make.

    text: the question.
    choices: among which to choose, empty where a number is asked for.
    correct: the right one of them.
    number: (metric, run, moment) of a recorded run, where a number is asked for.
    """

    text: str
    choices: tuple[str, ...] = ()
    correct: str = ""
    number: tuple[str, str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Link:
    """A way to a page: its label, the page's name, and the query."""

    label: str
    page: str
    query: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a lesson.

    reveal: what is said after the guess.
    shown: run, moment and panels of the film, or None.
    first: whether they are shown before the guess.
    toy: whether the toy stands before the guess.
    """

    title: str
    text: str
    question: Question | None = None
    reveal: str = ""
    shown: tuple[str, str, tuple[str, ...]] | None = None
    first: bool = False
    toy: bool = False
    links: tuple[Link, ...] = ()


@dataclasses.dataclass(frozen=True)
class Lesson:
    """A lesson of `assets/lessons`.

    key: its name in an address.
    """

    key: str
    title: str
    about: str
    steps: tuple[Step, ...]


def all_lessons(folder: Path = FOLDER) -> list[Lesson]:
    """Return all lessons in the order of their file names."""
    return [read_lesson(path) for path in sorted(folder.glob("*.md"))]


def read_lesson(path: Path) -> Lesson:
    """Return the lesson of a file; one that cannot be understood raises `PandaError` with the file and the step."""
    head, *sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.M)
    title, _, about = head.strip().partition("\n")
    steps = tuple(_step(section, path) for section in sections)
    if not title.startswith("# ") or not steps:
        raise PandaError(f"`{path.name}` is no lesson: it needs `# title` and at least one `## step`.")
    return Lesson(path.stem.split("-", 1)[-1], title[2:].strip(), about.strip(), steps)


def _step(section: str, path: Path) -> Step:
    title, _, body = section.partition("\n")
    step = Step(title.strip(), "")
    text: list[str] = []
    for block in re.split(r"\n\s*\n|\n(?=Do: )", body.strip()):
        marked = _MARKED.match(block.strip())
        if marked is None:
            text.append(block.strip())
            continue
        word, rest = marked[1], " ".join(marked[2].split())
        fields = [field.strip() for field in rest.split("|")]
        try:
            step = _with(step, word, rest, fields)
        except (ValueError, IndexError):
            where = f"`{path.name}`, step `{step.title}`"
            raise PandaError(f"{where}: the line `{word}: {rest}` is not understood.") from None
    return dataclasses.replace(step, text="\n\n".join(text))


def _with(step: Step, word: str, rest: str, fields: list[str]) -> Step:
    """Return the step with one marked line added."""
    if word == "Predict":
        question, metric, run, at = fields
        return dataclasses.replace(step, question=Question(question, number=(metric, run, at)))
    if word == "Choose":
        choices = tuple(field.removesuffix("*") for field in fields[1:])
        (correct,) = (field.removesuffix("*") for field in fields[1:] if field.endswith("*"))
        return dataclasses.replace(step, question=Question(fields[0], choices, correct))
    if word == "Reveal":
        return dataclasses.replace(step, reveal=rest)
    if word in ("Show", "See"):
        run, moment, panels = fields
        if not is_moment(moment):
            raise ValueError(moment)
        return dataclasses.replace(step, shown=(run, moment, tuple(panels.split(","))), first=word == "See")
    if word == "Toy":
        return dataclasses.replace(step, toy=["pull"].index(rest) == 0)
    label, page, query = fields
    return dataclasses.replace(step, links=(*step.links, Link(label, page, dict(parse_qsl(query)))))
