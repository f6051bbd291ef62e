"""What people say of images that they have dropped, after the drop: this one is bad, that one is normal after all."""

from __future__ import annotations

import dataclasses
import filecmp
import re
import shutil
from collections import Counter
from pathlib import Path

from panda_core.datasets.own.folder import MASKS
from panda_core.datasets.own.layout import ANOMALOUS, GOOD, IMAGES, NAMES
from panda_core.errors import PandaError, UsageError
from panda_core.records import cannot_write, write_json
from panda_core.runs.uploads import ABOUT, Upload, check_free, find_upload

UNMARKED = "unmarked"  # in the folder of an upload: NUMBER/KIND/ for each image that was an anomaly, with its masks


def is_normal(place: str) -> bool:
    """Return whether the image at a place of an upload counts as normal."""
    return place.startswith(GOOD)


def correct(upload: Upload, place: str, *, is_anomaly: bool) -> Upload:
    """Return the upload once its image at `place` counts as anomalous, or as normal.

    The masks of an anomaly that is normal now are put aside, and its kind is noted; said to be anomalous again, it has
    both back. Refused while a queued or running run needs the images; a run that is finished no longer fits them: learn
    again.
    """
    names = upload.names()
    if place not in names:
        raise UsageError(f"There is no image `{place}` in these images. Look at the page again.")
    check_free(upload.token)
    if is_normal(place) != is_anomaly:
        return upload
    aside = upload.path / UNMARKED / Path(place).stem  # of an image that is normal, by its name there
    kind = next((path.name for path in aside.glob("*")), ANOMALOUS) if is_anomaly else Path(place).parent.name
    target = _free_place(names, f"{kind}/" if is_anomaly else GOOD)
    stem = Path(target).stem
    marked = upload.images / MASKS / kind
    try:
        (upload.images / target).parent.mkdir(parents=True, exist_ok=True)
        (upload.images / place).rename(upload.images / target)
        if is_anomaly:
            _move_masks(aside / kind, "", marked, stem)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            _move_masks(marked, Path(place).stem, upload.path / UNMARKED / stem / kind, "")
    except OSError as error:
        raise cannot_write(upload.images, error) from error
    names[target] = names.pop(place)
    return _recorded(upload, names)


def _move_masks(source: Path, old: str, target: Path, new: str) -> None:
    """Move the masks of the image whose names begin with `old` into another folder, where they begin with `new`."""
    target.mkdir(parents=True, exist_ok=True)
    for mask in source.glob(f"{old}_mask*.png"):
        mask.rename(target / f"{new}{mask.name.removeprefix(old)}")


def add(upload: Upload, other: Upload, place: str, *, is_anomaly: bool) -> Upload:
    """Return the upload once it holds the image at `place` of another one as well, as an anomaly or as normal.

    Where it holds the same picture already, that one is corrected: an anomaly that is a copy of a normal image would be
    left out, and the normal one be learned from. Dropped pictures are all written alike: the same are equal files.
    """
    judged, names = other.names(), upload.names()
    if place not in judged:
        raise UsageError(f"There is no image `{place}` in these images. Look at the page again.")
    check_free(upload.token)
    try:
        files = ((known, upload.images / known) for known in names)
        twin = next((known for known, file in files if filecmp.cmp(file, other.images / place, shallow=False)), None)
    except OSError as error:
        raise cannot_write(upload.images, error) from error
    if twin is not None:
        return correct(upload, twin, is_anomaly=is_anomaly)
    target = _free_place(names, f"{ANOMALOUS}/" if is_anomaly else GOOD)
    try:
        (upload.images / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(other.images / place, upload.images / target)
    except OSError as error:
        raise cannot_write(upload.images, error) from error
    return _recorded(upload, names | {target: judged[place]})


def _free_place(names: dict[str, str], folder: str) -> str:
    """Return a place, that nothing has, for one more image in a folder, which ends in a slash."""
    numbers = [int(match[1]) for place in names if (match := re.fullmatch(rf"{re.escape(folder)}(\d+)\.png", place))]
    return f"{folder}{max(numbers, default=-1) + 1:04d}.png"


def _recorded(upload: Upload, names: dict[str, str]) -> Upload:
    """Write the names and counts of an upload down, and return it as it is now."""
    kinds = Counter(place.partition("/")[0] for place in names if not is_normal(place))
    masks = sum(1 for _ in (upload.path / IMAGES / MASKS).rglob("*.png"))
    normals = len(names) - kinds.total()
    understood = dataclasses.replace(
        upload.understood, normals=normals, anomalies=dict(sorted(kinds.items())), masks=masks
    )
    write_json(upload.path / NAMES, names)
    write_json(upload.path / ABOUT, dataclasses.asdict(understood))
    found = find_upload(upload.token)
    if found is None:
        raise PandaError("These images have been removed meanwhile. Drop them again.")
    return found
