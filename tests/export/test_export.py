"""Exported networks: one file that gives the run's own scores, and says how to use it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from PIL import Image

from panda_core import RunConfig, UsageError, load_bundle, load_run
from panda_core.errors import PandaError
from panda_core.export import network_file
from panda_core.export.bundle import write_bundle
from panda_core.export.description import KEY, description
from panda_core.export.graph import DetectorGraph, Distance, Mahalanobis, Nearest
from panda_core.export.network_file import graph_of, write_network
from panda_core.scoring.knn import nearest
from panda_core.scoring.table import SCORERS

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]
AS_ONE_GRAPH = ("knn", "mean", "kmeans", "mahalanobis", "relative-mahalanobis", "ocsvm")


def pictures(side: int = 32, count: int = 7) -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def graph_scores(graph: DetectorGraph, images: list[np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        return graph(torch.from_numpy(np.stack(images))).numpy()


# graphs


def test_nearest_rows_far_from_the_origin() -> None:
    """Distances taken through a product of long vectors, which loses all digits of collapsed features."""
    rng = np.random.default_rng(0)
    rows = (1000 + rng.normal(size=(50, 6))).astype(np.float32)
    queries = np.concatenate([rows[:3], (1000 + rng.normal(size=(4, 6))).astype(np.float32)])
    wanted = np.sort(np.square(queries[:, None].astype(np.float64) - rows).sum(axis=2), axis=1)[:, :3].sum(axis=1)
    found = Nearest(rows, 3)(torch.from_numpy(queries)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(found, nearest(rows, queries, 3)[0].sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize("scorer", AS_ONE_GRAPH)
@pytest.mark.parametrize("norm", ["none", "l2", "whiten"])
def test_every_scorers_graph_gives_the_detectors_scores(tiny: Tiny, finish: Finish, scorer: str, norm: str) -> None:
    """Squares, roots, a mean or a number of neighbours that one side has and the other has not."""
    options: Any = {"knn": {"k": 3}, "kmeans": {"means": 4}, "ocsvm": {"svm_contrast": "yes"}}.get(scorer, {})
    folder, _ = finish(tiny(recipe="panda-early", scorer=scorer, feature_norm=norm, set=options))
    detector = load_run(folder.path).detector()
    found, wanted = graph_scores(graph_of(detector), pictures()), detector.anomaly_scores(pictures())
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).mean())


SAVED = ("frozen", "panda-ewc", "panda-alarm", "panda-oe", "joint", "msc", "deep-svdd", "ocsvm", "mhrot")
RECIPES_AND_DTYPES = [(key, "float16") for key in SAVED]


@pytest.mark.parametrize(("recipe", "dtype"), [*RECIPES_AND_DTYPES, ("frozen", "float32")])
def test_every_recipes_graph_gives_the_detectors_scores(tiny: Tiny, finish: Finish, recipe: str, dtype: str) -> None:
    """A head, a radius or the rounding of cached activations that is forgotten."""
    steps = {"frozen": None, "ocsvm": None}.get(recipe, 6)
    options: dict[str, Any] = {"cache_dtype": dtype}
    options |= {"objective": "soft-boundary", "warm_up": 0.0} if recipe == "deep-svdd" else {}
    folder, _ = finish(tiny(recipe=recipe, steps=steps, set=options))
    detector = load_run(folder.path).detector()
    found, wanted = graph_scores(graph_of(detector), pictures()), detector.anomaly_scores(pictures())
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).mean())


@pytest.mark.parametrize("start", ["exclude", "include"])
def test_sample_wise_stopping_is_in_the_graph(tiny: Tiny, finish: Finish, start: str) -> None:
    """The largest score of all checkpoints without their normalisers, or of other checkpoints than the run's."""
    folder, _ = finish(tiny(recipe="panda-ses", lr=0.5, set={"ses_start": start}))
    detector = load_run(folder.path).detector()
    graph = graph_of(detector)
    assert len(graph.branches) == (4 if start == "include" else 3)
    np.testing.assert_allclose(graph_scores(graph, pictures()), detector.anomaly_scores(pictures()), rtol=1e-4)


