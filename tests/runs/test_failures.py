"""Runs that cannot go on: one sentence, an exit code of 1, and everything until then kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from panda_core import PandaError, RunConfig, UnreadableImage, UsageError, load_run, run
from panda_core.backbones import BACKBONES
from panda_core.datasets import ArrayImages, OneClassTask
from panda_core.events import MASKS, Evaluated, Event, ImagesSkipped, RunFailed
from panda_core.methods import compactness
from panda_core.runs.folder import RunFolder, list_runs

Tiny = Callable[..., RunConfig]


def failed(config: RunConfig, **named: Any) -> tuple[RunFolder, list[Event], PandaError]:
    """Return the folder, the events and the error of a run that fails."""
    events: list[Event] = []
    with pytest.raises(PandaError) as error:
        for event in run(config, **named):
            events.append(event)
    (folder,) = list_runs(config.runs_dir)
    return folder, events, error.value


@pytest.mark.parametrize("every", [1, 7, 30])
@pytest.mark.parametrize("scorer", ["knn", "mahalanobis"])
def test_a_loss_that_is_not_finite_ends_the_run(
    tiny: Tiny, tiny_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, every: int, scorer: str
) -> None:
    """NaN in the curves, or hours of training on it; where an evaluation meets it first, too."""

    class Growing(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 1e10 * super().forward(x.flatten(1))

    torch.manual_seed(0)
    row = dataclasses.replace(
        BACKBONES["tiny"], load=lambda cut, weights="": tiny_network(tail=Growing(4 * 7 * 7, 5), level_widths=(5,))
    )
    monkeypatch.setitem(BACKBONES, "tiny", row)
    folder, events, error = failed(tiny(scorer=scorer, lr=100.0, steps=30, eval_every=every, set={"clip": 1e6}))
    assert isinstance(events[-1], RunFailed)
    assert "finite" in events[-1].reason and "--lr" in events[-1].reason
    assert str(error) == events[-1].reason
    assert not isinstance(error, UsageError), "the command was right, the computing failed: exit code 1"
    assert (folder.state().state, folder.state().reason) == ("failed", events[-1].reason)
    loaded = load_run(folder.path)
    points = [event for event in events if isinstance(event, Evaluated)]
    assert points and loaded.evaluated == points
    assert loaded.metrics is None
    for event in points:
        assert np.isfinite(loaded.arrays(event.step).scores).all()
    assert np.isfinite(loaded.detector().anomaly_scores([np.zeros((8, 8, 3), np.uint8)])).all()


def test_a_fault_of_the_program_is_recorded(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is shown as running although its process has died of a bug."""

    def fault(*arguments: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(compactness, "compactness_loss", fault)
    folder, events, error = failed(tiny())
    assert isinstance(events[-1], RunFailed) and "ZeroDivisionError: division by zero" in events[-1].reason
    assert "please report" in str(error) and isinstance(error.__cause__, ZeroDivisionError)
    assert folder.state().state == "failed"


def test_full_memory_says_what_to_make_smaller(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Please report this bug" for a batch that is too large."""

    def full(*arguments: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(compactness, "compactness_loss", full)
    _, events, _ = failed(tiny())
    assert isinstance(events[-1], RunFailed) and "--batch-size" in events[-1].reason


class SomeUnreadable(ArrayImages):
    """Images of which every third cannot be decoded."""

    def load(self, index: int) -> np.ndarray:
        if int(self.names[index]) % 3 == 0:
            raise UnreadableImage(f"`{self.names[index]}` is damaged.")
        return super().load(index)

    def subset(self, indices: Any) -> SomeUnreadable:
        found = super().subset(indices)
        return SomeUnreadable(found._arrays, list(found.names))


def task_of(images: ArrayImages, train: int) -> OneClassTask:
    test = len(images) - train
    labels = (np.arange(test) % 2).astype(np.uint8)
    return OneClassTask(images.subset(range(train)), images.subset(range(train, len(images))), labels)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_unreadable_images_are_named_and_take_no_part(tiny: Tiny) -> None:
    """Scores beside the wrong images, and labels beside the wrong scores, after one that could not be read."""
    names = [str(row) for row in range(30)]
    task = task_of(SomeUnreadable(noise(30), names), 15)
    events = list(run(tiny(), task=task))
    skips = [event for event in events if isinstance(event, ImagesSkipped)]
    assert [(event.split, event.names) for event in skips] == [
        ("train", ["0", "3", "6", "9", "12"]),
        ("test", ["15", "18", "21", "24", "27"]),
    ]
    (folder,) = list_runs(tiny().runs_dir)
    split = folder.read("split.json")
    assert split["test"] == [name for name in names[15:] if int(name) % 3]
    assert split["is_anomaly"] == [(int(name) - 15) % 2 for name in split["test"]]
    readable = [row for row in range(30) if row % 3]
    same = ArrayImages(noise(30)[readable], [names[row] for row in readable])
    (plain,) = {
        event.run_id  # type: ignore[attr-defined]
        for event in run(tiny(runs_dir=tiny().runs_dir + " plain"), task=task_of(same, 10))
        if hasattr(event, "run_id")
    }
    other = RunFolder(folder.path.parent.with_name("runs plain") / plain)
    np.testing.assert_array_equal(folder.final().scores, other.final().scores)


def test_too_few_readable_images_are_one_sentence(tiny: Tiny) -> None:
    """A run on a single image because the others could not be read."""
    images = SomeUnreadable(noise(6), ["0", "1", "3", "4", "5", "7"])
    _, events, _ = failed(
        tiny(set={"k": 1}), task=OneClassTask(images.subset([0, 1, 2]), images.subset([3, 4]), np.array([0, 1]))
    )
    assert isinstance(events[-1], RunFailed) and "Only 1 normal image is left" in events[-1].reason


def test_files_that_take_no_part_are_told_at_the_start(tiny: Tiny, tmp_path: Path) -> None:
    """Photos in a format that is not read, and masks of no image, that vanish from a run without a word."""
    folder = tmp_path / "parts"
    for row in range(8):
        (folder / "good").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(row).integers(0, 256, (32, 32, 3), np.uint8)).save(
            folder / "good" / f"{row}.png"
        )
    (folder / "good" / "phone.heic").write_bytes(b"x")
    (folder / "masks").mkdir()
    Image.new("L", (32, 32)).save(folder / "masks" / "9_mask.png")
    events = list(run(tiny(dataset=f"folder:{folder}", normal_class=None, recipe="frozen", steps=None)))
    told = [event for event in events if isinstance(event, ImagesSkipped)]
    assert [(event.split, event.count) for event in told] == [("folder", 1), (MASKS, 1)] and events[1:3] == told
    assert {name: reason for event in told for name, reason in zip(event.names, event.reasons, strict=True)} == {
        "good/phone.heic": "`.heic` files are not read; save it as PNG or JPEG",
        "masks/9_mask.png": "no image is named like it; name it as its image, with `_mask` at the end",
    }
