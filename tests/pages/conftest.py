"""Fixtures for page tests: an empty folder for runs, small synthetic runs, and a way to open a page."""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402
from streamlit.components.v2 import manifest_scanner  # noqa: E402
from streamlit.testing.v1 import AppTest  # noqa: E402

from panda_core.config import RunConfig  # noqa: E402
from panda_core.events import (  # noqa: E402
    CacheProgress,
    Evaluated,
    ImagesSkipped,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    SegmentationEvaluated,
    Stepped,
)
from panda_core.records import write_arrays, write_json  # noqa: E402
from panda_core.runs.folder import RunFolder  # noqa: E402
from panda_core.runs.kinds import open_task, resolve  # noqa: E402

STEPS = (0, 10, 20)
NORMALS, ANOMALIES = 4, 9
Open = Callable[..., AppTest]
MakeRun = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for runs that no other test sees; caches of the pages start empty."""
    monkeypatch.setenv("PANDA_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PANDA_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("panda_core.runs.launch._spawn", _no_process)
    monkeypatch.setattr("panda_core.runs.launch._waiting", None)  # or the stand-in would outlive the test
    st.cache_data.clear()
    st.cache_resource.clear()
    yield tmp_path / "runs"


def _no_process(*arguments: str) -> Any:
    """Stand in for the process of a run, which page tests do without: it takes a path and does nothing."""
    return SimpleNamespace(poll=lambda: None, stdin=io.StringIO())


@pytest.fixture(scope="session")
def _components() -> Iterator[None]:
    """Look for the components of installed packages once, not for every page that is opened."""
    with pytest.MonkeyPatch.context() as patch:
        scan = manifest_scanner.scan_component_manifests
        patch.setattr(manifest_scanner, "scan_component_manifests", functools.cache(scan))
        yield


@pytest.fixture
def open_page(_components: None) -> Open:
    """(page, query parameters) -> the page after its first run, which must not have raised: a visit by its address."""

    def open_(page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "main.py"), default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        at.switch_page(f"pages/{page}.py").run()
        assert not at.exception, [error.value for error in at.exception]
        handed_over = page == "adapt" and "run" in query  # to the film of that run
        assert handed_over or at._finished_page_script_hash == at._page_hash, f"another page than {page} was run"
        return at

    return open_


@pytest.fixture
def make_run(runs_dir: Path) -> MakeRun:
    """(state, **config) -> a run folder as the computing process would leave it."""

    def make(state: str = "finished", *, anomalies: bool = True, **config: Any) -> RunFolder:
        settings = {"dataset": "digits", "normal_class": "3", "steps": STEPS[-1], "test_limit": 40} | config
        folder = RunFolder.create(resolve(RunConfig(runs_dir=str(runs_dir), **settings)))
        write_run(folder, state, anomalies=anomalies)
        return folder

    return make


def write_run(folder: RunFolder, state: str, *, anomalies: bool = True) -> None:
    """Fill a run folder with three evaluations of made-up numbers and the lines of its state."""
    config = folder.config()
    rng = np.random.default_rng(0)
    is_anomaly = np.r_[np.zeros(NORMALS, int), np.ones(ANOMALIES if anomalies else 0, int)]
    write_split(folder, is_anomaly)
    folder.append(RunStarted(run_id=folder.run_id, config=config.to_json()))
    folder.append(CacheProgress(split="train", done=20, total=20))
    folder.append(CacheProgress(split="test", done=len(is_anomaly), total=len(is_anomaly)))
    folder.append(ImagesSkipped(split="test", count=1, names=["<b>bad</b>.png"], reasons=["It is empty."]))
    for step in STEPS:
        write_arrays(folder.arrays_file(step), arrays_of(rng, is_anomaly, step))
        folder.append(evaluated(step, anomalies))
        folder.append(Stepped(step=step + 1, images_seen=32, loss=0.1))
    if state == "finished":
        final = arrays_of(rng, is_anomaly, STEPS[-1])
        steps = np.full(len(is_anomaly), STEPS[-1])
        kept = {"scores": final["scores"], "held_out_scores": final["held_out_scores"], "step": steps}
        write_arrays(folder.arrays_file("final"), kept)
        folder.append(RunFinished(metrics=metrics_of(anomalies, len(is_anomaly)), seconds=12.0))
    elif state == "stopped":
        folder.append(RunStopped(reason="Stopped on request after step 20."))
    elif state == "failed":
        folder.append(RunFailed(reason="The memory is full. Use a smaller `--batch-size`."))
    reasons = {"failed": "The memory is full. Use a smaller `--batch-size`.", "stopped": "Stopped on request."}
    folder.write_state(state, reasons.get(state, ""))


@pytest.fixture
def make_maps(runs_dir: Path) -> MakeRun:
    """(state, **config) -> a segmentation run as the computing process would leave it: see `write_maps`."""

    def make(state: str = "finished", *, steps: tuple[int, ...] = (0,), held_out: int = 20, **config: Any) -> RunFolder:
        settings = {"dataset": "synthetic:digits", "normal_class": "3", "image_size": 32} | config
        limits = {"train_limit": 8, "test_limit": 12}
        folder = RunFolder.create(resolve(RunConfig(recipe="patchcore", runs_dir=str(runs_dir), **limits | settings)))
        write_maps(folder, state, steps, held_out)
        return folder

    return make


HOT = (1, 2)  # row and column of the patch that is hot in every anomaly
GRID = 4


def write_maps(folder: RunFolder, state: str, steps: tuple[int, ...], held_out: int) -> None:
    """Fill a run folder with maps of 4 x 4 patches: 1 everywhere, and 3 at one patch of each anomaly."""
    task, rng = open_task(folder.config()), np.random.default_rng(0)
    count = len(task.test)
    write_json(
        folder.path / "split.json",
        {
            "train": list(task.train.names),
            "train_rows": list(range(len(task.train))),
            "fitted": list(range(len(task.train))),
            "held_out": [],
            "test": list(task.test.names),
            "test_rows": list(range(count)),
            "is_anomaly": task.is_anomaly.tolist(),
            "has_mask": [task.masks is not None] * count,
            "skipped": [],
        },
    )
    folder.append(RunStarted(run_id=folder.run_id, config=folder.config().to_json()))
    for split in ("train", "test"):
        folder.append(CacheProgress(split=split, done=count, total=count))
    for step in steps:
        grids = rng.normal(1.0, 0.05, (count, GRID, GRID)).astype(np.float32)
        grids[task.is_anomaly == 1, HOT[0], HOT[1]] = 3.0 + step / 100
        normal = rng.normal(1.0, 0.05, (held_out, GRID, GRID)).astype(np.float32)
        parts = {
            f"distances_{group}": np.sort(rng.random((count, side, side, 3)), axis=-1).astype(np.float32)
            for group, side in enumerate((GRID, GRID // 2))
        }
        parts |= {
            f"origins_{group}": rng.integers(0, [len(task.train), 1, side, side], (count, side, side, 3, 4))
            for group, side in enumerate((GRID, GRID // 2))
        }
        write_arrays(folder.maps_file(step), {"grids": grids, "held_out_grids": normal, **parts})
        arrays = {
            "scores": grids.max(axis=(1, 2)),
            "held_out_scores": normal.max(axis=(1, 2)) if held_out else np.empty(0, np.float32),
            "normaliser": np.array(1.0),
            "peaks": grids.max(axis=(1, 2)),
        }
        write_arrays(folder.arrays_file(step), arrays)
        folder.append(segmented(step))
    if state == "finished":
        kinds = {"blob": {"images": 3, "image_auroc": 0.912345678, "pixel_auroc": None, "aupro": None}}
        metrics = {"auroc": 0.987654321, "recall": 0.9731234, "kinds": kinds, "unadapted_auroc": 0.987654321}
        folder.append(RunFinished(metrics=metrics, seconds=3.0))
    folder.write_state(state, "Stopped on request." if state == "stopped" else "")


def segmented(step: int) -> SegmentationEvaluated:
    return SegmentationEvaluated(
        step=step,
        image_auroc=0.987654321,
        image_auroc_low=0.9,
        image_auroc_high=1.0,
        pixel_auroc=0.912345678,
        aupro=0.712345678,
        pixel_average_precision=0.312345678,
        oracle_pixel_f1=None,
        seconds=1.0,
    )


def write_split(folder: RunFolder, is_anomaly: np.ndarray) -> None:
    """List the images of a run as the loop does: names in the order of the arrays."""
    task = digits_task(folder)
    rows = np.r_[np.nonzero(task.is_anomaly == 0)[0][:NORMALS], np.nonzero(task.is_anomaly == 1)[0][:ANOMALIES]]
    if not is_anomaly.any():
        rows = rows[:NORMALS]
    # Rows that are not ascending would not be made by the loop; these are, so they are sorted with their labels.
    order = np.argsort(rows)
    is_anomaly[:] = is_anomaly[order]
    write_json(
        folder.path / "split.json",
        {
            "train": list(task.train.names)[:20],
            "train_rows": list(range(20)),
            "fitted": list(range(18)),
            "held_out": [18, 19],
            "test": [task.test.names[row] for row in rows[order]],
            "test_rows": rows[order].tolist(),
            "is_anomaly": is_anomaly.tolist(),
            "skipped": [],
        },
    )


def digits_task(folder: RunFolder) -> Any:
    from panda_core.datasets import find_dataset, one_class_task

    config = folder.config()
    splits = find_dataset("digits").open(Path(config.data_root), str(config.normal_class), config.seed)
    return one_class_task(splits, train_limit=config.train_limit, test_limit=config.test_limit, seed=config.seed)


def arrays_of(rng: np.random.Generator, is_anomaly: np.ndarray, step: int) -> dict[str, np.ndarray]:
    """Return the arrays of a step: anomalies score higher, less so later on."""
    scores = rng.normal(1.0, 0.2, len(is_anomaly)) + is_anomaly * (2.0 - step / 20)
    return {
        "scores": scores.astype(np.float32),
        "held_out_scores": rng.normal(1.0, 0.2, 2).astype(np.float32),
        "neighbours": rng.integers(0, 20, (len(is_anomaly), 5)).astype(np.int32),
        "neighbour_distances": np.sort(rng.random((len(is_anomaly), 5)), axis=1),
        "projection_train": rng.normal(0, 1, (18, 2)),
        "projection_test": rng.normal(0, 1, (len(is_anomaly), 2)),
        "center_distances": rng.random(len(is_anomaly)),
        "spread": np.array(0.4),
        "normaliser": np.array(1.0),
        "singular_values": np.sort(rng.random(12))[::-1].copy(),
    }


def evaluated(step: int, anomalies: bool = True) -> Evaluated:
    value = 0.91234567891 - step / 100 if anomalies else None
    return Evaluated(
        step=step,
        images_seen=step * 32,
        auroc=value,
        auroc_low=None if value is None else value - 0.05,
        auroc_high=None if value is None else value + 0.05,
        center_auroc=value,
        spread=0.4 - step / 100,
        normal_ratio=1.05,
        anomalous_ratio=3.0 - step / 20 if anomalies else None,
        effective_rank=70.0 - step,
        alarm="adapting",
        seconds=0.1,
    )


def metrics_of(anomalies: bool, images: int) -> dict[str, Any]:
    value = 0.71234567891 if anomalies else None
    return {
        "auroc": value,
        "auroc_low": 0.65 if anomalies else None,
        "auroc_high": 0.77 if anomalies else None,
        "unadapted_auroc": 0.91234567891 if anomalies else None,
        "stop_step": 20,
        "oracle_auroc": 0.91234567891 if anomalies else None,
        "oracle_step": 0 if anomalies else None,
        "train_images": 20,
        "held_out_images": 2,
        "test_images": images,
        "skipped_images": 1,
    }


def as_downloaded(data: Any) -> bytes:
    """Return what a browser gets of what a download button was given; Streamlit refuses some kinds of files."""
    from streamlit.runtime.download_data_util import convert_data_to_bytes_and_infer_mime

    return convert_data_to_bytes_and_infer_mime(data, TypeError(f"{type(data)} cannot be downloaded"))[0]


def component_data(at: AppTest, name: str) -> list[dict[str, Any]]:
    """Return what the components called `name` on a page were given, in order."""
    return [json.loads(found.proto.json) for found in at.get("bidi_component") if found.proto.component_name == name]


def tiles(at: AppTest) -> list[dict[str, Any]]:
    """Return the pictures of the first gallery of a page."""
    found: list[dict[str, Any]] = component_data(at, "panda_gallery")[0]["tiles"]
    return found