def test_a_graph_shares_nothing_with_its_detector(tiny: Tiny, finish: Finish) -> None:
    """Checkpoints that are all the last one, because they are one network."""
    folder, _ = finish(tiny(recipe="panda-ses", lr=0.5))
    detector = load_run(folder.path).detector()
    graph = graph_of(detector)
    before = graph_scores(graph, pictures())
    detector.anomaly_scores(pictures()[:1])
    np.testing.assert_array_equal(graph_scores(graph, pictures()), before)
    tails = [branch.tail.first.weight for branch in graph.branches]
    assert not torch.equal(tails[0], tails[-1])


def test_views_that_are_compared_with_galleries_are_in_the_graph(tiny: Tiny, finish: Finish) -> None:
    """Distances of another view's gallery, or heads where there are none."""
    folder, _ = finish(tiny(recipe="mhrot", steps=2, set={"mhrot_score": "knn"}))
    detector = load_run(folder.path).detector()
    found, wanted = graph_scores(graph_of(detector), pictures()), detector.anomaly_scores(pictures())
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_what_is_no_graph_is_refused(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """A score that is left out in silence; an error that does not say what to do instead."""
    folder, _ = finish(tiny(recipe="mhrot", steps=2, set={"mhrot_score": "knn-difference"}))
    with pytest.raises(UsageError, match=r"compared with all 36 galleries, .* Use `--format bundle`"):
        write_network(load_run(folder.path), tmp_path / "a.pt", "torchscript")
    assert not (tmp_path / "a.pt").exists()


def test_every_scorer_is_a_graph() -> None:
    """A new scorer that nobody thought of when exporting."""
    assert set(SCORERS) == {*AS_ONE_GRAPH}


# files


@pytest.mark.parametrize(
    ("recipe", "scorer", "norm"),
    [
        ("panda-early", "mahalanobis", "l2"),
        ("panda-early", "relative-mahalanobis", "whiten"),
        ("panda-ses", "knn", "whiten"),
        ("panda-oe", None, "none"),
    ],
)
def test_onnx_gives_the_scores_at_any_batch(
    tiny: Tiny, finish: Finish, tmp_path: Path, recipe: str, scorer: str | None, norm: str
) -> None:
    """A graph that knows one number of images; a file without the threshold or the way to make its input."""
    folder, _ = finish(tiny(recipe=recipe, scorer=scorer, feature_norm=norm, lr=0.5))
    loaded = load_run(folder.path)
    written = write_network(loaded, tmp_path / "a.onnx", "onnx")
    assert written.difference <= 1e-4 and written.images == "test images of the run"
    assert [path.name for path in tmp_path.glob("a*")] == ["a.onnx"] and written.size == written.path.stat().st_size
    session = onnxruntime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    detector = loaded.detector()
    for count in (1, 3, 7):
        images = pictures(count=count)
        (scores,) = session.run(["scores"], {"images": np.stack(images)})
        wanted = detector.anomaly_scores(images)
        np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).mean())
    about = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert about["run"] == loaded.run_id and about["side"] == 32 and about["normal_class"] == "3"
    assert about["threshold"] == detector.threshold(0.05)
    # Any other threshold, by what the file says of its edges.
    edges = about["edges"]
    for rate in (0.05, 0.2, 0.5):
        assert edges[min(math.ceil((len(edges) + 1) * (1 - rate)), len(edges)) - 1] == detector.threshold(rate)
    with pytest.raises(InvalidArgument, match="uint8"):  # images of 0 to 1 are not taken for images of 0 to 255
        session.run(["scores"], {"images": np.stack(pictures()).astype(np.float32) / 255})


