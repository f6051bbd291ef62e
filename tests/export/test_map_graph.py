"""Detectors with maps as one graph: the scores and maps that the run gives, for every way to compare patches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from panda_core import RunConfig, UsageError, load_run
from panda_core.errors import PandaError
from panda_core.export import network_file, patch_methods
from panda_core.export.description import KEY
from panda_core.export.network_file import graph_of, write_network
from panda_core.export.patch_methods import NearestDistance, Reweighting
from panda_core.runs.detector import PandaDetector
from panda_core.segmentation.bank import Bank
from panda_core.segmentation.table import SEGMENTERS

Spot = Callable[..., RunConfig]
Finish = Callable[..., Any]
ONE_PATCH = {"top": 0, "image_score": "part"}
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((recipe, {}) for recipe in SEGMENTERS),
    ("patchcore", {"feature_norm": "l2", "set": {"merge": "concat", "position": 0.5}}),
    ("patchcore", {"feature_norm": "none", "set": {"border": "zeros", "sigma": 0}}),
    ("patchcore", {"set": {"neighbourhood": 1}}),
    ("patchcore", {"feature_norm": "whiten", "image_size": 40, "set": {"whiten_dims": 3, "rotations": 2}}),
    ("patchcore", {"set": {**ONE_PATCH, "reweight": 4, "bank_rows": 9}}),
    ("spade", {"feature_norm": "whiten", "set": {"nearest_images": 3}}),
    ("subspacead", {"feature_norm": "none", "set": {"variance": 0.5}}),
]


def pictures(side: int = 32, count: int = 7) -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def assert_same(found: tuple[Any, ...], detector: PandaDetector, images: list[np.ndarray]) -> None:
    """Compare scores and maps with the detector's."""
    wanted = (detector.anomaly_scores(images), detector.anomaly_maps(images))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-5 * np.abs(b).mean())


@pytest.mark.parametrize(("recipe", "changes"), SETTINGS)
def test_every_methods_graph_gives_the_detectors_scores_and_maps(
    spot: Spot, finish: Finish, recipe: str, changes: dict[str, Any]
) -> None:
    """An option, a level, a unit or a weight that the graph has not; a row of the table without a graph."""
    folder, _ = finish(spot(recipe=recipe, **changes))
    detector = load_run(folder.path).detector()
    graph = graph_of(detector)
    with torch.no_grad():
        images = pictures(graph.side)
        assert_same(graph(torch.from_numpy(np.stack(images))), detector, images)


@pytest.mark.parametrize("recipe", [*SEGMENTERS, "resad"])
def test_onnx_gives_scores_and_maps_at_any_batch(
    spot: Spot, tiny: Spot, finish: Finish, tmp_path: Path, recipe: str
) -> None:
    """A graph that knows one number of images, or in which an image's map depends on those beside it."""
    few_shot = {"seen": "4@digits,5@digits", "seen_limit": 8, "blocks": 1, "position_width": 8, "levels": "last"}
    config = (
        spot(recipe=recipe) if recipe in SEGMENTERS else tiny(recipe=recipe, eval_every=None, steps=2, set=few_shot)
    )
    folder, _ = finish(config)
    loaded = load_run(folder.path)
    written = write_network(loaded, tmp_path / "a.onnx", "onnx")
    assert written.difference <= 1e-4 and written.images == "test images of the run"
    session = onnxruntime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    images = pictures()
    together = session.run(["scores", "maps"], {"images": np.stack(images)})
    assert together[1].shape == (7, 32, 32)
    assert_same(tuple(together), loaded.detector(), images)
    for row in (0, 6):
        alone = session.run(["scores", "maps"], {"images": images[row][None]})
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[row], rtol=1e-5)
    about = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    calibration = loaded.calibration
    assert about["threshold"] == calibration.threshold() and about["map_middle"] == calibration.map_middle


def test_torchscript_gives_scores_and_maps(spot: Spot, finish: Finish, tmp_path: Path) -> None:
    """A traced module with one number of images in it."""
    folder, _ = finish(spot())
    write_network(load_run(folder.path), tmp_path / "a.pt", "torchscript")
    found = torch.jit.load(str(tmp_path / "a.pt"))(torch.from_numpy(np.stack(pictures())))
    assert_same(found, load_run(folder.path).detector(), pictures())


