"""Pictures that are chosen by a click: only what is shown can be chosen, whatever a browser sends."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pages.shared.gallery import tiles
from pages.shared.gallery.tiles import Tile, show_tiles, truth_of, verdict_of
from pages.shared.own.look import order_of, say
from panda_core.datasets.own.layout import BY_FOLDER
from panda_core.runs.corrections import is_normal
from panda_core.runs.uploads import find_upload, keep_upload


@pytest.mark.parametrize("sent", [7, -1, None, "1", 1.5, [1], True, {"number": 1}])
def test_a_made_up_click_chooses_nothing(sent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number from a browser that reaches an image which is not shown, or a list with something that is no number."""
    mounted: dict[str, Any] = {}
    monkeypatch.setattr(tiles, "_GALLERY", lambda **given: mounted.update(given))
    state: dict[str, Any] = {}
    monkeypatch.setattr("streamlit.session_state", state)
    chosen: list[int] = []
    shown = [Tile(3, "", "a", truth_of(False), verdict_of(True)), Tile(4, "", "<b>")]
    show_tiles(shown, key="gallery", label="Two pictures", on_click=chosen.append, chosen=3)
    state["gallery"] = {"clicked": sent}
    mounted["on_clicked_change"]()
    assert chosen == []
    state["gallery"] = {"clicked": 4}
    mounted["on_clicked_change"]()
    assert chosen == [4]
    assert [(tile["truth"], tile["verdict"]) for tile in mounted["data"]["tiles"]] == [("normal", "rejected"), ("", "")]


def test_clicks_in_a_row_meet_what_is_under_the_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo that was called bad because the one before, called bad, had moved to the front meanwhile."""
    monkeypatch.setattr("streamlit.session_state", {})
    sources = []
    for row in range(9):
        held = io.BytesIO()
        Image.fromarray(np.random.default_rng(row).integers(0, 255, (16, 16), dtype=np.uint8)).save(held, "PNG")
        sources.append((BY_FOLDER, f"{row}.png", io.BytesIO(held.getvalue())))
    upload = keep_upload(sources)
    for number in (7, 8, 2, 8):  # as a browser sends them that has heard of none
        say(upload, number)
    found = find_upload(upload.token)
    assert found is not None
    names = found.names()
    assert [names[place] for place in order_of(found)] == [f"{row}.png" for row in range(9)]
    assert [names[place] for place in order_of(found) if not is_normal(place)] == ["2.png", "7.png"]
    monkeypatch.setattr("streamlit.session_state", {})  # whoever comes back sees the bad ones first
    assert sorted(names[place] for place in order_of(found)[:2]) == ["2.png", "7.png"]
