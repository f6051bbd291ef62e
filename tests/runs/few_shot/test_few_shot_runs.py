"""Runs that generalise: nothing of the new class is trained on, and its images are judged one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from panda_core import RunConfig, UsageError, load_run
from panda_core.events import RunFinished, Stepped
from panda_core.runs.few_shot.data import only_new, open_seen, prepare
from panda_core.runs.few_shot.features import abnormal_positions
from panda_core.runs.few_shot.settings import seen_specs
from panda_core.runs.kinds import open_task, recompute, resolve
from panda_core.segmentation.geometry import Cells


@pytest.fixture
def config(tiny: Callable[..., RunConfig]) -> Callable[..., RunConfig]:
    """Return a function (fields, options=...) -> the config of a run that takes a moment: digits 4 and 5, then 3."""

    def make(options: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
        given = {"recipe": "resad", "eval_every": None, "lr": 1e-3, "steps": 4, "test_limit": 30}
        chosen = {"seen": "4@digits,5@digits", "seen_limit": 12, "blocks": 2, "position_width": 8, **(options or {})}
        return tiny(**{**given, "set": chosen, **changes})

    return make


class Labels:
    """Masks in memory."""

    def __init__(self, masks: list[np.ndarray | None]) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks)

    def load(self, index: int) -> np.ndarray | None:
        return self.masks[index]

    def subset(self, indices: Any) -> Labels:
        return Labels([self.masks[row] for row in indices])


def parts(tmp_path: Path) -> Path:
    """Return a folder in MVTec's layout: good parts, two kinds of defects, and their masks."""
    rng = np.random.default_rng(0)
    for place, count in (("train/good", 10), ("test/good", 4), ("test/spot", 5), ("test/hole", 5)):
        folder = tmp_path / "parts" / place
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(80, 120, (32, 32, 3), dtype=np.uint8)
            kind = place.removeprefix("test/")
            if kind in ("spot", "hole"):
                pixels[8:16, 8:16] = 250 if kind == "spot" else 0
                mask = np.zeros((32, 32), np.uint8)
                mask[8:16, 8:16] = 255
                truth = tmp_path / "parts" / "ground_truth" / kind
                truth.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(truth / f"{number:03d}_mask.png")
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return tmp_path / "parts"


def test_a_run_leaves_the_files_that_every_reader_expects(
    config: Callable[..., RunConfig], finish: Callable[..., Any]
) -> None:
    """A run that computes everything and cannot be looked at, scored with, or told apart from a broken one."""
    folder, events = finish(config({"draws": 2}))
    loaded = load_run(folder.path)
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4]
    assert isinstance(events[-1], RunFinished) and folder.state().state == "finished"
    for name in ("config.json", "split.json", "environment.json", "checkpoints/000004.safetensors"):
        assert (folder.path / name).is_file()
    maps, arrays = loaded.maps(4), loaded.patch_arrays(4)
    count = len(loaded.split.test)
    assert maps.grids.shape == (count, 7, 7) and arrays.scores.shape == arrays.peaks.shape == (count,)
    assert len(loaded.images("test")) == count and len(loaded.split.train) == 4
    assert maps.origins[0][..., 0].max() < 4
    assert len(loaded.metrics["draws"]) == 2  # type: ignore[index]
    assert loaded.metrics["draws"][0]["image_auroc"] == loaded.metrics["auroc"]  # type: ignore[index]


def test_a_run_from_before_sizes_were_rounded_says_so(
    config: Callable[..., RunConfig], finish: Callable[..., Any]
) -> None:
    """Scores of new images at 32 px beside recorded ones at 40 px, and nothing that tells why they differ."""
    folder, _ = finish(config(image_size=40))
    (told,) = load_run(folder.path).notes
    assert "at 32 px" in told
    lines = folder.log_file.read_text().splitlines(keepends=True)
    folder.log_file.write_text("".join(line for line in lines if '"DataNoted"' not in line))
    (told,) = load_run(folder.path).notes
    assert "learned at 40 px, before sizes were rounded" in told and "Run it again" in told