def test_the_nearest_patch_is_found_in_any_block_far_from_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that is left out, or distances through products of long vectors, of which no digit is left."""
    monkeypatch.setattr(patch_methods, "BLOCK", 16)
    rng = np.random.default_rng(0)
    rows, queries = (1000 + rng.normal(size=(count, 5)).astype(np.float32) for count in (30, 40))
    wanted = np.linalg.norm(queries[:, None].astype(np.float64) - rows, axis=2).min(axis=1)
    np.testing.assert_allclose(NearestDistance(rows)(torch.from_numpy(queries)).detach().numpy(), wanted, rtol=1e-4)


def test_retrieved_images_are_compared_in_parts(spot: Spot, finish: Finish, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the nearest normal images that is left out, where they do not fit at once."""
    folder, _ = finish(spot(recipe="spade"))
    monkeypatch.setattr(patch_methods, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(patch_methods, "MOST_STEPS", 3)
    detector = load_run(folder.path).detector()
    graph = graph_of(detector)
    assert graph.method.stored[0].together > 1  # type: ignore[union-attr,index]
    with torch.no_grad():
        assert_same(graph(torch.from_numpy(np.stack(pictures()))), detector, pictures())


def test_reweighting_is_that_of_the_paper() -> None:
    """The neighbours of the patch itself instead of those of its nearest normal patch (PatchCore, Eq. 7)."""
    rng = np.random.default_rng(2)
    features, patches = (rng.normal(size=shape).astype(np.float32) for shape in ((12, 3), (2, 4, 4, 3)))
    bank = Bank(features, np.zeros((12, 4)), exact_rows=100, seed=0)
    distances, rows = (found[..., 0] for found in bank.nearest(patches, 1))
    wanted = []
    for image in range(2):
        place = np.unravel_index(distances[image].argmax(), (4, 4))
        nearest = features[rows[image][place]]
        around = features[np.argsort(np.linalg.norm(features - nearest, axis=1))[:3]]
        weights = np.exp(np.linalg.norm(around - patches[image][place], axis=1).astype(np.float64))
        wanted.append(1 - np.exp(distances[image][place]) / weights.sum())
    found = Reweighting(bank, 3)(torch.from_numpy(distances), torch.from_numpy(patches))
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-5)


def test_a_bank_that_is_searched_approximately_is_refused(spot: Spot, finish: Finish, tmp_path: Path) -> None:
    """A file whose exact search finds nearer patches than the run does, so that it scores otherwise."""
    folder, _ = finish(spot(set={"coreset": 1.0}))
    loaded = load_run(folder.path)
    model = loaded.detector().learned_.model  # type: ignore[union-attr]
    model.method.banks[1].recall = 0.99
    with pytest.raises(UsageError, match=r"finds 99\.0 % of the nearest patches; a graph finds all"):
        patch_methods.graph_of_method(model.method)


def test_what_does_not_fit_into_a_file_is_refused_before_any_work(
    spot: Spot, finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes of work that end with an error of protobuf's."""
    folder, _ = finish(spot())
    monkeypatch.setattr(network_file, "LARGEST", 1000)
    with pytest.raises(UsageError, match=r"an ONNX file holds at most .* Use `--format bundle`"):
        write_network(load_run(folder.path), tmp_path / "a.onnx", "onnx")


def test_a_graph_that_knows_one_number_of_images_is_refused_in_a_sentence(
    spot: Spot, finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the runtime's own kind, which no command catches."""
    folder, _ = finish(spot())

    def fixed(images: np.ndarray) -> tuple[np.ndarray, ...]:
        raise InvalidArgument("Got: 1 Expected: 2\nPlease fix the model.")

    monkeypatch.setitem(network_file._KINDS, "onnx", (lambda *given: None, lambda file: fixed))
    with pytest.raises(PandaError, match=r"cannot be written as onnx: Got: 1 Expected: 2 Use `--format bundle`"):
        write_network(load_run(folder.path), tmp_path / "a.onnx", "onnx")


@pytest.mark.parametrize("what", ["map", "verdict"])
def test_a_file_with_another_map_or_verdict_is_never_there(
    spot: Spot, finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A check that looks at scores alone, or at scores that lie on either side of the threshold."""
    folder, _ = finish(spot())
    loaded = load_run(folder.path)
    opened = network_file._open_torchscript

    def differing(file: Path) -> network_file.Outputs:
        right = opened(file)

        def outputs(images: np.ndarray) -> tuple[np.ndarray, ...]:
            scores, maps = right(images)
            return (scores, 1.001 * maps) if what == "map" else (scores + 1e9, maps)

        return outputs

    monkeypatch.setitem(network_file._KINDS, "torchscript", (network_file._write_torchscript, differing))
    expected = "differs from the run's by 1.0e-03" if what == "map" else "judges . of 6 images otherwise than the run"
    with pytest.raises(PandaError, match=expected):
        write_network(loaded, tmp_path / "a.pt", "torchscript")
    assert not (tmp_path / "a.pt").exists()
