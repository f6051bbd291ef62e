"""Which of the dropped images is what, and where it goes: normal, an anomaly of some kind, a mask of one.

What is what is told by where it was dropped, and in one drop by the names of its folders: `normal`, `good` or `ok`
holds normal images, `ground_truth` or `masks` masks, every other folder beside these a kind of anomaly. Files without
folders, or in one folder alone, are normal. Which anomaly a mask belongs to, `panda_core.datasets.own.matching` says.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from pathlib import Path

import numpy as np
from PIL import Image

from panda_core.datasets.io.masks import turn_of_mask
from panda_core.datasets.io.samples import turned
from panda_core.datasets.own.folder import MASKS, NORMAL_NAMES, VALIDATION
from panda_core.datasets.own.matching import is_mask_folder, is_named_like_a_mask, match_masks, plain
from panda_core.errors import UnreadableImage, UsageError
from panda_core.records import write_json

IMAGES, NAMES = "images", "names.json"  # in the folder of an upload
GOOD = "good/"  # the folder of normal images, in `IMAGES`
NORMAL, ANOMALOUS, MASK, BY_FOLDER, CHECKED = "normal", "anomalous", "mask", "by folder", "checked"
_SPLITS = ("train", "test")


@dataclasses.dataclass
class Kept:
    """An image on its way: its role and name, where it was put, and the size it had.

    size: (width, height) upright. stored, turn: the same as the file has it, and its EXIF orientation.
    """

    role: str
    name: str
    path: Path
    size: tuple[int, int]
    digest: bytes
    kind: str = ""
    stored: tuple[int, int] = (0, 0)
    turn: int = 1


def is_mask(role: str, name: str) -> bool:
    """Return whether what was dropped as `role` under `name` is a mask."""
    by_name = _mask_folder(_folders(name)) is not None or is_named_like_a_mask(name)
    return role == MASK or (role == BY_FOLDER and by_name)


def _folders(name: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", name)[:-1] if part not in ("", ".")]


def _mask_folder(folders: list[str]) -> int | None:
    return next((at for at, part in enumerate(folders) if is_mask_folder(part) or plain(part) == "mask"), None)


def _tell_apart(kept: list[Kept]) -> None:
    """Set role and kind of what was dropped together, by the names of the folders."""
    together = [item for item in kept if item.role == BY_FOLDER]
    others: list[Kept] = []
    for item in together:
        folders = _folders(item.name)
        if is_mask(item.role, item.name):
            item.role = MASK
        elif any(part.casefold() in NORMAL_NAMES for part in folders):
            item.role = NORMAL
        else:
            others.append(item)
    names = [_folders(item.name) for item in others]
    if not any(item.role == NORMAL for item in together):
        own = {"/".join(folders) for folders in names}
        if len(own) > 1:
            listed = ", ".join(f"`{name or 'no folder'}`" for name in sorted(own)[:6])
            raise UsageError(
                f"These images lie in several folders ({listed}), of which none is called normal, good or ok. Rename "
                "the one with normal images, or drop normal and anomalous images into fields of their own."
            )
        for item in others:
            item.role = NORMAL
        return
    for item, folders in zip(others, names, strict=True):
        named = [part for part in folders if part.casefold() not in _SPLITS]
        item.role, item.kind = ANOMALOUS, named[-1] if named else ANOMALOUS


@dataclasses.dataclass(frozen=True)
class Arranged:
    """How many masks were matched; the names of loose ones, and (name, reason) of those that do not fit their image."""

    masks: int
    loose: list[str]
    unfit: list[tuple[str, str]]


def arrange(upload: Path, kept: list[Kept]) -> Arranged:
    """Move all images to where they belong and list their names."""
    dropped_as_masks = {id(item) for item in kept if item.role == MASK}
    _tell_apart(kept)
    for item in kept:
        if item.role == ANOMALOUS and not item.kind:
            folders = _folders(item.name)
            item.kind = folders[-1] if folders else ANOMALOUS
    kinds: dict[str, str] = {}
    for item in kept:
        if item.role == ANOMALOUS and item.kind not in kinds:
            kinds[item.kind] = _folder_of(item.kind, set(kinds.values()))
    places: dict[str, str] = {}
    counts: collections.Counter[str] = collections.Counter()
    for item in kept:
        if item.role == MASK:
            continue
        folder = {NORMAL: GOOD, CHECKED: ""}.get(item.role) if item.role != ANOMALOUS else f"{kinds[item.kind]}/"
        place = f"{folder}{counts[str(folder)]:04d}.png"
        counts[str(folder)] += 1
        _move(item.path, upload / IMAGES / place)
        places[place] = item.name
        item.path = upload / IMAGES / place
    write_json(upload / NAMES, places)
    masks = [item for item in kept if item.role == MASK]
    return _match_masks(upload, masks, [item for item in kept if item.role == ANOMALOUS], dropped_as_masks)


def _match_masks(upload: Path, masks: list[Kept], anomalies: list[Kept], by_name: set[int]) -> Arranged:
    """Move each mask beside its anomaly; remove the others. by_name: ids of masks whose folders may mean nothing."""
    images = [_slashed(item.name) for item in anomalies]
    numbers: collections.Counter[Path] = collections.Counter()
    loose, unfit = [], []
    for mask in masks:
        name = _slashed(mask.name)
        tried = [name, name.rpartition("/")[2]] if id(mask) in by_name else [name]
        rows = [row for place in tried for row in _row_of(place, images)][:1]
        if not rows:
            loose.append(mask.name)
            mask.path.unlink()
            continue
        image = anomalies[rows[0]]
        try:
            turn = turn_of_mask(mask.size, image.stored, image.turn, mask.name)
        except UnreadableImage as error:
            unfit.append((mask.name, str(error)))
            mask.path.unlink()
            continue
        if turn != 1:
            with Image.open(mask.path) as stored:
                pixels = turned(np.asarray(stored), turn)
            Image.fromarray(np.ascontiguousarray(pixels)).save(mask.path, "PNG", compress_level=1)
        numbers[image.path] += 1
        number = f"_{numbers[image.path]}" if numbers[image.path] > 1 else ""
        _move(mask.path, upload / IMAGES / MASKS / image.path.parent.name / f"{image.path.stem}_mask{number}.png")
    return Arranged(len(masks) - len(loose) - len(unfit), loose, unfit)


def _row_of(place: str, images: list[str]) -> list[int]:
    """Return the row of the image that the mask called `place` belongs to, or none."""
    files = match_masks([place], images, [True] * len(images)).files
    return [row for row, found in enumerate(files) if found]


def _slashed(name: str) -> str:
    return "/".join([*_folders(name), re.split(r"[/\\]", name)[-1]])


def _folder_of(kind: str, taken: set[str]) -> str:
    """Return a folder's name for a kind of anomaly, made of plain letters alone."""
    slug = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")[:40]
    if not slug or is_mask_folder(slug) or slug in (*NORMAL_NAMES, *_SPLITS, VALIDATION):
        slug = f"kind-{slug}".strip("-")
    number, free = 2, slug
    while free in taken:
        free, number = f"{slug}-{number}", number + 1
    return free


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
