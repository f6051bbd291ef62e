"""Bundles: all that a run's detector needs, as safetensors and JSON with their hashes, in a folder or a .zip.

    manifest.json  config.json  events.jsonl  space.safetensors  calibration.json
    checkpoints/NNNNNN.safetensors   galleries/NNNNNN.safetensors   banks/NNNNNN.safetensors
    arrays/NNNNNN.safetensors   roi.png   adapted/config.json   adapted/checkpoints/NNNNNN.safetensors

It has the shape of a run folder. Images, their names, their labels and the paths of the machine stay behind; so do the
pretrained weights, which come with their own package: the manifest holds their hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save

from panda_core.config import RunConfig
from panda_core.errors import BrokenRun, PandaError, UsageError
from panda_core.events import Evaluated, RunFinished, SegmentationEvaluated
from panda_core.export.network_file import on_cpu
from panda_core.export.opening import (
    FORMAT,
    MANIFEST,
    VERSION,
    load_bundle,
    network_of,
    sealed,
)
from panda_core.methods.options import OWN
from panda_core.methods.stopping import used_checkpoints
from panda_core.methods.table import find_recipe
from panda_core.records import append_line, cannot_write, new_folder, write_atomically, write_json
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.runs.detector import PandaDetector
from panda_core.runs.folder import RunFolder
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.segment.settings import adapted_run, tail_file

ARRAYS = ("held_out_scores", "normaliser")  # of those a run keeps at a step: a detector's
PROBES = 3  # random images on which the bundle must give the run's scores, to the bit


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle that was written: its place, its number of files and the bytes of them all."""

    path: Path
    files: int
    size: int


def write_bundle(loaded: LoadedRun, target: Path) -> Bundle:
    """Write a run's detector as a bundle: a .zip where `target` ends so, else a new folder.

    It takes its place only once it has been opened again and gives the detector's scores. A run without a detector
    raises `BrokenRun`, a folder that is not empty `UsageError`.
    """
    zipped = target.suffix.lower() == ".zip"
    taken = (zipped or any(target.iterdir())) if target.is_dir() else target.exists() and not zipped
    if taken:
        raise UsageError(f"`{target}` is there already. Name a new folder, or a file that ends in .zip.")
    detector = on_cpu(loaded).detector()
    try:
        with new_folder(target) as folder:
            _copy(loaded, detector, folder)
            manifest = _write_manifest(loaded, detector, folder)
            _check(loaded, detector, folder)
            files = [MANIFEST, *sorted(manifest["files"])]
            size = sum((folder / name).stat().st_size for name in files)
            if zipped:
                write_atomically(target, lambda file: _zip(folder, files, file))
            else:
                folder.rename(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    return Bundle(target, len(files), size)


def _copy(loaded: LoadedRun, detector: PandaDetector, folder: Path) -> None:
    """Copy into `folder` what `Kind.open` reads."""
    config = loaded.config
    RunFolder(folder).write_config(impersonal(config))
    for event in loaded.events():
        if isinstance(event, (Evaluated, SegmentationEvaluated, RunFinished)):
            append_line(RunFolder(folder).log_file, event.to_json())
    if loaded.has_maps:
        steps = [loaded.segmented[-1].step]
        files = [made(step) for step in steps for made in (loaded.folder.bank, loaded.folder.checkpoint)]
        files = [file for file in files if file.is_file()]
        _copy_adapted(config, steps[-1], folder)
    else:
        stop = find_recipe(config.recipe).stop if loaded.metrics is not None else "last"
        steps = [event.step for event in used_checkpoints(loaded.evaluated, stop, config.set.get("ses_start"))]
        galleries = [] if config.scorer == OWN else [loaded.folder.gallery(step) for step in steps]
        files = [loaded.folder.space_file, *(loaded.folder.checkpoint(step) for step in steps), *galleries]
    for file in files:
        copy = folder / file.relative_to(loaded.folder.path)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, copy)
    for step in steps:
        arrays = {name: value for name, value in loaded.arrays(step).by_name().items() if name in ARRAYS}
        file = RunFolder(folder).arrays_file(step).with_suffix(".safetensors")
        file.parent.mkdir(exist_ok=True)
        _save(file, arrays)
    write_json(RunFolder(folder).calibration_file, detector.calibration.to_json())


def _save(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    file.write_bytes(save({name: value.copy() for name, value in arrays.items()}))  # contiguous, as it has to be


def _copy_adapted(config: RunConfig, step: int, folder: Path) -> None:
    """Copy the checkpoint of the adapted run whose network a segmentation run uses, where it uses one."""
    other, tail = adapted_run(config), tail_file(config, step)
    if other is not None and tail is not None:
        copy = RunFolder(folder / "adapted")
        copy.checkpoint(step).parent.mkdir(parents=True)
        copy.write_config(impersonal(other.config().replace(roi="")))  # the network is taken, not what it looked at
        shutil.copyfile(tail, copy.checkpoint(step))


def impersonal(config: RunConfig) -> RunConfig:
    """Return a config that names no folder and no device of the machine: as of images handed over in Python."""
    options: Mapping[str, Any] = {key: _short(value) for key, value in config.set.items()}
    return config.replace(dataset=GIVEN_IMAGES, data_root="", runs_dir="", device="auto", set=options)


def _short(value: Any) -> Any:
    """Return text with only the last part of every path in it, any other value as it is."""
    return re.sub(r"[^,@:]*[/\\]", "", value) if isinstance(value, str) else value


def _write_manifest(loaded: LoadedRun, detector: PandaDetector, folder: Path) -> dict[str, Any]:
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "run": loaded.run_id,
        "dataset": _short(loaded.config.dataset),
        "recipe": loaded.config.recipe,
        "backbone": loaded.config.backbone,
        "weights_sha256": network_of(detector).weights_sha256,
        "side": loaded.config.image_size,
        "scores": "higher = more anomalous",
        "calibration": detector.calibration.summary(),
        "packages": loaded.environment.get("packages", {}),
        "files": files,
    }
    content = sealed(json.loads(json.dumps(manifest, allow_nan=False)))
    write_atomically(folder / MANIFEST, lambda file: file.write(content))
    return manifest


def _check(loaded: LoadedRun, detector: PandaDetector, folder: Path) -> None:
    """Raise `PandaError` unless the bundle's detector gives the scores and the held-out scores of the run's."""
    side = int(loaded.config.image_size or 0)
    rng = np.random.default_rng(0)
    shape = detector.shape or (side, side)
    probes = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(PROBES)]
    opened = load_bundle(folder, device="cpu")
    same = opened.calibration.to_json() == detector.calibration.to_json()
    if not same or not np.array_equal(opened.anomaly_scores(probes), detector.anomaly_scores(probes)):
        raise BrokenRun(f"The bundle of run `{loaded.run_id}` gives other scores than the run; nothing was written.")


def _zip(folder: Path, files: list[str], file: BinaryIO) -> None:
    """Write files as a zip that is the same whenever it is made; weights hardly shrink, so they are stored."""
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in files:
                member = zipfile.ZipInfo(name)  # of 1980, the format's beginning
                with open(folder / name, "rb") as source, archive.open(member, "w", force_zip64=True) as out:
                    shutil.copyfileobj(source, out)
    except zipfile.LargeZipFile as error:
        raise PandaError(f"The bundle is too large for a zip: {error}. Name a folder instead.") from error
