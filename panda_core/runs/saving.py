"""What a run writes into its folder besides the log: the split, the environment, arrays, tensors and maps."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from panda_core.datasets import split_digest
from panda_core.records import write_arrays, write_json
from panda_core.runs.adapt.layers import FISHER, summed_by_layer
from panda_core.runs.adapt.loop import Final, Snapshot, Start
from panda_core.runs.data import content_of
from panda_core.runs.folder import RunFolder
from panda_core.runs.plan import Plan, SegmentPlan
from panda_core.runs.segment.loop import SegmentSnapshot, SegmentStart
from panda_core.runs.tensors import write_tensors

Saved = Start | Snapshot | Final | SegmentStart | SegmentSnapshot
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "faiss-cpu", "safetensors", "pillow")


def save(plan: Plan | SegmentPlan, folder: RunFolder, item: Saved) -> None:
    """Write down what is no event."""
    if isinstance(item, Start):
        inputs = item.inputs
        write_tensors(folder.path / "space.safetensors", item.space.tensors())
        skipped = (*inputs.train.skipped, *inputs.test.skipped)
        _save_split(
            plan,
            folder,
            inputs.train.image_rows,
            inputs.test.image_rows,
            inputs.is_anomaly,
            skipped,
            {
                "fitted": inputs.fitted.tolist(),
                "held_out": inputs.held_out.tolist(),
                "reserved": np.nonzero(np.isin(inputs.train.image_rows, plan.task.reserved))[0].tolist(),
            },
        )
        write_json(folder.path / "environment.json", environment(plan, inputs.fisher_source))
        if inputs.penalty is not None and inputs.penalty.importance is not None:
            sums = {name: float(value.sum()) for name, value in inputs.penalty.importance.items()}
            write_json(folder.path / FISHER, summed_by_layer(sums))
    elif isinstance(item, SegmentStart):
        _save_split(
            plan,
            folder,
            item.train,
            item.test,
            item.is_anomaly,
            item.skipped,
            {
                "fitted": item.bank.tolist(),
                "held_out": item.held_out.tolist(),
                "reserved": np.nonzero(np.isin(item.train, plan.task.reserved))[0].tolist(),
                "has_mask": item.has_mask.tolist(),
            },
        )
        write_json(folder.path / "environment.json", environment(plan, None))
    elif isinstance(item, Snapshot):
        _save_snapshot(folder, item)
    elif isinstance(item, SegmentSnapshot):
        _save_segmented(folder, item)
    else:
        _save_final(folder, item)


def _save_split(
    plan: Plan | SegmentPlan,
    folder: RunFolder,
    train: np.ndarray,
    test: np.ndarray,
    is_anomaly: np.ndarray,
    skipped: Sequence[tuple[str, str]],
    parts: dict[str, list[int]],
) -> None:
    """Write `split.json`: names of the images that take part and their rows in the task; `parts` of those rows."""
    task = plan.task
    write_json(
        folder.path / "split.json",
        {
            "train": [task.train.names[row] for row in train],
            "train_rows": train.tolist(),
            "test": [task.test.names[row] for row in test],
            "test_rows": test.tolist(),
            "is_anomaly": is_anomaly.tolist(),
            "skipped": [list(pair) for pair in skipped],
            "content": content_of(task),
            **parts,
        },
    )


def environment(plan: Plan | SegmentPlan, fisher: str | None) -> dict[str, object]:
    """Return what the result depends on besides the config."""
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "device": str(plan.device),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "weights_sha256": plan.network.weights_sha256,
        "train_sha256": split_digest(plan.task.train),
        "test_sha256": split_digest(plan.task.test),
        "fisher": fisher,
        "started": time.time(),
    }


def _save_snapshot(folder: RunFolder, snapshot: Snapshot) -> None:
    name = f"{snapshot.step:06d}"
    write_arrays(folder.path / "arrays" / f"{name}.npz", snapshot.arrays)
    write_tensors(folder.path / "galleries" / f"{name}.safetensors", {"features": snapshot.gallery})
    write_tensors(momentum_file(folder, snapshot.step), snapshot.momentum)
    write_tensors(folder.path / "checkpoints" / f"{name}.safetensors", snapshot.tail)


def _save_segmented(folder: RunFolder, snapshot: SegmentSnapshot) -> None:
    name = f"{snapshot.step:06d}"
    write_arrays(folder.path / "maps" / f"{name}.npz", snapshot.maps)
    write_tensors(folder.path / snapshot.kept_in / f"{name}.safetensors", snapshot.model)
    write_arrays(folder.path / "arrays" / f"{name}.npz", snapshot.arrays)
    # The scores that count are those of the last checkpoint.
    write_json(folder.path / "calibration.json", snapshot.calibration.to_json())
    scores = snapshot.arrays["scores"]
    final = {"scores": scores, "step": np.full(len(scores), snapshot.step)}
    write_arrays(folder.path / "arrays" / "final.npz", {**final, "held_out_scores": snapshot.arrays["held_out_scores"]})


def _save_final(folder: RunFolder, final: Final) -> None:
    arrays = {"scores": final.scores, "step": final.step, "held_out_scores": final.held_out_scores}
    write_arrays(folder.path / "arrays" / "final.npz", arrays)
    write_json(folder.path / "calibration.json", final.calibration.to_json())
    used = {f"{step:06d}" for step in final.steps_used}
    for path in (folder.path / "galleries").glob("*.safetensors"):
        if path.stem not in used:  # only a detector needs them, and it needs these
            path.unlink(missing_ok=True)


def momentum_file(folder: RunFolder, step: int) -> Path:
    return folder.path / "momentum" / f"{step:06d}.safetensors"
