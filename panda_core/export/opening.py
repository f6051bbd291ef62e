"""Opening a bundle: every file is compared with the manifest before any of it is used. No dataset is needed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load

from panda_core.backbones.network import Network
from panda_core.config import RunConfig, default_data_root, default_runs_dir
from panda_core.datasets import ImageSource
from panda_core.errors import BrokenRun, UsageError
from panda_core.few_shot.scorer import ReferenceScorer
from panda_core.runs.adapt.opened import Adapted
from panda_core.runs.detector import PandaDetector
from panda_core.runs.folder import RunFolder
from panda_core.runs.given import GIVEN_REGION
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.segment.opened import Patchwise

FORMAT, VERSION = "panda-bundle", 2  # raise the version when an older program would misread what a newer one writes
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 4 << 20
LARGEST = 16 << 30  # bytes of all files, unpacked
# Whatever else a bundle names, nothing but these is read or written: no name can lead out of the folder.
_NAME = re.compile(
    r"(adapted/)?config\.json|events\.jsonl|calibration\.json|space\.safetensors|roi\.png"
    r"|(checkpoints|galleries|banks|arrays|adapted/checkpoints)/[0-9]{6,7}\.safetensors"
)


class BundleFolder(RunFolder):
    """A bundle as the run folder that it was made from."""

    def __init__(self, path: Path, run_id: str, device: str) -> None:
        super().__init__(path)
        self._run_id, self._device = run_id, device

    @property
    def run_id(self) -> str:
        return self._run_id

    def config(self) -> RunConfig:
        config = super().config()
        options = dict(config.set)
        if options.get("adapted"):
            options["adapted"] = str(self.path / "adapted")
        roots = {"data_root": default_data_root(), "runs_dir": default_runs_dir()}
        return config.replace(**roots, device=self._device, set=options)

    def normaliser(self, step: int) -> float:
        return float(_read(self.arrays_file(step).with_suffix(".safetensors"))["normaliser"])


def _read(file: Path) -> dict[str, np.ndarray]:
    try:
        arrays: dict[str, np.ndarray] = load(file.read_bytes())
    except Exception as error:  # safetensors has its own error type for each kind of damage
        raise BrokenRun(f"`{file.name}` of the bundle cannot be read: {error}. Export the run again.") from error
    return arrays


def is_bundle(path: Path) -> bool:
    """Return whether a path looks like a bundle, a folder or a .zip, and not like a run."""
    return (path / MANIFEST).is_file() or (path.is_file() and path.suffix.lower() == ".zip")


def load_bundle(
    path: str | os.PathLike[str], *, references: Sequence[ImageSource] | None = None, device: str = "auto"
) -> PandaDetector:
    """Return the detector of a bundle, a folder or a .zip, that `python -m panda_core export` wrote.

    references: normal images of a new class, for a bundle of `generalize` only; else its own are used. `BrokenRun` for
    a file that is missing, changed or not named in the manifest, or other pretrained weights than the run's;
    `UsageError` for what is no bundle, or one of a newer version.
    """
    with _as_folder(Path(path)) as folder:
        manifest = verified(folder, str(path))
        loaded = LoadedRun(BundleFolder(folder, str(manifest["run"]), device))
        try:
            detector = loaded.detector() if references is None else loaded.generalizer(references)
        except (KeyError, IndexError, TypeError) as error:
            raise BrokenRun(f"Bundle `{path}` lacks {error}. Export the run again.") from error
    if network_of(detector).weights_sha256 != manifest["weights_sha256"]:
        raise BrokenRun(
            f"Bundle `{path}` was made with other weights of `{manifest['backbone']}` than those of this machine. "
            "Install the version that requirements.txt names."
        )
    if detector.config.set.get("adapted"):  # its place is gone with the unpacked files
        detector.config = detector.config.replace(set={**detector.config.set, "adapted": "adapted"})
    if detector.region is not None:  # so is the file of the region
        detector.roi = detector.region.marked
        detector.config = detector.config.replace(roi=GIVEN_REGION)
    return detector


def network_of(detector: PandaDetector) -> Network:
    """Return the network of a detector that has learned."""
    learned = detector.learned_
    if isinstance(learned, Adapted):
        return learned.network
    if isinstance(learned, Patchwise):
        return learned.model.model.network if isinstance(learned.model, ReferenceScorer) else learned.model.network
    raise UsageError("This detector has learned nothing yet. Call `fit(images)`, or use `load_run(run).detector()`.")


def sealed(manifest: dict[str, Any]) -> bytes:
    """Return the bytes of a manifest: its JSON with, as its last entry, the SHA-256 of the JSON without that."""
    digest = hashlib.sha256(_text(manifest)).hexdigest()
    return _text({**manifest, "sha256": digest})


def _text(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()


def verified(folder: Path, shown: str) -> dict[str, Any]:
    """Return the manifest of a bundle's folder once everything in it has proved to be what the manifest says."""
    manifest = _read_manifest(folder, shown)
    files = manifest["files"]
    present = {item.relative_to(folder).as_posix() for item in folder.rglob("*") if not item.is_dir()} - {MANIFEST}
    for name in sorted(set(files) | present):
        if name not in files or not _NAME.fullmatch(name):
            raise BrokenRun(
                f"Bundle `{shown}` holds `{name}`, which belongs to no bundle. Remove it, or get the bundle anew."
            )
        if name not in present:
            raise BrokenRun(f"Bundle `{shown}` lacks `{name}`. Get it anew.")
        with open(folder / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != files[name]["sha256"]:
                raise BrokenRun(
                    f"`{name}` in bundle `{shown}` is not what was exported: its SHA-256 differs. Get it anew."
                )
    return manifest


def _read_manifest(folder: Path, shown: str) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file() or file.stat().st_size > LARGEST_MANIFEST:
        raise UsageError(f"`{shown}` is no bundle: it has no {MANIFEST}. `python -m panda_core export` writes one.")
    content = file.read_bytes()
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BrokenRun(f"The {MANIFEST} of bundle `{shown}` is damaged: {error}. Get it anew.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UsageError(f"`{shown}` is no bundle: its {MANIFEST} is of another format. Export the run again.")
    version = manifest.get("version")
    if isinstance(version, int) and version > VERSION:
        raise UsageError(
            f"Bundle `{shown}` is of version {version}; this program reads versions up to {VERSION}. Update it."
        )
    if isinstance(version, int) and version < VERSION:
        raise UsageError(
            f"Bundle `{shown}` is of version {version}, whose thresholds this program no longer reads. "
            "Export the run again."
        )
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    if version != VERSION or sealed(rest) != content:
        raise BrokenRun(f"The {MANIFEST} of bundle `{shown}` is not what was exported: it was changed. Get it anew.")
    return manifest


@contextlib.contextmanager
def _as_folder(path: Path) -> Iterator[Path]:
    """Yield the folder of a bundle; a zip is unpacked into a temporary one."""
    if path.is_dir():
        yield path
        return
    if not path.is_file():
        raise UsageError(f"There is no bundle `{path}`. `python -m panda_core export RUN {path}` writes one.")
    with tempfile.TemporaryDirectory(prefix="panda-bundle-") as place:
        try:
            _unpack(path, Path(place))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
            raise BrokenRun(f"`{path}` cannot be read as a zip: {error}. Get it anew.") from error
        yield Path(place)


def _unpack(path: Path, folder: Path) -> None:
    """Unpack a zip whose every member is one that a bundle may hold, once; else `BrokenRun`, and nothing is written."""
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        names = [member.filename for member in members]
        for name in names:
            if name != MANIFEST and not _NAME.fullmatch(name):
                raise BrokenRun(f"Bundle `{path}` holds `{name[:80]}`, which belongs to no bundle. Get it anew.")
        if len(set(names)) < len(names) or sum(member.file_size for member in members) > LARGEST:
            raise BrokenRun(f"Bundle `{path}` holds a name twice, or more than {LARGEST >> 30} GiB. Get it anew.")
        for member in members:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(target, "wb") as out:
                shutil.copyfileobj(source, out)