def test_cells_are_those_of_the_training(
    config: Callable[..., RunConfig], finish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps moved by a later version that measures cells otherwise, under a threshold of the earlier one."""
    folder, _ = finish(config())
    loaded = load_run(folder.path)
    images = [loaded.images("test").load(row) for row in range(3)]
    before = loaded.detector().anomaly_scores(images)
    moved = [Cells(32 / 4, (9.0, 9.0))] * 9
    monkeypatch.setattr(
        "panda_core.few_shot.model.find_cells", lambda network, levels, *rest: tuple(moved[: len(levels)])
    )
    np.testing.assert_array_equal(load_run(folder.path).detector().anomaly_scores(images), before)


def test_the_same_run_twice_is_the_same(
    config: Callable[..., RunConfig], finish: Callable[..., Any], contents: Callable[..., Any]
) -> None:
    """References, batches or weights that come from a random state nobody set."""
    first, second = (finish(config())[0] for _ in range(2))
    assert contents(first) == contents(second)
    loaded = load_run(first.path)
    assert np.array_equal(recompute(loaded).scores, loaded.final().scores)


def test_an_image_is_judged_on_its_own(config: Callable[..., RunConfig], finish: Callable[..., Any]) -> None:
    """The released score's maximum over the whole test set: an image judged by what else is tested."""
    folder, _ = finish(config())
    loaded = load_run(folder.path)
    images = [loaded.images("test").load(row) for row in range(6)]
    detector = loaded.detector()
    together, alone = detector.anomaly_scores(images), [detector.anomaly_scores([image])[0] for image in images]
    assert np.allclose(together, alone, rtol=1e-5)
    assert np.allclose(together, loaded.final().scores[:6], rtol=5e-3)  # features were kept in float16
    assert detector.anomaly_maps(images[:2]).shape == (2, 32, 32)


def test_other_references_make_another_detector(config: Callable[..., RunConfig], finish: Callable[..., Any]) -> None:
    """References that are taken and ignored."""
    folder, _ = finish(config())
    loaded = load_run(folder.path)
    own = [loaded.images("train").load(row) for row in range(4)]
    others = [loaded.images("test").load(row) for row in range(2)]
    same, other = (loaded.generalizer(references).anomaly_scores(others) for references in (own, others))
    assert np.allclose(same, loaded.detector().anomaly_scores(others), rtol=1e-5)
    assert not np.allclose(same, other)
    with pytest.raises(UsageError, match="At least 1 reference"):
        loaded.generalizer([])


def test_a_run_of_another_kind_takes_no_references(spot: Callable[..., RunConfig], finish: Callable[..., Any]) -> None:
    """A bank of patches of one class used as if it knew others."""
    folder, _ = finish(spot())
    with pytest.raises(UsageError, match="knows one class"):
        load_run(folder.path).generalizer([np.zeros((32, 32, 3), np.uint8)])


@pytest.mark.parametrize("residual", ["signed", "squared", "none"])
def test_every_level_is_trained_whatever_the_chunk(
    residual: str, config: Callable[..., RunConfig], finish: Callable[..., Any]
) -> None:
    """A dropped remainder: the deepest level's flow keeps its first weights and is used all the same."""
    folder, _ = finish(config({"chunk": 8192, "residual": residual, "references": 2}))
    from panda_core.few_shot.model import ResidualModel
    from panda_core.runs.tensors import read_tensors

    plan = prepare(load_run(folder.path).config)
    before = ResidualModel(plan.config, plan.network, plan.levels, plan.device).tensors()
    after = read_tensors(folder.path / "checkpoints" / "000004.safetensors")
    for level in range(2):
        names = [name for name in before if name.startswith(f"flow.{level}.") and "subnet" in name]
        assert names and any(not torch.equal(before[name], after[name]) for name in names)
        assert not torch.equal(
            before[f"constraintor.{level}.convolution.weight"], after[f"constraintor.{level}.convolution.weight"]
        )


def test_the_new_class_must_not_be_seen(config: Callable[..., RunConfig]) -> None:
    """A class that is trained on and then called new."""
    with pytest.raises(UsageError, match="is the new class, which must not be trained on"):
        resolve(config({"seen": "4@digits,3@digits"}))
    with pytest.raises(UsageError, match="named twice"):
        resolve(config({"seen": "4@digits,4@digits"}))
    with pytest.raises(UsageError, match="CLASS@DATASET"):
        resolve(config({"seen": "digits"}))


def test_seen_classes_are_neither_tested_on_nor_are_new_ones_trained_on(config: Callable[..., RunConfig]) -> None:
    """Anomalies of a class whose images were trained on, which are then no new ones."""
    resolved = resolve(config())
    task = only_new(resolved, open_task(resolved))
    assert {"3"} < set(task.kinds) and not {"4", "5"} & set(task.kinds)  # type: ignore[arg-type]
    for one in open_seen(resolved):
        assert one.masks is None and one.anomalies is not None
        assert not set(one.anomalies.names) & {*task.test.names, *one.normals.names}


def test_half_of_the_classes_stay_unseen_by_default(config: Callable[..., RunConfig]) -> None:
    """A default that trains on every class that could be an anomaly, and so has nothing left to find."""
    resolved = resolve(config({"seen": ""}))
    assert [spec.normal_class for spec in seen_specs(resolved)] == ["0", "1", "2", "4", "5"]
    everything = ",".join(f"{digit}@digits" for digit in range(10) if digit != 3)
    with pytest.raises(UsageError, match="nothing new is left"):
        prepare(config({"seen": everything}))


def test_kinds_of_defects_are_seen_or_tested(
    config: Callable[..., RunConfig], finish: Callable[..., Any], tmp_path: Path
) -> None:
    """A kind of defect on both sides, or defects that are trained on at places where there are none."""
    key = f"folder:{parts(tmp_path)}"
    given = config({"seen": f"good/spot@{key}", "references": 2}, dataset=key, normal_class="good", train_limit=None)
    plan = prepare(given)
    assert set(plan.task.kinds) == {"good", "hole"}  # type: ignore[arg-type]
    (seen,) = plan.seen
    assert seen.how == "labelled with masks: spot" and len(seen.anomalies or ()) == 5
    (grid,) = abnormal_positions(seen.masks, np.arange(1), [(4, 4)])
    wanted = np.zeros((4, 4), bool)
    wanted[1, 1] = True
    assert np.array_equal(grid[0], wanted)
    folder, _ = finish(given)
    assert set(load_run(folder.path).kinds()) == {"good", "hole"}  # type: ignore[arg-type]


def test_images_on_both_sides_are_refused(config: Callable[..., RunConfig], tmp_path: Path) -> None:
    """The same photograph trained on and tested under two names."""
    folder = parts(tmp_path)
    copy = tmp_path / "copy" / "good"
    copy.mkdir(parents=True)
    for number in range(4):
        (copy / f"{number}.png").write_bytes((folder / "test" / "good" / f"{number:03d}.png").read_bytes())
        (copy / f"{number + 4}.png").write_bytes((folder / "train" / "good" / f"{number:03d}.png").read_bytes())
    given = config({"seen": f"good@folder:{copy.parent}", "references": 2}, dataset=f"folder:{folder}")
    with pytest.raises(UsageError, match="is also trained on"):
        prepare(given.replace(normal_class="good", seed=1))


def test_references_come_from_images_that_are_not_tested(
    config: Callable[..., RunConfig], finish: Callable[..., Any]
) -> None:
    """A test image among the references, whose residual is then zero."""
    splits = [load_run(finish(config({"draw": draw}))[0].path).split for draw in (0, 1)]
    for split in splits:
        assert len(split.train) == 4 and not set(split.train) & set(split.test)
    assert splits[0].train != splits[1].train and splits[0].test == splits[1].test


def test_positions_without_masks_are_all_abnormal_and_thin_defects_count() -> None:
    """A scratch of one pixel that no position of a coarse grid knows of; a mask smaller than the grid."""
    thin = np.zeros((64, 64), bool)
    thin[17, :] = True
    (grid,) = abnormal_positions(Labels([thin, np.ones((1, 1), bool), None]), np.arange(3), [(4, 4)])
    assert np.array_equal(grid[0].any(axis=1), [False, True, False, False]) and grid[1].all() and not grid[2].any()
    (whole,) = abnormal_positions(None, np.arange(2), [(3, 5)])
    assert whole.shape == (2, 3, 5) and whole.all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scorer": "mean"}, "`scorer` has no effect"),
        ({"feature_norm": "l2"}, "`feature_norm` has no effect"),
        ({"steps": 0}, "must be at least 1"),
        ({"options": {"position_width": 6}}, "a multiple of 4"),
        ({"options": {"neighbourhood": 2}}, "odd"),
        ({"options": {"sen": "x"}}, "Unknown option"),
        ({"options": {"levels": "nowhere"}}, "Unknown stage"),
        ({"options": {"references": 30}}, "`references` must be at most"),
        ({"options": {"anomalies": "labelled", "seen": "4@digits"}}, "Set `--set anomalies=drawn`"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_computed(
    changes: dict[str, Any], message: str, config: Callable[..., RunConfig]
) -> None:
    """An option that is taken and ignored, or refused after minutes."""
    with pytest.raises(UsageError, match=message):
        prepare(config(**changes))


def test_too_little_memory_is_said_before_features_are_read(config: Callable[..., RunConfig]) -> None:
    """A machine that runs out of memory half-way."""
    from panda_core import run

    given = config({"memory_gb": 0.01, "seen_limit": 4000, "levels": "first"}, image_size=512, test_limit=None)
    with pytest.raises(UsageError, match="`memory_gb` allows"):
        list(run(given))
