"""`folder:PATH`: images of the user's own, in one of four layouts told apart by the names of the folders.

| layout | normal class | test set |
|---|---|---|
| `*.png` | `normal` | 30 % of the images; no anomalies, hence no AUROC |
| `good/`, other folders | `good` (or `normal`, `ok`) | 30 % of the normals, and all images of the other folders |
| `train/<class>/`, `test/<class>/` | any class of `train` | all of `test`; a folder of another name is anomalous |
| `train/good/`, `test/<type>/`, `ground_truth/` (MVTec) | `good` | the same; the masks are not images of the data set |

All of it may lie in `images/` beside a folder of masks. MVTec LOCO has `validation/` too, which takes no part. Which
files are masks, and of which image, `panda_core.datasets.own.matching` says. Files that take no part are named, each
with the reason.

What is held out is chosen by the seed. Images may lie deeper inside a class folder. Where the names leave open
what is normal, nothing is guessed: the error says how to arrange the folders.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import list_files, shown_name
from panda_core.datasets.io.masks import FileMasks
from panda_core.datasets.io.opening import IMAGE_SUFFIXES
from panda_core.datasets.io.samples import Levels
from panda_core.datasets.one_class import Dataset, LabelledSplits, stratified_split
from panda_core.datasets.own.corrected import corrected_folder, with_corrections
from panda_core.datasets.own.matching import match_masks, plain, tell_masks
from panda_core.datasets.own.size import learning_side, typical_file_side
from panda_core.errors import DataMissing, PandaError, UsageError, unknown_name

PREFIX = "folder:"
NORMAL_NAMES = ("normal", "good", "ok")
MASKS = "ground_truth"  # the folder that uploads are given
VALIDATION = "validation"
_IMAGES = ("images", "image", "imgs", "img")  # beside a folder of masks
TRAIN_FRACTION = 0.7

_LAYOUTS = (
    "Arrange it as one folder of normal images; as `normal/` beside folders of anomalies; or as `train/<class>/` and "
    "`test/<class>/`."
)

_Labelled = list[tuple[str, str]]  # (place in the folder, label)
_Groups = dict[str, list[str]]  # places by the name of a folder; "" for those in none


@dataclasses.dataclass(frozen=True)
class _Layout:
    """A folder as it was understood.

    told: the understanding, in a sentence. classes: what can be the normal class, a name of `NORMAL_NAMES` first.
    split: (normal class, seed) -> (train, test), what each consists of. masks: places of masks in the folder.
    holds_out: whether `split` takes normal images of `test` from those that there are, by the seed.
    left_out: (place, reason) of files that take no part.
    """

    told: str
    classes: tuple[str, ...]
    split: Callable[[str, int], tuple[_Labelled, _Labelled]]
    masks: tuple[str, ...] = ()
    holds_out: bool = False
    left_out: tuple[tuple[str, str], ...] = ()


def folder_dataset(path: str | Path, levels: Levels | None = None) -> Dataset:
    """Return the dataset of the images in folder `path`; `about` tells how the folder was understood.

    levels: what is black and white in images of more than 8 bits, in all of them alike; None for their whole range.
    Neither a folder that is not there nor one that cannot be understood raises here: `missing` returns the sentence
    that `classes` and `open` raise.
    """
    folder = Path(os.path.expanduser(path))  # noqa: PTH111  pathlib raises for a user it does not know
    if (corrected := corrected_folder(folder)) is not None:
        return with_corrections(folder_dataset(corrected, levels), folder, f"{PREFIX}{path}", levels)

    def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
        layout = _understand(folder)
        if normal_class not in layout.classes:
            raise unknown_name(f"class of `{folder}`", normal_class, layout.classes, "--normal-class")
        halves = layout.split(normal_class, seed)
        train, test = (FileImages.below(folder, [place for place, _ in half], levels) for half in halves)
        train_labels, test_labels = (np.array([label for _, label in half], dtype=str) for half in halves)
        masks, loose = _masks_of(folder, layout.masks, halves, normal_class)
        left_out, loose_masks = (
            tuple((shown_name(place), reason) for place, reason in found) for found in (layout.left_out, loose)
        )
        return LabelledSplits(train, train_labels, test, test_labels, normal_class, masks, left_out, loose_masks)

    def missing(root: Path) -> str | None:
        try:
            _understand(folder)
        except PandaError as error:
            return str(error)
        return None

    side = 1
    try:
        layout = _understand(folder)
        about = layout.told
        side = typical_file_side([folder / place for place, _ in layout.split(layout.classes[0], 0)[0]])
    except PandaError as error:
        about = str(error)
    return Dataset(
        key=f"{PREFIX}{path}",
        title=folder.absolute().name,
        about=about,
        source=str(folder),
        licence="your own images",
        citation="",
        image_size=learning_side(side),
        classes=lambda root: _understand(folder).classes,
        open=open_splits,
        missing=missing,
    )


def normal_files(path: str | os.PathLike[str], normal_class: str | None = None) -> list[str]:
    """Return the paths of all normal images in a folder, sorted, without those in `test/`.

    normal_class: which folder of `train/` is normal; None where there is one, or one is called normal, good or ok.
    """
    folder = Path(path)
    layout = _understand(folder)
    told = normal_class or layout.classes[0]
    if told not in layout.classes or (normal_class is None and _is_open(layout)):
        raise unknown_name(f"class of `{folder}`", str(normal_class), layout.classes, "normal_class=")
    train, test = layout.split(told, 0)
    chosen = train + test if layout.holds_out else train
    return sorted(f"{folder}/{place}" for place, label in chosen if label == told)


def _is_open(layout: _Layout) -> bool:
    """Return whether the names leave open which class is normal."""
    return len(layout.classes) > 1 and layout.classes[0].casefold() not in NORMAL_NAMES


def _understand(folder: Path) -> _Layout:
    """Return the layout of `folder`, or raise a sentence that says what to change."""
    if not os.path.exists(folder):  # noqa: PTH110  pathlib raises for names that are too long
        raise DataMissing(f"`{folder}` does not exist. Give an existing folder of images: `--dataset {PREFIX}PATH`.")
    if not folder.is_dir():
        raise UsageError(f"`{folder}` is a file. Give the folder it lies in: {_flag(folder.parent)}.")
    listing = list_files(folder)
    places, masks = tell_masks(listing.images)
    if masks and not places:
        raise UsageError(f"`{folder}` holds masks alone. Give the folder that holds their images as well.")
    top = places[0].partition("/")[0] if places else ""
    if masks and plain(top) in _IMAGES and all(place.startswith(f"{top}/") for place in places):
        layout = _below(top, _arranged(folder, [place.removeprefix(f"{top}/") for place in places]))
    else:
        layout = _arranged(folder, places)
    told = layout.told
    if masks:
        told += " 1 file is a mask." if len(masks) == 1 else f" {len(masks)} files are masks."
    left_out = (*layout.left_out, *listing.others)
    return dataclasses.replace(layout, told=told, masks=tuple(masks), left_out=left_out)


def _below(top: str, layout: _Layout) -> _Layout:
    """Return the layout of what lies in the folder `top`, with places from above it."""

    def split(normal_class: str, seed: int) -> tuple[_Labelled, _Labelled]:
        train, test = layout.split(normal_class, seed)
        return [(f"{top}/{place}", label) for place, label in train], [
            (f"{top}/{place}", label) for place, label in test
        ]

    left_out = tuple((f"{top}/{place}", reason) for place, reason in layout.left_out)
    return dataclasses.replace(layout, split=split, left_out=left_out)


def _arranged(folder: Path, places: list[str]) -> _Layout:
    """Return the layout of the images at `places` in `folder`."""
    if not places:
        raise UsageError(f"`{folder}` holds no images ({', '.join(IMAGE_SUFFIXES)}). Give a folder that does.")
    groups = _by_folder(places)
    if set(groups) == {""}:
        return _only_normals(places, "normal", f"All {len(places)} images are taken as normal")
    if "" in groups:
        beside = groups.pop("")[0]
        raise UsageError(f"`{folder}` holds images in {_listed(groups)} and also beside, as `{beside}`. {_LAYOUTS}")
    halves = {plain(name): name for name in groups}
    if len(halves) == len(groups) and set(halves) == {"train", "test", VALIDATION}:
        unused = groups.pop(halves.pop(VALIDATION))
        layout = _arranged(folder, [place for half in groups.values() for place in half])
        told = "images for validation take no part; move them to `train` to learn from them"
        return dataclasses.replace(layout, left_out=tuple((place, told) for place in unused))
    if set(halves) == {"train", "test"} and len(groups) == 2:
        train, test = (_by_folder(groups[halves[half]], depth=1) for half in ("train", "test"))
        return _train_and_test(folder, train, test)
    if "train" in halves or "test" in halves:
        raise UsageError(f"`{folder}` holds images in {_listed(groups)}, not in `train` and `test` alone. {_LAYOUTS}")
    return _normals_and_others(folder, groups)


def _only_normals(places: list[str], label: str, told: str) -> _Layout:
    def split(normal_class: str, seed: int) -> tuple[_Labelled, _Labelled]:
        train, test = stratified_split(np.full(len(places), label), TRAIN_FRACTION, seed)
        return [(places[row], label) for row in train], [(places[row], label) for row in test]

    told += "; 30 %, chosen by the seed, are held out to be scored. There are no anomalies, so there is no AUROC."
    return _Layout(told, (label,), split, holds_out=True)


def _normals_and_others(folder: Path, groups: _Groups) -> _Layout:
    normals = [name for name in groups if name.casefold() in NORMAL_NAMES]
    if len(normals) != 1:
        for name, places in groups.items():
            if "train" in _by_folder(places, depth=1):  # the parent of MVTec's categories, for instance
                raise UsageError(f"`{folder}` holds several data sets. Give one: {_flag(folder / name)}.")
        if len(groups) == 1:
            (name,) = groups
            raise UsageError(f"`{folder}` holds images in `{name}` alone. If they are normal: {_flag(folder / name)}.")
        what = f"{_listed(normals)} could all be the normal one" if normals else "none is called normal, good or ok"
        raise UsageError(f"`{folder}` holds images in {_listed(groups)}, of which {what}. {_LAYOUTS}")
    (normal,) = normals
    others = [name for name in groups if name != normal]
    alone = _only_normals(groups[normal], normal, f"The {len(groups[normal])} images in `{normal}` are normal")
    if not others:
        return alone
    anomalies = [(place, name) for name in others for place in groups[name]]

    def split(normal_class: str, seed: int) -> tuple[_Labelled, _Labelled]:
        train, held_out = alone.split(normal_class, seed)
        return train, held_out + anomalies

    return _Layout(
        f"The {len(groups[normal])} images in `{normal}` are normal; 30 % of them, chosen by the seed, are held out "
        f"for the test set. The {len(anomalies)} images in {_listed(others)} are anomalous.",
        (normal,),
        split,
        holds_out=True,
    )


def _train_and_test(folder: Path, train: _Groups, test: _Groups) -> _Layout:
    for half in (train, test):
        if "" in half:
            raise UsageError(f"`{half[''][0]}` in `{folder}` must lie in the folder of its class. {_LAYOUTS}")
    classes = tuple(sorted(train, key=lambda name: (name.casefold() not in NORMAL_NAMES, name)))
    labels = {name: _label_of_test(name, classes) for name in test}
    halves = (
        [(place, name) for name, places in train.items() for place in places],
        [(place, labels[name]) for name, places in test.items() for place in places],
    )
    told = f"Normal is the chosen class of {_listed(classes)} in `train`; every other folder in `test` is anomalous."
    if len(classes) == 1:
        anomalous = _listed(name for name in test if labels[name] != classes[0])
        told = f"Normal is `{classes[0]}`; anomalous in `test`: {anomalous or 'nothing, hence no AUROC'}."
    untested = [name for name in classes if name not in labels.values()]
    if untested:
        told += f" `test` has no normal images, hence gives no AUROC, for {_listed(untested)}."
    return _Layout(told, classes, lambda normal_class, seed: halves)


def _label_of_test(name: str, classes: tuple[str, ...]) -> str:
    """Return the class of `train` that a folder of `test` belongs to: `Good` and `ok` are `good`; else its own name."""
    if name in classes:
        return name
    for known in classes:
        if plain(known) == plain(name):  # by the way an accent is written, too
            return known
    normals = [known for known in classes if known.casefold() in NORMAL_NAMES]
    return normals[0] if name.casefold() in NORMAL_NAMES and len(normals) == 1 else name


def _masks_of(
    folder: Path, masks: tuple[str, ...], halves: tuple[_Labelled, _Labelled], normal: str
) -> tuple[FileMasks | None, list[tuple[str, str]]]:
    """Return the masks of the test images, None for a folder without masks; and (place, reason) of unused ones."""
    if not masks:
        return None, []
    train, test = ([place for place, _ in half] for half in halves)
    clean = [label == normal for _, label in halves[1]]
    matched = match_masks(masks, test, [not flag for flag in clean])
    of_train = match_masks([place for place, _ in matched.loose], train, [False] * len(train))
    learned = {place for places in of_train.files for place in places}
    why = "its image is learned from, where masks are not used"
    loose = [(place, why if place in learned else reason) for place, reason in matched.loose]
    return FileMasks(folder, matched.files, test, clean), loose


def _by_folder(places: list[str], depth: int = 0) -> _Groups:
    """Return `places` by the folder they lie in, `depth` folders down."""
    groups: _Groups = {}
    for place in places:
        folders = place.split("/")[depth:-1]
        groups.setdefault(folders[0] if folders else "", []).append(place)
    return groups


def _listed(names: Iterable[str], most: int = 12) -> str:
    shown = [f"`{name}`" for name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _flag(folder: Path) -> str:
    return f"`--dataset {shlex.quote(f'{PREFIX}{folder}')}`"
