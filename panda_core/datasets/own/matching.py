"""Which files of a folder are masks, and to which image each belongs: told by the names of folders and files alone.

A mask lies in a folder of masks (`ground_truth/`, `masks/`, `gt/`; also `labels/`, `mask/`, and `hole_mask/` beside
`hole/`, if they hold any mask of an image), at whatever depth, or beside its image as `NAME_mask` or `NAME_gt`. It
belongs to the image of the same folders and name; `test`, `images` and their like do not count, nor do upper case, the
way an accent is written, the ending, `_mask` and its like. Where an image has a folder of masks (MVTec LOCO:
`ground_truth/KIND/000/000.png`), all of them are its own. A mask that belongs to none, or could belong to several, is
named.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from panda_core.datasets.io.listing import list_files
from panda_core.datasets.io.opening import IMAGE_SUFFIXES

_SURELY = ("ground_truth", "groundtruth", "ground-truth", "ground truth", "gt", "masks")
_PERHAPS = ("mask", "label", "labels", "annotation", "annotations", "segmentation", "segmentations")
_NEUTRAL = ("train", "test", "validation", "image", "images", "img", "imgs")
_OWN_WORDS = r"ground[_\- ]?truth|masks?|gt"
_WORDS = rf"(?:{_OWN_WORDS}|labels?|segmentation|seg|annotations?)"
_BEHIND = re.compile(rf"(?:[\s_.\-]+|(?<=\d)){_WORDS}(?:[\s_.\-]*\d+)?$")
_BEFORE = re.compile(rf"^{_WORDS}[\s_.\-]+")
_BESIDE = re.compile(rf"[\s_.\-]+(?:{_OWN_WORDS})(?:[\s_.\-]*\d+)?$")

_Key = tuple[tuple[str, ...], str]  # folders that count, name without its ending


@dataclasses.dataclass(frozen=True)
class Matched:
    """files: the places of the masks of each image. loose: (place, reason) of masks that belong to none."""

    files: list[list[str]]
    loose: list[tuple[str, str]]


def tell_masks(places: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (images, masks) among the places of image files in a folder, each in the order given."""
    perhaps: dict[str, list[str]] = {}  # by the folder that may hold masks
    masks: set[str] = set()
    images: list[str] = []
    folders = {"/".join(parts[:end]) for parts in map(_folders, places) for end in range(1, len(parts) + 1)}
    for place in places:
        parts = _folders(place)
        above = ["/".join(parts[: at + 1]) for at in range(len(parts))]
        unsure = [path for path, part in zip(above, parts, strict=True) if part in _PERHAPS or _twin(path) in folders]
        if any(part in _SURELY for part in parts):
            masks.add(place)
        elif unsure:
            perhaps.setdefault(unsure[0], []).append(place)
        else:
            images.append(place)
    known = {_key(place) for place in images}
    for held in perhaps.values():
        belongs = any(key in known for place in held for key in _exact_keys(place))
        (masks.update if belongs else images.extend)(held)
    stems = {_beside(place) for place in images}
    for place in images:
        folder, stem = _beside(place)
        if is_named_like_a_mask(place) and (folder, _BESIDE.sub("", stem)) in stems:
            masks.add(place)
    return [place for place in places if place not in masks], [place for place in places if place in masks]


@dataclasses.dataclass(frozen=True)
class ToJudge:
    """Places in a folder: of images to be judged, of masks, and of pictures in formats that are not read."""

    images: list[str]
    masks: list[str]
    others: list[str]


def images_to_judge(folder: Path) -> ToJudge:
    """Return which files of a folder are to be judged: all images but the masks of others, whatever the layout."""
    listing = list_files(folder)
    images, masks = tell_masks(listing.images)
    return ToJudge(images, masks, [place for place, _ in listing.others])


def match_masks(masks: Iterable[str], images: Sequence[str], defective: Sequence[bool]) -> Matched:
    """Return which of `masks` belong to which of `images`, both places with forward slashes.

    defective: for each image; where a name alone decides, a mask rather belongs to one of these.
    """
    files: list[list[str]] = [[] for _ in images]
    loose = []
    by_key: dict[_Key, list[int]] = {}
    by_name: dict[str, list[int]] = {}
    for row, place in enumerate(images):
        key = _key(place)
        by_key.setdefault(key, []).append(row)
        by_name.setdefault(key[1], []).append(row)
    for place in masks:
        found = next((rows for key in _exact_keys(place) if (rows := by_key.get(key))), [])
        if not found and not _key(place)[0]:  # in no folder of its own: the name decides
            found = next((rows for name in _names(_key(place)[1]) if (rows := by_name.get(name))), [])
            found = [row for row in found if defective[row]] or found
        if len(found) > 1:
            found = [
                row for row in found if plain(images[row]).endswith("/" + plain(place).rpartition("/")[2])
            ] or found
        if len(found) == 1:
            files[found[0]].append(place)
        elif found:
            listed = ", ".join(f"`{images[row]}`" for row in found[:3])
            loose.append((place, f"it is named like the mask of several images: {listed}"))
        else:
            loose.append((place, "no image is named like it; name it as its image, with `_mask` at the end"))
    return Matched(files, loose)


def plain(text: str) -> str:
    """Return a name in one form: small letters, accents composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def is_mask_folder(name: str) -> bool:
    """Return whether a folder of this name holds masks, whatever else there is."""
    return plain(name) in _SURELY


def is_named_like_a_mask(place: str) -> bool:
    """Return whether a file's name ends in `_mask`, `_gt` or their like, before its ending."""
    return _BESIDE.search(_beside(place)[1]) is not None


def _folders(place: str) -> list[str]:
    return plain(place).split("/")[:-1]


def _twin(folder: str) -> str | None:
    """Return `hole` for a folder called `hole_mask` or its like, None for any other."""
    twin = _BESIDE.sub("", folder)
    return twin if twin != folder else None


def _key(place: str) -> _Key:
    *folders, name = plain(place).split("/")
    counting = tuple(part for part in folders if part not in (*_SURELY, *_PERHAPS, *_NEUTRAL))
    return counting, name.rpartition(".")[0] or name


def _exact_keys(place: str) -> list[_Key]:
    """Return the keys that the image of a mask may have, the likeliest first."""
    folders, stem = _key(place)
    keys = [(folders, name) for name in _names(stem)]
    twins = tuple(_BESIDE.sub("", part) for part in folders)
    keys += [(twins, name) for name in _names(stem) if twins != folders]
    return [*keys, (folders[:-1], folders[-1])] if folders else keys


def _names(stem: str) -> list[str]:
    """Return `stem`, and what is left of it without `_mask` and its like and an image's ending, in any order."""
    found = [stem]
    for name in found:  # grows while it is walked
        shorter = [_BEHIND.sub("", name), _BEFORE.sub("", name)]
        shorter += [name.removesuffix(ending) for ending in IMAGE_SUFFIXES if name.endswith(ending)]
        found += [one for one in dict.fromkeys(shorter) if one and one not in found]
    return found


def _beside(place: str) -> tuple[str, str]:
    """Return (folder, name without its ending) in one form."""
    folder, _, name = plain(place).rpartition("/")
    return folder, name.rpartition(".")[0] or name
