"""The Examine page: scores, threshold and images of one run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pages.shared.examine.scores import FINAL, scores_of, unit_of_scores
from pages.shared.runs.choice import find_run
from panda_core.records import write_arrays
from panda_core.runs.loaded import LoadedRun
from tests.pages.conftest import tiles


def test_counts_at_the_threshold_are_those_of_the_arrays(open_page: Any, make_run: Any) -> None:
    """Guards the two counts that people decide by."""
    from panda_core.runs.calibration import Calibration

    folder = make_run()
    at = open_page("examine", run=folder.run_id)
    final = folder.final()
    labels = np.array(folder.read("split.json")["is_anomaly"])
    above = Calibration(final.held_out_scores).rejects(final.scores)
    (told,) = [text.value for text in at.markdown if text.value.startswith("AUROC **")]
    assert f"**{above[labels == 0].sum()} of {(labels == 0).sum()}** normal rejected" in told
    assert f"**{above[labels == 1].sum()} of {(labels == 1).sum()}** anomalies found" in told


def test_scrubbing_to_a_step_shows_its_scores(open_page: Any, make_run: Any) -> None:
    """Guards against a slider that moves alone."""
    folder = make_run()
    at = open_page("examine", run=folder.run_id, step="10")
    assert at.select_slider(key="step").value == "10"
    arrays = folder.arrays(10)
    score = f"{arrays.scores.max() / arrays.held_out_scores.mean():.3g}"
    assert score in [tile["note"] for tile in tiles(at)]


def test_orders_of_the_gallery(open_page: Any, make_run: Any) -> None:
    """Guards each order: the worst mistakes come first."""
    from pages.shared.examine.scores import scores_of

    scored = scores_of(LoadedRun(make_run()), "final")
    scores, labels = scored.scores, scored.is_anomaly
    assert scored.order("most anomalous")[0] == scores.argmax()
    assert scored.order("least anomalous")[0] == scores.argmin()
    alarms, missed = scored.order("false alarms"), scored.order("missed")
    assert set(alarms) == set(np.nonzero(labels == 0)[0]) and (np.diff(scores[alarms]) <= 0).all()
    assert set(missed) == set(np.nonzero(labels == 1)[0]) and (np.diff(scores[missed]) >= 0).all()


def test_a_chosen_image_shows_its_neighbours(open_page: Any, make_run: Any) -> None:
    """Guards the argument behind a score: nearest normal images, with distances."""
    folder = make_run()
    at = open_page("examine", run=folder.run_id, image="0")
    name = folder.read("split.json")["test"][0]
    assert any(name in markdown.value for markdown in at.markdown)
    unit = folder.final().held_out_scores.mean(dtype=float)
    distances = [f"{value / unit:.3g}" for value in folder.adapt_arrays(20).neighbour_distances[0]]
    captions = [caption.value for caption in at.caption]
    assert all(distance in captions for distance in distances)


def test_neighbours_of_a_chosen_checkpoint_come_in_the_unit_of_the_score(open_page: Any, make_run: Any) -> None:
    """Guards against distances of millionths beside a score of 17, of which they are the reason."""
    folder = make_run(recipe="panda-ses")
    arrays = folder.adapt_arrays(20).by_name()
    arrays["normaliser"] = np.array(2e-6)
    arrays["neighbour_distances"] = 1e-6 * np.arange(1.0, 6.0) * np.ones_like(arrays["neighbour_distances"])
    write_arrays(folder.arrays_file(20), arrays)
    final = folder.final()
    kept = {"scores": final.scores, "held_out_scores": np.ones(2, np.float32), "step": final.step}
    write_arrays(folder.arrays_file("final"), kept)
    captions = [caption.value for caption in open_page("examine", run=folder.run_id, image="0").caption]
    assert {"0.5", "1", "1.5", "2", "2.5"} <= set(captions)


def test_a_collapsed_run_has_scores_that_people_can_read(open_page: Any, make_run: Any) -> None:
    """Scores like 1.46 x 10^-12 beside "above 100 % of normals", and a curve of zeros where nothing is known."""
    from pages.shared.examine.scores import scores_of
    from pages.shared.examine.stopping_view import relative_scores

    folder = make_run()
    for place, shrunk in ((10, 1e-12), (20, 0.0), ("final", 1e-12)):
        arrays = (folder.final() if place == "final" else folder.adapt_arrays(place)).by_name()
        for name in {"scores", "held_out_scores", "normaliser"} & set(arrays):
            arrays[name] = arrays[name] * np.asarray(shrunk, arrays[name].dtype)
        if "neighbour_distances" in arrays:
            arrays["neighbour_distances"] = 1e-12 * arrays["neighbour_distances"]
        write_arrays(folder.arrays_file(place), arrays)
    for step in (0, 10, "final"):
        scored = scores_of(LoadedRun(folder), step)
        assert scored.calibration.scores.mean() == pytest.approx(1, rel=1e-5)
        assert 0.1 < np.median(scored.scores) < 10
    assert np.isnan(relative_scores(folder.run_id, 3)[1][1:]).all()
    at = open_page("examine", run=folder.run_id)
    told = [text.value for text in (*at.markdown, *at.caption)] + [tile["note"] for tile in tiles(at)]
    assert not [text for text in told if "× 10" in text]
    (curve,) = [
        json.loads(chart.proto.spec) for chart in at.get("plotly_chart") if "divided by what" in chart.proto.alt
    ]
    assert curve["data"][0]["y"][1:] == [None, None]


def test_numbers_without_the_data(open_page: Any, make_run: Any, tmp_path: Path) -> None:
    """Guards runs whose images were moved: their numbers are still there, and a sentence says what is missing."""
    folder = make_run()
    config = json.loads((folder.path / "config.json").read_text())
    config["dataset"] = f"folder:{tmp_path / 'gone'}"
    (folder.path / "config.json").write_text(json.dumps(config))
    at = open_page("examine", run=folder.run_id)
    assert any("cannot be shown" in info.value for info in at.info)
    assert not at.get("image")
    assert [text for text in at.markdown if "normal rejected" in text.value and "anomalies found" in text.value]


def test_a_run_that_has_no_scores_yet(open_page: Any, make_run: Any) -> None:
    """Guards a run opened before its first evaluation."""
    folder = make_run("running")
    shutil.rmtree(folder.path / "arrays")
    (folder.path / "split.json").unlink()
    (folder.path / "events.jsonl").unlink()
    at = open_page("examine", run=folder.run_id)
    assert any("no scores yet" in info.value for info in at.info)


def test_damaged_arrays_are_a_sentence(open_page: Any, make_run: Any) -> None:
    """Guards against a traceback where a file was cut short."""
    folder = make_run()
    (folder.path / "arrays" / "final.npz").write_bytes(b"PK\x03\x04 not an archive")
    at = open_page("examine", run=folder.run_id)
    assert any("cannot be read" in error.value for error in at.error)


def test_answers_of_heads_and_the_oracle_are_shown(open_page: Any, make_run: Any) -> None:
    """Guards PANDA's Table 3: normal and anomalous images in the wrong columns, or an oracle without its name."""
    folder = make_run()
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    heads = {"normal_rotation_accuracy": 0.941, "anomalous_rotation_accuracy": None, "oracle_grid_auroc": 0.6472}
    last["metrics"] |= heads
    (folder.path / "events.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    at = open_page("examine", run=folder.run_id)
    (frame,) = [item.value for item in at.dataframe if "Head" in item.value]
    assert frame.to_numpy().tolist() == [["rotation", "94.1 %", "–"]]
    assert any("chosen with the labels" in caption.value and "0.647" in caption.value for caption in at.caption)


@pytest.mark.parametrize(("name", "middle"), [("segment-elpv-mono", 0.0), ("ses-digits-9", 1.0)])
def test_scores_are_in_the_unit_that_is_told(name: str, middle: float) -> None:
    """ "1 is what a typical held-out normal image scores", of scores below 0 and standard deviations for a unit."""
    folder = find_run(name)
    assert folder is not None
    run = LoadedRun(folder)
    held_out = scores_of(run, FINAL).calibration.scores if not run.has_maps else run.calibration.scores
    assert held_out.mean() == pytest.approx(middle, abs=0.6)
    assert ("these lie about 0" in unit_of_scores(run)) == (middle == 0.0)
    assert ("1 is what a typical" in unit_of_scores(run)) == (middle == 1.0)
