"""Which of the dropped images is what, and where it goes: normal, an anomaly of some kind, a mask of one.

What is what is told by where it was dropped, and in one drop by the names of its folders: `normal`, `good` or `ok`
holds normal images, `ground_truth` or `masks` masks, every other folder beside these a kind of anomaly. Files without
folders, or in one folder alone, are normal. A mask belongs to the anomaly of its name, with or without `_mask`.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from pathlib import Path

from panda_core.datasets.own.folder import MASKS, NORMAL_NAMES
from panda_core.errors import UsageError
from panda_core.records import write_json

IMAGES, NAMES = "images", "names.json"  # in the folder of an upload
NORMAL, ANOMALOUS, MASK, BY_FOLDER, CHECKED = "normal", "anomalous", "mask", "by folder", "checked"
_MASK_FOLDERS = (MASKS, "masks", "mask")
_SPLITS = ("train", "test")


@dataclasses.dataclass
class Kept:
    """An image on its way: its role and name, where it was put, and the size it had."""

    role: str
    name: str
    path: Path
    size: tuple[int, int]
    digest: bytes
    kind: str = ""


def is_mask(role: str, name: str) -> bool:
    """Return whether what was dropped as `role` under `name` is a mask."""
    return role == MASK or (role == BY_FOLDER and _mask_folder(_folders(name)) is not None)


def _folders(name: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", name)[:-1] if part not in ("", ".")]


def _mask_folder(folders: list[str]) -> int | None:
    return next((place for place, part in enumerate(folders) if part.casefold() in _MASK_FOLDERS), None)


def _tell_apart(kept: list[Kept]) -> None:
    """Set role and kind of what was dropped together, by the names of the folders."""
    together = [item for item in kept if item.role == BY_FOLDER]
    others: list[Kept] = []
    for item in together:
        folders = _folders(item.name)
        place = _mask_folder(folders)
        if place is not None:
            item.role, item.kind = MASK, "/".join(folders[place + 1 :])
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


def arrange(upload: Path, kept: list[Kept]) -> tuple[int, list[str]]:
    """Move all images to where they belong and list their names; return how many masks matched, and the others."""
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
        folder = {NORMAL: "good/", CHECKED: ""}.get(item.role) if item.role != ANOMALOUS else f"{kinds[item.kind]}/"
        place = f"{folder}{counts[str(folder)]:04d}.png"
        counts[str(folder)] += 1
        _move(item.path, upload / IMAGES / place)
        places[place] = item.name
        item.path = upload / IMAGES / place
    loose = _match_masks(upload, kept)
    write_json(upload / NAMES, places)
    return sum(item.role == MASK for item in kept) - len(loose), loose


def _match_masks(upload: Path, kept: list[Kept]) -> list[str]:
    """Move each mask to its anomaly: of one kind and name, else of one name alone; return the names of the others."""
    named: dict[str, list[Kept]] = {}
    for item in kept:
        if item.role == ANOMALOUS:
            named.setdefault(_stem(item.name), []).append(item)
    loose, taken = [], set[Path]()
    for item in kept:
        if item.role != MASK:
            continue
        stem = _stem(item.name)
        found = named.get(stem.removesuffix("_mask"), []) or named.get(stem, [])
        kind = item.kind.rpartition("/")[2]
        same = [one for one in found if one.kind == kind] or found
        if len(same) != 1 or same[0].path in taken:
            loose.append(item.name)
            item.path.unlink()
            continue
        taken.add(same[0].path)
        image = same[0].path
        _move(item.path, upload / IMAGES / MASKS / image.parent.name / f"{image.stem}_mask.png")
    return loose


def _stem(name: str) -> str:
    return re.split(r"[/\\]", name)[-1].rpartition(".")[0].casefold()


def _folder_of(kind: str, taken: set[str]) -> str:
    """Return a folder's name for a kind of anomaly, made of plain letters alone."""
    slug = re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")[:40]
    if not slug or slug in (*NORMAL_NAMES, *_MASK_FOLDERS, *_SPLITS):
        slug = f"kind-{slug}".strip("-")
    number, free = 2, slug
    while free in taken:
        free, number = f"{slug}-{number}", number + 1
    return free


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.replace(target)
