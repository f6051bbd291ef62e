"""The glossary, and links for a class: what they promise is what the pages do."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pages.shared.frame.teaching import PANELS
from pages.shared.frame.wording import run_title
from pages.shared.lessons.glossary_page import matching
from pages.shared.lessons.links_page import LOCKS, NAMES, targets


def test_a_word_is_found_by_its_name_first() -> None:
    """A glossary that answers a word with everything in which it stands, and the word itself last."""
    assert matching("center")[0] == "Center" and "Spread" in matching("center")
    assert matching(" AUROC ")[0] == "AUROC" and matching("zzz") == []


@pytest.mark.parametrize("kind", ["lessons", "instrument", "adapt", "duel", "elastic"])
def test_a_prepared_link_opens_what_it_says(kind: str, open_page: Any) -> None:
    """A teacher's link that leads elsewhere, or shows what was to be left out."""
    known = targets()
    key = next(key for key, (_, (page, _)) in known.items() if page == kind)
    at = open_page("links", opens=key, leave_out="spectrum,presets", locked="all")
    at.toggle(key="enlarged").set_value(True).run()
    address = urlsplit(at.code[0].value)
    query = dict(parse_qsl(address.query))
    assert address.path.endswith(f"/{kind}")
    assert (query["hide"], query["lock"], query["large"]) == ("spectrum,presets", "all", "yes")
    assert known[key][1][1].items() <= query.items()
    at = open_page(kind, **query)
    if kind == "adapt":
        assert at.number_input(key="lr").disabled and not [b for b in at.button if b.key.startswith("preset-")]


def test_the_way_from_a_step_or_a_run_leads_to_its_link(open_page: Any, make_run: Any) -> None:
    """A teacher at step 2 of a lesson, or at a run, who is then asked to find it in a list; a run that is not in it."""
    folder = make_run()
    places = {
        "lessons?lesson=collapse&step=2": open_page("lessons", lesson="collapse", step="2"),
        f"instrument?run={folder.run_id}": open_page("instrument", run=folder.run_id),
    }
    for address, at in places.items():
        (link,) = [
            link.proto for link in at.get("page_link") if link.proto.page.endswith("links") and link.proto.query_string
        ]
        builder = open_page("links", **dict(parse_qsl(link.query_string)))
        assert builder.code[0].value.endswith(address)
        builder.selectbox(key="opens").set_value("race").run()
        assert not builder.exception and builder.code[0].value.endswith("/duel")
    assert f"Film: {run_title(folder.config())}" in builder.selectbox(key="opens").options


def test_a_link_for_a_projector_can_be_tried(open_page: Any) -> None:
    """The page broke as soon as the bright page was chosen: no page link takes what leaves out the frame."""
    at = open_page("links")
    at.toggle(key="projector").set_value(True).run()
    assert not at.exception
    tried = at.get("link_button")[0].proto
    assert tried.url == at.code[0].value and "embed=true" in tried.url


def test_every_panel_and_lock_has_a_name() -> None:
    """A choice that shows the key of a panel, or a panel that cannot be left out."""
    assert set(NAMES) == set(PANELS) and "" in LOCKS
