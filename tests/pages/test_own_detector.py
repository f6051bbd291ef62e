"""What can be done with a detector of one's own: verdicts and the detector as files, and painting on a part."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core.records import append_line
from tests.pages.conftest import component_data
from tests.pages.test_own_images import checked

USE = "Use it elsewhere"


def test_a_part_is_painted_on(open_page: Any, make_maps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board without a part; a score of another image than the painted one; verdicts by another threshold."""
    from pages.shared.paint import page as painting
    from panda_core.runs.launch import Compared

    asked: list[np.ndarray] = []

    def compare(folder: Any, image: np.ndarray) -> Compared:
        asked.append(image)
        return Compared(9.0 if len(asked) > 1 else 1.0, np.full((4, 4), 2.0, np.float32))

    monkeypatch.setattr(painting, "compare", compare)
    monkeypatch.setattr(painting, "open_detector", lambda folder: None)
    folder = make_maps()
    (folder.path / "banks").mkdir()
    stroke = {"points": [[0.1, 0.5], [0.9, 0.5]], "colour": "#ff0000", "width": 0.2, "filled": False}
    at = open_page("own_images", run=folder.run_id, own_view="Paint a scratch")
    (board,) = component_data(at, "panda_board")
    assert board["score"] == board["before"] == 1.0 and not board["rejected"] and board["count"] == 0
    at.session_state[f"board-{board['part'].replace('/', '-')}"] = {"strokes": [stroke]}
    at.run()
    (board,) = component_data(at, "panda_board")
    assert (board["score"], board["before"], board["rejected"], board["count"]) == (9.0, 1.0, True, 1)
    assert board["heat"].startswith("data:image/png") and "rejected" in board["words"]
    assert (asked[1] != asked[0]).any() and tuple(asked[1][4, 4]) == (255, 0, 0)


def test_files_to_take_away() -> None:
    """A formula in a spreadsheet; a number or a name that is lost; text that no program can read."""
    from pages.shared.own.files import as_csv, as_json

    rows = [
        {"name": "=1+1.png", "verdict": "anomalous", "score": 2.5, "peak": 3.5, "percentile": 99.0},
        {"name": "@bad.png", "verdict": "unreadable: cut off", "score": None, "percentile": None},
    ]
    (first, second) = csv.DictReader(io.StringIO(as_csv(rows)))
    assert first["name"] == "'=1+1.png" and second["name"] == "'@bad.png" and second["score"] == ""
    assert (first["score"], first["highest_map_value"], first["percentile"]) == ("2.5", "3.5", "99.0")
    told = json.loads(as_json(rows))
    assert told[0]["name"] == "=1+1.png" and told[1]["highest_map_value"] is None


@pytest.mark.parametrize("kind", ["maps", "scores"])
def test_the_detector_can_be_taken_away(kind: str, open_page: Any, make_maps: Any, make_run: Any) -> None:
    """A finished detector without a way to get it, or told of in words that the command line does not take."""
    from panda_core.cli.arguments import parser

    folder = make_maps() if kind == "maps" else make_run()
    (folder.path / ("banks" if kind == "maps" else "checkpoints")).mkdir(exist_ok=True)
    at = open_page("own_images", run=folder.run_id, own_view=USE)
    assert not at.button(key="detector").disabled
    terminal, python, graph = (block.value for block in at.code)
    command = terminal.partition(" > ")[0].split()[3:]
    parsed = parser().parse_args(command)
    assert parsed.run == f"{folder.run_id}-detector.zip" and (parsed.maps is not None) == (kind == "maps")
    assert "load_bundle" in python and ("anomaly_maps" in python) == (kind == "maps")
    compile(python, "shown", "exec")
    _, script, file, _ = graph.split()
    assert (Path(__file__).parents[2] / script).is_file() and file == f"{folder.run_id}-detector.onnx"


