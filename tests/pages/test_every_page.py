"""What holds for all pages: they open, with and without runs, and show nothing that is not meant for people."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pages.shared.frame.glossary import TERMS
from pages.shared.frame.router import DOORS, VIEWS
from pages.shared.frame.words import LOSERS, WORDS

PAGES = (
    "home",
    "lessons",
    "glossary",
    "links",
    "instrument",
    "elastic",
    "adapt",
    "duel",
    "segment",
    "own_images",
    "new_classes",
    "examine",
    "settings",
    "runs",
    "paper_tables",
    "data",
)
ROOT = Path(__file__).resolve().parents[2]
# Where there is at least one of a kind: a name that matches nothing would find nothing wrong anywhere.
PICTURES = {
    "plotly_chart": ("elastic", "segment", "examine", "runs"),
    "image": ("segment", "examine", "data"),
    "dataframe": ("duel", "segment", "runs", "settings", "data"),
}
SECOND_WORDS = re.compile(r"\b(" + "|".join(LOSERS) + r")s?\b", re.I)
# Every page in every view that has controls of its own: page, query, and a kind of control that must be among them.
CONTROLS = (
    ("home", {}, None),
    ("lessons", {}, "button"),
    ("lessons", {"lesson": "one-class", "step": "1"}, "radio"),
    ("lessons", {"lesson": "better", "step": "2"}, "slider"),
    ("glossary", {}, "text_input"),
    ("links", {}, "toggle"),
    ("instrument", {}, "selectbox"),
    ("elastic", {}, "select_slider"),
    ("adapt", {}, "number_input"),
    ("adapt", {"rivals": "panda-ses"}, "multiselect"),
    ("settings", {"run": "scores"}, "download_button"),
    ("adapt", {"dataset": "folder"}, "text_input"),
    ("instrument", {"run": "scores"}, None),
    ("duel", {}, None),
    ("segment", {"run": "maps"}, "button_group"),
    ("segment", {"segment": "start a run"}, "toggle"),
    ("own_images", {}, "file_uploader"),
    ("own_images", {"run": "scores"}, "slider"),
    ("own_images", {"run": "maps"}, "slider"),
    ("new_classes", {}, "button_group"),
    ("new_classes", {"new_classes": "train one"}, "number_input"),
    ("examine", {"run": "scores"}, "slider"),
    ("runs", {"run": "scores"}, "multiselect"),
    ("paper_tables", {}, "button"),
    ("data", {}, "number_input"),
)


@pytest.mark.parametrize("page", PAGES)
def test_opens_without_runs(page: str, open_page: Any) -> None:
    """Guards against a first visit that ends in an error or a blank page."""
    at = open_page(page)
    assert len(at.title) == 1
    assert len(at.main.children) > 1


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("anomalies", [True, False])
def test_opens_with_runs_of_every_state(page: str, anomalies: bool, open_page: Any, make_run: Any) -> None:
    """Guards against a state, or a run without anomalies, that a page forgets."""
    for state in ("finished", "stopped", "failed", "interrupted"):
        folder = make_run(state, anomalies=anomalies)
        open_page(page, run=folder.run_id)


@pytest.mark.parametrize("page", PAGES)
def test_shows_no_raw_values_and_one_word_for_one_thing(page: str, open_page: Any, make_run: Any) -> None:
    """Guards against `None`, `nan`, ten-digit numbers and unfilled placeholders in what people read; and against a
    second word for what has one, which somebody then looks for in vain."""
    folder = make_run(anomalies=False)
    make_run()
    at = open_page(page, run=folder.run_id)
    for text in shown(at):
        assert not re.search(r"\bNone\b|\bnan\b|\{[a-z_]+\}|\d\.\d{6,}", text), text
        assert not SECOND_WORDS.search(re.sub(r"https?:\S+", "", text)), text


@pytest.mark.parametrize("page", PAGES)
def test_every_image_and_chart_has_a_description(page: str, open_page: Any, make_run: Any, make_maps: Any) -> None:
    """Guards those who cannot see a chart or an image."""
    folder = make_maps() if page == "segment" else make_run()
    at = open_page(page, run=folder.run_id)
    assert [kind for kind, pages in PICTURES.items() if page in pages and not at.get(kind)] == []
    for chart in at.get("plotly_chart"):
        assert len(chart.proto.alt) > 20
        drawn = json.loads(chart.proto.spec)
        assert drawn["layout"].get("showlegend") is False
        named = {trace["name"] for trace in drawn["data"] if trace.get("name")}
        written = [note["text"] for note in drawn["layout"].get("annotations", [])]
        written += [text for trace in drawn["data"] if isinstance(trace.get("text"), list) for text in trace["text"]]
        written = [re.sub("<[^>]*>", " ", text) for text in written]
        # What a chart is about stands above it; whatever else it draws is named in it.
        assert len([name for name in named if not any(name in text for text in written)]) <= 1, named
    for element in at.get("image"):
        assert all(image.alt for image in element.proto.imgs)
    for frame in at.get("dataframe"):
        assert frame.proto.alt


@pytest.mark.parametrize(("page", "query", "kind"), CONTROLS, ids=lambda value: str(value) if value else "-")
def test_every_control_explains_itself(
    page: str, query: dict[str, str], kind: str | None, open_page: Any, make_run: Any, make_maps: Any
) -> None:
    """Guards against a control, or a number in a frame, without a word on what it is."""
    runs = {"scores": make_run(), "maps": make_maps()}
    for folder in runs.values():
        for name in ("checkpoints", "banks"):
            (folder.path / name).mkdir(exist_ok=True)  # as if it could score: some controls are for such runs alone
    at = open_page(page, **query | ({"run": runs[query["run"]].run_id} if "run" in query else {}))
    controls = [element for element in at.main if is_control(element)]
    assert kind is None or kind in {element.type for element in controls}
    assert [f"{element.type} {element.proto.label}" for element in controls if not element.proto.help] == []


def test_every_page_has_a_view_to_check() -> None:
    """Guards against a new page whose controls nobody looks at."""
    assert {page for page, _, _ in CONTROLS} == set(PAGES)


def is_control(element: Any) -> bool:
    """Return whether people can set or press an element, or read a number in it."""
    fields = element.proto.DESCRIPTOR.fields_by_name if hasattr(element.proto, "DESCRIPTOR") else {}
    return "help" in fields and "label" in fields and ("id" in fields or element.type == "metric")


@pytest.mark.parametrize("page", ["adapt", "examine", "segment", "new_classes"])
@pytest.mark.parametrize("run_id", ["20200101-000000-none-00000000", "../../etc/passwd", "%00", "a" * 500])
def test_unknown_run_is_a_friendly_sentence(page: str, run_id: str, open_page: Any) -> None:
    """Guards against a stale or a made-up link that ends in an error."""
    at = open_page(page, run=run_id)
    assert any("no run" in warning.value for warning in at.warning)


@pytest.mark.parametrize("page", PAGES)
def test_junk_in_the_address_is_passed_over(page: str, open_page: Any, make_run: Any) -> None:
    """Guards against values that no widget can have."""
    folder = make_run()
    open_page(
        page,
        run=folder.run_id,
        steps="banana",
        lr="1e309",
        seed="-3",
        recipe="nope",
        dataset="../x",
        normal_class="<script>",
        step="77",
        image="9999",
        order="nothing",
        false_alarms="NaN",
        compare="unknown",
        segment="elsewhere",
        map_alarms="NaN",
        map_value="-1e309",
        map_way="x-ray",
        map_step="7",
        check="../..",
        set_k="many",
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_segmentation_run_is_at_home_on_every_page(page: str, open_page: Any, make_maps: Any) -> None:
    """Guards the pages that know adaptations alone: a run without curves must not break them."""
    for state in ("finished", "stopped", "interrupted"):
        folder = make_maps(state)
        open_page(page, run=folder.run_id)


def test_every_page_lies_behind_one_of_five_doors(open_page: Any) -> None:
    """Guards the navigation: a page that no row of links leads to, or a sixth entry for want of a place."""
    assert list(DOORS) == ["Watch", "Learn", "Inspect", "Lab", "Runs"]
    behind = [name for _, rows in DOORS.values() for name, *_ in rows] + [name for name, *_ in VIEWS]
    assert sorted(behind) == sorted(PAGES)
    for door, (_, rows) in DOORS.items():
        for name, title, *_ in rows if len(rows) > 1 else ():
            links = {link.proto.label for link in open_page(name).get("page_link")}
            assert {title for _, title, *_ in rows} <= links, (door, name)


def test_no_habit_of_the_past() -> None:
    """Guards against calls that the installed version has deprecated, and against hand-made HTML."""
    for path in [ROOT / "main.py", *(ROOT / "pages").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in ("use_container_width", "use_column_width", "unsafe_allow_html", "components.v1", "time.sleep"):
            assert word not in text, f"{word} in {path.name}"


def test_every_tooltip_that_is_named_exists() -> None:
    """A KeyError in place of the film of every run with elastic weights, because its tooltip had moved elsewhere."""
    named = re.compile(r"\btip\(\s*\"(\w+)\"\s*\)")
    files = (ROOT / "pages").rglob("*.py")
    assert [key for path in files for key in named.findall(path.read_text(encoding="utf-8")) if key not in TERMS] == []


def test_pages_folder_holds_pages_alone() -> None:
    """Guards against a module that the server would offer as a page."""
    assert sorted(path.stem for path in (ROOT / "pages").glob("*.py")) == sorted(PAGES)


def test_other_texts_use_the_same_words() -> None:
    """A lesson, a tooltip or a label of the film that calls a thing by another name than the pages do."""
    files = [*(ROOT / "assets" / "lessons").glob("*.md"), *(ROOT / "pages").rglob("*.html")]
    texts = {path.name: re.sub(r"<[^>]*>", "", path.read_text(encoding="utf-8")) for path in files}
    for name, text in (texts | TERMS | WORDS).items():
        assert not SECOND_WORDS.search(re.sub(r"(Do|See|Show|Predict): .*", "", text)), name


def shown(at: Any) -> list[str]:
    """Return every text that a page shows: prose, labels, values, options, tooltips, names of columns."""
    found: list[str] = [str(column) for frame in at.dataframe for column in frame.value.columns]
    for element in at.main:
        if element.type == "code":
            continue
        for name in ("value", "label", "help", "delta", "placeholder"):
            try:
                value = getattr(element, name)
            except (AttributeError, KeyError, NotImplementedError, ValueError):
                continue
            if isinstance(value, str):
                found.append(value)
        found += [option for option in getattr(element, "options", None) or [] if isinstance(option, str)]
    return found
