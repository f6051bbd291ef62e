"""Segmentation runs: what they leave behind, and that their result can be had again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from panda_core import BrokenRun, RunConfig, load_run
from panda_core.cli import main
from panda_core.events import RunFinished, RunStarted, RunStopped, SegmentationEvaluated
from panda_core.metrics import auroc
from panda_core.pixel_metrics import pixel_metrics
from panda_core.runs.calibration import calibrated
from panda_core.runs.segment.metrics import resized_mask
from panda_core.segmentation.maps import full_map

Make, Finish = Callable[..., RunConfig], Callable[..., Any]


@pytest.mark.parametrize("recipe", ["patchcore", "spade"])
def test_a_run_leaves_all_it_found(spot: Make, finish: Finish, recipe: str) -> None:
    """A file that is missing, a row of another image, or a number that its own maps and masks do not give."""
    folder, events = finish(spot(recipe=recipe))
    (started,), (said,) = (
        [event for event in events if isinstance(event, kind)] for kind in (RunStarted, SegmentationEvaluated)
    )
    assert events[0] is started and isinstance(events[-1], RunFinished) and events[-2] is said
    assert started.config == folder.config().to_json() and folder.state().state == "finished"
    loaded = load_run(folder.path)
    split, maps, arrays, metrics = loaded.split, loaded.maps(0), loaded.patch_arrays(0), loaded.metrics
    assert metrics is not None and loaded.segmented == [said]
    assert (len(split.train), len(split.test), len(split.has_mask)) == (20, 20, 20)
    assert split.fitted == list(range(20)) and len(split.held_out) == 10 and all(split.has_mask)
    assert maps.grids.shape == (20, 7, 7) and maps.held_out_grids.shape == (10, 7, 7)
    for group, side in enumerate((7, 3)):
        assert maps.distances[group].shape == (20, side, side, 3)
        assert maps.origins[group].shape == (20, side, side, 3, 4)
        assert set(np.unique(maps.origins[group][..., 0])) <= set(range(20))
    full = [full_map(grid, 32, 4.0) for grid in maps.grids]
    np.testing.assert_allclose(arrays.peaks, [values.max() for values in full], rtol=1e-6)
    masks = loaded.masks()
    assert masks is not None
    pairs = [(values, resized_mask(masks.load(row), (32, 32))) for row, values in enumerate(full)]  # type: ignore[arg-type]
    expected = pixel_metrics(lambda: iter(pairs))
    assert (said.pixel_auroc, said.aupro) == (expected.auroc, expected.aupro)
    assert said.image_auroc == metrics["auroc"] == auroc(arrays.scores, np.array(split.is_anomaly))
    assert said.image_auroc_low <= said.image_auroc <= said.image_auroc_high  # type: ignore[operator]
    assert metrics["image_auroc"] == metrics["unadapted_auroc"] == said.image_auroc and metrics["recall"] == 1
    verdicts = calibrated(arrays.held_out_scores, grids=maps.held_out_grids, size=32, sigma=4.0)
    assert metrics["score_threshold"] == verdicts.threshold() and metrics["map_middle"] == verdicts.map_middle
    assert metrics["marked_images"] == 20
    kinds = loaded.kinds()
    assert kinds is not None and set(metrics["kinds"]) == set(kinds) - {"normal"}
    assert sum(row["images"] for row in metrics["kinds"].values()) == sum(split.is_anomaly)
    assert (folder.path / "banks" / "000000.safetensors").exists() and loaded.environment["weights_sha256"]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"set": {"merge": "concat", "rotations": 2, "position": 0.5, "levels": "first, last"}},
    {"set": {"reweight": 3, "top": 0, "image_score": "part", "exact_rows": 20, "coreset": 1.0}, "train_limit": 60},
    {"recipe": "spade", "feature_norm": "l2", "set": {"nearest_images": 4}},
    {"feature_norm": "whiten", "set": {"whiten_dims": 3}},
    {"recipe": "anomalydino", "set": {"bank_rows": 50, "rotations": 2}},
    {"recipe": "subspacead", "train_limit": 60, "set": {"variance": 0.9}},
    {"recipe": "subspacead", "feature_norm": "l2", "set": {"merge": "concat", "rotations": 2}},
]


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_the_same_config_gives_the_same_run_and_detector(
    spot: Make, finish: Finish, contents: Callable[..., Any], changes: dict[str, Any], capsys: Any
) -> None:
    """A draw without a seed; something used that is not saved; a detector that compares otherwise than its run."""
    folder, _ = finish(spot(**changes))
    again, _ = finish(spot(**changes))
    assert contents(folder) == contents(again)
    assert main(["verify", str(folder.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bit_for_bit"]
    loaded = load_run(folder.path)
    images, detector = [loaded.images("test").load(row) for row in range(20)], loaded.detector()
    arrays, grids = loaded.final(), loaded.maps(0).grids
    np.testing.assert_allclose(detector.anomaly_scores(images), arrays.scores, rtol=1e-5, atol=1e-5)
    maps = detector.anomaly_maps(images)
    assert maps.shape == (20, 32, 32) and maps.dtype == np.float32
    np.testing.assert_allclose(maps, [full_map(grid, 32, 4.0) for grid in grids], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(detector.held_out_scores, arrays.held_out_scores)
    assert detector.predict(images).tolist() == (arrays.scores > detector.threshold()).astype(int).tolist()
    assert detector.anomaly_maps([]).shape == (0, 32, 32)


def test_the_seed_reaches_the_bank(spot: Make, finish: Finish) -> None:
    """A seed without effect on which patches are kept."""
    banks = [finish(spot(seed=seed))[0].path / "banks" / "000000.safetensors" for seed in (0, 1)]
    assert banks[0].read_bytes() != banks[1].read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "gone", "lacking"])
def test_a_damaged_bank_is_a_broken_run(spot: Make, finish: Finish, damage: str) -> None:
    """Distances to half a bank, or a traceback of the file format."""
    from panda_core.runs.tensors import read_tensors, write_tensors

    folder, _ = finish(spot())
    file = folder.path / "banks" / "000000.safetensors"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "gone":
        file.unlink()
    else:
        write_tensors(file, {name: value for name, value in read_tensors(file).items() if name != "1.features"})
    with pytest.raises(BrokenRun, match=r"000000\.safetensors"):
        load_run(folder.path).detector().anomaly_scores([np.zeros((9, 9, 3), np.uint8)])


def test_a_run_without_maps_is_said_to_have_none(spot: Make, finish: Finish) -> None:
    """A traceback for a run that was stopped before it had learned."""
    folder, events = finish(spot(), should_stop=lambda: True)
    assert isinstance(events[-1], RunStopped) and folder.state().state == "stopped"
    with pytest.raises(BrokenRun, match="has no maps yet"):
        load_run(folder.path).detector()


@pytest.mark.parametrize("after", [2, 4, 8, 16])
def test_a_stop_is_heard_and_the_run_can_go_on(spot: Make, finish: Finish, after: int) -> None:
    """A request that waits for the end; a stopped run whose second half is missing."""
    from panda_core.runs.run import resume

    asked: list[int] = []
    folder, events = finish(spot(), should_stop=lambda: asked.append(1) or len(asked) >= after)  # type: ignore[func-returns-value]
    assert isinstance(events[-1], RunStopped) and len(asked) == after
    assert [type(event) for event in resume(folder)][-1] is RunFinished
    whole, _ = finish(spot())
    stopped, expected = (load_run(run.path).maps(0).by_name() for run in (folder, whole))
    assert set(stopped) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(stopped[name], values)