def test_torchscript_gives_the_scores_and_says_how_to_use_it(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """A traced module that has one image's number in it, or that nobody knows how to feed."""
    folder, _ = finish(tiny(recipe="panda-ses", scorer="mahalanobis"))
    write_network(load_run(folder.path), tmp_path / "a.pt", "torchscript")
    extra = {network_file.EXTRA: ""}
    module = torch.jit.load(str(tmp_path / "a.pt"), _extra_files=extra)
    wanted = load_run(folder.path).detector().anomaly_scores(pictures())
    np.testing.assert_allclose(module(torch.from_numpy(np.stack(pictures()))).numpy(), wanted, rtol=1e-4)
    assert "RGB" in json.loads(extra[network_file.EXTRA])["input"]


def test_a_network_with_a_center_crop_says_so(tiny: Tiny, finish: Finish) -> None:
    """Images squeezed by the user of a file whose network wants their center."""
    folder, _ = finish(tiny(recipe="frozen", steps=None))
    detector = load_run(folder.path).detector()
    plain = description("run", detector, graph_of(detector))
    assert plain["short"] is None and plain["filter"] == "BILINEAR" and "all is squeezed" in plain["resize"]
    seen = detector.learned_.network.preprocessing  # type: ignore[union-attr]
    detector.learned_.network.preprocessing = type(seen)(seen.mean, seen.std, "bicubic", 0.875)  # type: ignore[union-attr]
    cropped = description("run", detector, graph_of(detector))
    assert cropped["short"] == 37 and cropped["filter"] == "BICUBIC"
    assert "the short side becomes 37, the center 32 x 32 is cut out" in cropped["resize"]


def test_without_its_data_a_run_is_checked_on_random_images(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """An export that needs the data set, which a run handed on does not bring; a threshold of fewer normal images."""
    Image.fromarray(pictures()[0]).save(tmp_path / "unused.png")
    data = tmp_path / "parts"
    for name in ("train/good", "test/good", "test/bad"):
        (data / name).mkdir(parents=True)
        for number, pixels in enumerate(pictures(count=6)):
            Image.fromarray(np.roll(pixels, len(name) + number, axis=0)).save(data / name / f"{number}.png")
    folder, _ = finish(tiny(recipe="frozen", steps=None, dataset=f"folder:{data}", normal_class=None))
    shutil.rmtree(data)
    written = write_network(load_run(folder.path), tmp_path / "a.pt", "torchscript")
    assert written.images == "random images"
    write_bundle(load_run(folder.path), tmp_path / "b.zip")
    known = load_run(folder.path).detector().held_out_scores
    assert len(known) == 9  # the six training images in turn, and three normal images of the test folder
    np.testing.assert_array_equal(load_bundle(tmp_path / "b.zip").held_out_scores, known)


def test_a_file_that_scores_otherwise_is_never_there(
    tiny: Tiny, finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong file left behind, or one that was right replaced by it; an error that does not say how wrong."""
    folder, _ = finish(tiny(recipe="panda-early", scorer="mean"))
    (tmp_path / "a.pt").write_bytes(b"as it was")
    right = Distance.forward
    monkeypatch.setattr(Distance, "forward", lambda self, features: 1.001 * right(self, features))
    with pytest.raises(PandaError, match=r"differs from the run's by 1\.0e-03, more than 1e-04"):
        write_network(load_run(folder.path), tmp_path / "a.pt", "torchscript")
    assert (tmp_path / "a.pt").read_bytes() == b"as it was"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.pt"]


def test_whitening_is_in_double_precision() -> None:
    """Directions without variance, blown up until float32 has no digit left."""
    rng = np.random.default_rng(1)
    mean, whitening = rng.normal(size=4) + 100, np.diag([1.0, 1.0, 1.0, 1e5])
    queries = (mean + rng.normal(size=(5, 4)) * [1, 1, 1, 1e-5]).astype(np.float32)
    found = Mahalanobis(mean, whitening)(torch.from_numpy(queries)).numpy()
    np.testing.assert_allclose(found, np.square((queries - mean) @ whitening).sum(axis=1), rtol=1e-6)