def test_of_photos_in_tiles_no_graph_is_offered(open_page: Any, make_maps: Any) -> None:
    """A button that can only say that there is no such file."""
    folder = make_maps(image_size=64, tiles="4")
    (folder.path / "banks").mkdir()
    at = open_page("own_images", run=folder.run_id, own_view=USE)
    assert not at.exception and [button.key for button in at.button if "detector" in str(button.key)] == ["detector"]
    assert len(at.code) == 2 and any("a graph takes one picture" in block.value for block in at.markdown)


KINDS = {"bundle": ("detector", "detector"), "onnx": ("detector-onnx", "ONNX file")}  # kind -> key and name


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_is_written_and_then_downloaded(
    kind: str, open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click that shows nothing for half a minute; a file of each click that stays on the server's disk."""
    from panda_core.runs import launch

    (key, name), folder, written, goes_on = KINDS[kind], make_run(), list[Path](), threading.Event()
    (folder.path / "checkpoints").mkdir()

    def write(folder: Any, out: Path, asked: str) -> None:
        goes_on.wait(30)
        out.write_bytes(asked.encode())
        written.append(out)

    monkeypatch.setattr(launch, "export", write)
    at = open_page("own_images", run=folder.run_id, own_view=USE)
    at.button(key=key).click().run()
    assert at.button(key=key).disabled and at.button(key=key).label == f"Starting: writes the {name}"
    goes_on.set()
    writing = at.session_state[f"{kind}-of-{folder.run_id}"]
    writing.ended.result(30)
    at.run()
    assert [one.proto.label for one in at.get("download_button")] == [f"Download {name}"]
    assert writing.file.read_bytes() == kind.encode()
    writing.folder.cleanup()  # as the end of the session does
    assert not written[0].parent.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_why_there_is_no_detector_is_told(
    kind: str, open_page: Any, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that fails in silence: while something computes, or of a run that is no single graph."""
    from panda_core.errors import PandaError
    from panda_core.runs import launch

    def fail(folder: Any, out: Path, asked: str) -> None:
        raise PandaError("It cannot be one graph.")

    monkeypatch.setattr(launch, "export", fail)
    (key, name), folder = KINDS[kind], make_run()
    (folder.path / "checkpoints").mkdir()
    at = open_page("own_images", run=folder.run_id, own_view=USE)
    at.button(key=key).click().run()
    with contextlib.suppress(PandaError):
        at.session_state[f"{kind}-of-{folder.run_id}"].ended.result(30)
    at.run()
    assert any(f"There is no {name}. It cannot be one graph" in error.value for error in at.error)
    assert not at.button(key=key).disabled


def test_of_a_corrected_run_the_corrected_detector_is_offered(open_page: Any, make_run: Any) -> None:
    """A detector that is downloaded as it was before it was put right, under a name that does not say so."""
    folder = make_run()
    (folder.path / "checkpoints").mkdir()
    learned = "corrections/0001/again"
    shutil.copytree(folder.path, folder.path.parent / "again")
    (folder.path / learned).parent.mkdir(parents=True)
    (folder.path.parent / "again").rename(folder.path / learned)
    record = {"number": 1, "time": 1.0, "kind": "accepted", "images": ["a.png"], "run": learned}
    append_line(folder.path / "corrections.jsonl", record)
    at = open_page("settings", run=folder.run_id)
    assert not at.exception and at.button(key="detector").label == "Write corrected detector"
    shutil.rmtree(folder.path / learned)
    at = open_page("settings", run=folder.run_id)
    assert any("lacks the run learned with its last correction" in str(error.value) for error in at.error)
    assert "detector" not in [button.key for button in at.button]


@pytest.mark.parametrize("high", [3, 5])
def test_that_most_new_photos_are_rejected_is_told(high: int, open_page: Any, make_run: Any) -> None:
    """Photos taken in another light, all called bad, beside a promise of 5 % false alarms."""
    folder = make_run()
    (folder.path / "checkpoints").mkdir()
    names = [f"{place}.png" for place in range(6)]
    _, out = checked(folder, names, [99.0 if place < high else 0.01 for place in range(6)], "scores")
    at = open_page("own_images", run=folder.run_id, check=out.name)
    assert any("Most are rejected" in box.value for box in at.info) == (high > 3)
