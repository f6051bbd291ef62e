"""One contract for every method that takes images: the same inputs are accepted and refused by all, with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import PandaDetector, RunConfig, UnreadableImage, UsageError, load_bundle, load_run
from panda_core.export.bundle import write_bundle

RNG = np.random.default_rng(0)
BATCH = RNG.integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)
RESAD = {"seen": "4@digits,5@digits", "seen_limit": 8, "blocks": 1, "position_width": 8}
Method = Callable[[Any], Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the images of `BATCH` as files."""
    folder = tmp_path_factory.mktemp("given")
    paths = [folder / f"{number}.png" for number in range(len(BATCH))]
    for path, pixels in zip(paths, BATCH, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def methods(
    tiny: Callable[..., RunConfig], finish: Callable[..., Any], tiny_backbone: str, tmp_path: Path
) -> dict[str, Method]:
    """Return every method that takes images, by name."""
    fields: dict[str, Any] = {"backbone": tiny_backbone, "image_size": 32, "device": "cpu"}
    maps = PandaDetector(recipe="patchcore", **fields).fit(list(BATCH))
    scores = PandaDetector(recipe="frozen", **fields).fit(list(BATCH))
    folder, _ = finish(tiny(recipe="resad", eval_every=None, lr=1e-3, steps=2, set=RESAD))
    few_shot = load_run(folder.path)
    write_bundle(few_shot, tmp_path / "b.zip")
    return {
        "fit": lambda images: PandaDetector(recipe="frozen", **fields).fit(images),
        "fit patchcore": lambda images: PandaDetector(recipe="patchcore", **fields).fit(images),
        "anomaly_scores": scores.anomaly_scores,
        "predict": scores.predict,
        "anomaly_scores of maps": maps.anomaly_scores,
        "anomaly_maps": maps.anomaly_maps,
        "segment": maps.segment,
        "generalizer": few_shot.generalizer,
        "load_bundle": lambda images: load_bundle(tmp_path / "b.zip", references=images),
    }


def refused(path: Path) -> Iterator[tuple[Any, str]]:
    """Yield what is no list of images, and words of the sentence that says so."""
    yield path, r"path of one.*Pass `\[image\]`"
    yield str(path), r"path of one.*Pass `\[image\]`"
    yield str(path.parent), r"the folder `.*`, which `fit` alone takes\. Pass the paths of its images\."
    yield path.parent / "nothing", r"nothing`, where there is no file and no folder\. Check the path\."
    yield path.read_bytes(), r"got one image.*Pass `\[image\]`"
    yield Image.open(path), r"got one image.*Pass `\[image\]`"
    yield BATCH[0], r"one array of shape \(20, 24, 3\).*Pass `\[image\]`"
    yield BATCH[0, :, :, 0], r"one array of shape \(20, 24\).*Pass `\[image\]`"
    yield BATCH.astype(np.float32), r"array of float32 and shape \(5, 20, 24, 3\).*uint8"
    yield BATCH.transpose(0, 3, 1, 2), r"shape \(5, 3, 20, 24\).*channels last"
    yield BATCH[None], r"shape \(1, 5, 20, 24, 3\)"
    yield None, r"got NoneType"
    yield 5, r"got int"
    yield {"image": BATCH[0]}, r"got dict"
    yield (image for image in BATCH), r"got generator.*Pass `list\(images\)`"
    yield [BATCH[0], 7], r"Image 1 must be a path, a PIL image or a uint8 array; got int"
    yield [BATCH[0], None], r"Image 1 must be .*; got NoneType"
    yield [BATCH[0], BATCH[1].astype(np.float64)], r"image 1.*float64"


def test_no_method_takes_rows_for_images(methods: dict[str, Method], files: list[Path]) -> None:
    """One array scored row by row; a bare ValueError; one method that says no where another guesses."""
    for given, words in refused(files[0]):
        for name, method in methods.items():
            if name == "load_bundle" and given is None:
                continue  # a bundle brings references of its own
            if name.startswith("fit") and isinstance(given, str) and Path(given).is_dir():
                continue  # `fit` takes folders
            with pytest.raises(UsageError, match=words):
                method(given)
                pytest.fail(f"{name} accepted {type(given).__name__}")


def test_every_method_takes_every_kind_of_images(methods: dict[str, Method], files: list[Path]) -> None:
    """A batch (N, H, W, 3) or a tuple that one method takes and another refuses; results that depend on the kind."""
    kinds: list[Any] = [files, tuple(files), [str(path) for path in files], BATCH, list(BATCH)]
    kinds += [
        [Image.fromarray(pixels) for pixels in BATCH],
        [files[0], *BATCH[1:3], Image.fromarray(BATCH[3]), BATCH[4]],
    ]
    for name, method in methods.items():
        results = [method(kind) for kind in kinds]
        if name in ("anomaly_scores", "predict", "anomaly_scores of maps", "anomaly_maps"):
            for result in results:
                np.testing.assert_array_equal(result, results[0])


def test_no_images_and_broken_ones(methods: dict[str, Method], tmp_path: Path) -> None:
    """A traceback for an empty list; the name of another image for one that cannot be decoded."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for name, method in methods.items():
        with pytest.raises(UnreadableImage, match="broken"):
            method([BATCH[0], broken])
        if name in ("anomaly_scores", "predict", "anomaly_scores of maps", "anomaly_maps"):
            assert len(method([])) == 0
        else:
            with pytest.raises(UsageError):
                method([])


def test_a_limit_counts(tiny_backbone: str) -> None:
    """`train_limit` taken without a word, while all images are learned from."""
    images = RNG.integers(0, 256, (12, 20, 24, 3), dtype=np.uint8)
    few = PandaDetector(recipe="frozen", backbone=tiny_backbone, image_size=32, train_limit=5, device="cpu")
    assert few.fit(images).calibration.images == few.fit(images, np.arange(12) % 4 == 0).calibration.images == 5
    few.set_params(train_limit=None)
    assert few.fit(images).calibration.images == 12
