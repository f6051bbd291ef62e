"""Pictures that are chosen by a click: only what is shown can be chosen, whatever a browser sends."""

from __future__ import annotations

from typing import Any

import pytest

from pages.shared.gallery import tiles
from pages.shared.gallery.tiles import Tile, show_tiles, truth_of, verdict_of


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
