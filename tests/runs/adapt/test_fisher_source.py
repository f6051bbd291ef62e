"""Where the Fisher diagonal of a run comes from, that the run says so, and its cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig
from panda_core.events import CacheProgress, RunStopped
from panda_core.methods import elastic

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]
OPTIONS = {"fisher_images": 9, "ewc_strength": 100.0}


def diagonals(folder: Path) -> list[Path]:
    return sorted(folder.glob("fisher/*.safetensors"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PANDA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_imagenet_labels_are_drawn_and_the_run_says_so(tiny: Tiny, finish: Finish) -> None:
    """A deviation from the paper that no run names."""
    folder, events = finish(tiny(recipe="panda-ewc", set=OPTIONS))
    said = folder.read("environment.json")["fisher"]
    assert said.startswith("true Fisher of 9 normal training images") and "paper uses labelled ImageNet" in said
    done = [event.done for event in events if isinstance(event, CacheProgress) and event.split == "fisher"]
    assert done[-1] == 9 and done == sorted(done)
    assert finish(tiny())[0].read("environment.json")["fisher"] is None


def test_with_imagenet_its_labels_are_used(tiny: Tiny, finish: Finish, contents: Any, tmp_path: Path) -> None:
    """Labelled images in the data root that are passed over; labels beside the wrong images after an unreadable one."""
    sample = tmp_path / "data" / "imagenet_sample"
    sample.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("n01440764_tench", "n01443537_goldfish", "n01484850_great_white_shark"):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(sample / f"{name}.JPEG")
    config = tiny(recipe="panda-ewc", data_root=str(tmp_path / "data"), lr=1.0, set={**OPTIONS, "clip": 1.0})
    folder, _ = finish(config)
    said = folder.read("environment.json")["fisher"]
    assert said == "empirical Fisher of 3 labelled ImageNet images (imagenet_sample)"
    drawn, _ = finish(config.replace(data_root=""))
    name = "checkpoints/000006.safetensors"
    assert contents(folder)[name] != contents(drawn)[name]

    (sample / "n01443537_goldfish.JPEG").write_text("no image")
    (sample / "n01491361_tiger_shark.JPEG").write_text("no image")
    folder, _ = finish(config)
    assert folder.read("environment.json")["fisher"].startswith("empirical Fisher of 2 labelled")
    for path in ("n01443537_goldfish.JPEG", "n01491361_tiger_shark.JPEG"):
        (sample / path).unlink()
    assert contents(finish(config)[0])[name] == contents(folder)[name]


def test_a_cached_diagonal_is_the_computed_one(
    tiny: Tiny, finish: Finish, contents: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diagonal of other images, another seed or another number of them taken from the cache; one computed again
    although it is there; a damaged one used."""
    config = tiny(recipe="panda-ewc", lr=1.0, set={**OPTIONS, "clip": 1.0})
    first = contents(finish(config)[0])
    (file,) = diagonals(cache)
    for damage in (lambda: os.truncate(file, 40), lambda: file.write_bytes(b""), lambda: file.unlink()):
        damage()
        assert contents(finish(config)[0]) == first
    assert diagonals(cache) == [file]

    def never(*arguments: object) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(elastic.torch, "multinomial", never)
        assert contents(finish(config)[0]) == first
    finish(config.replace(seed=1))
    finish(config.replace(set={**config.set, "fisher_images": 8}))
    finish(config.replace(image_size=40))
    assert len(diagonals(cache)) == 4
    finish(config.replace(set={**config.set, "ewc_strength": 7.0}))
    assert len(diagonals(cache)) == 4, "the diagonal does not depend on its strength"


def test_stopping_in_the_middle_leaves_no_diagonal(tiny: Tiny, finish: Finish, cache: Path) -> None:
    """Half a diagonal taken for a whole one by the next run."""
    finish(tiny())  # the activations are there
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 4

    _, events = finish(tiny(recipe="panda-ewc", set=OPTIONS), should_stop=should_stop)
    assert isinstance(events[-1], RunStopped)
    assert not diagonals(cache)
