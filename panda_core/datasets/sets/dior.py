"""DIOR: objects cut out of aerial images by their boxes; one-class tasks over 19 of its 20 kinds of object.

PANDA (Reiss et al., CVPR 2021) takes the kinds with more than 50 objects larger than 120 x 120 pixels: 649 training
images each on average, 9,243 test images. It does not say how an object is cut out, so this cannot be reproduced
exactly. Decided here: an object counts if its box is more than 120 pixels wide and high; it is cut out at its box,
without margin, and not made square; objects of `JPEGImages-trainval` are for training, of `JPEGImages-test` for
testing; a kind counts if more than 50 of its objects are for training. Compare the counts with the paper's.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.places import how_to_get
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, PandaError, UnreadableImage, UsageError

CLASSES = (
    "airplane",
    "airport",
    "baseballfield",
    "basketballcourt",
    "bridge",
    "chimney",
    "dam",
    "Expressway-Service-area",
    "Expressway-toll-station",
    "golffield",
    "groundtrackfield",
    "harbor",
    "overpass",
    "ship",
    "stadium",
    "storagetank",
    "tenniscourt",
    "trainstation",
    "vehicle",
    "windmill",
)
LARGER_THAN = 120  # pixels, both sides of the box
MORE_THAN = 50  # objects for training
SPLITS = ("JPEGImages-trainval", "JPEGImages-test")
BOXES = ("Annotations/Horizontal Bounding Boxes", "Annotations")
FOLDERS = ("dior", "DIOR")
SOURCE = "https://gcheng-nwpu.github.io/#Datasets"
LARGEST_FILE = 2_000_000  # bytes of XML

_Object = tuple[str, str, tuple[int, int, int, int]]  # kind, place of the image, box as (left, top, right, bottom)


class Crops:
    """Parts of image files, each at its box (left, top, right, bottom) in pixels, right and bottom not included."""

    def __init__(self, images: FileImages, boxes: Sequence[tuple[int, int, int, int]], names: Sequence[str]) -> None:
        self._images, self._boxes = images, tuple(boxes)
        self.names: Sequence[str] = tuple(names)

    def __len__(self) -> int:
        return len(self._boxes)

    def load(self, index: int) -> np.ndarray:
        """Return the part as uint8 (H, W, 3), RGB; `UnreadableImage` where the file or the box is no good."""
        left, top, right, bottom = self._boxes[index]
        part = self._images.load(index)[max(top, 0) : bottom, max(left, 0) : right]
        if not part.size:
            raise UnreadableImage(f"`{self.names[index]}` cannot be read: its box lies outside of the image.")
        return np.ascontiguousarray(part)

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the file's digest and the box."""
        return hashlib.sha256(self._images.digest(index) + repr(self._boxes[index]).encode()).digest()

    def subset(self, indices: Sequence[int] | np.ndarray) -> Crops:
        """Return the parts at `indices`, in that order."""
        rows = [int(row) for row in indices]
        return Crops(self._images.subset(rows), [self._boxes[row] for row in rows], [self.names[row] for row in rows])


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return the objects of the kinds that count, of both official image folders; `seed` is not used."""
    folder = _folder(root)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    kinds = _kinds(root)
    halves = [[found for found in _objects(folder, split, _age(folder)) if found[0] in kinds] for split in SPLITS]
    (train, train_labels), (test, test_labels) = (_crops(folder, half) for half in halves)
    return LabelledSplits(train, train_labels, test, test_labels, normal_class)


def _crops(folder: Path, objects: list[_Object]) -> tuple[Crops, np.ndarray]:
    numbered = Counter[str]()
    names = []
    for kind, place, _ in objects:
        numbered[place] += 1
        names.append(f"{kind}/{Path(place).stem}-{numbered[place]}")
    paths = FileImages([f"{folder}/{place}" for _, place, _ in objects], names)
    return Crops(paths, [box for *_, box in objects], names), np.array([kind for kind, *_ in objects], dtype=str)


def _kinds(root: Path) -> tuple[str, ...]:
    """Return the kinds of object that can be the normal class: all twenty as long as the data is not here."""
    folder = _folder(root)
    if folder is None:
        return CLASSES
    counts = Counter(kind for kind, *_ in _objects(folder, SPLITS[0], _age(folder)))
    kinds = tuple(kind for kind in CLASSES if counts[kind] > MORE_THAN)
    if not kinds:
        raise UsageError(
            f"`{folder}` has no kind of object with more than {MORE_THAN} training boxes larger than {LARGER_THAN} x "
            f"{LARGER_THAN} pixels. Unpack all of the official data again."
        )
    return kinds


@functools.lru_cache(maxsize=4)  # reading 23,463 files takes seconds, and forms ask for the kinds again and again
def _objects(folder: Path, split: str, age: tuple[int, ...]) -> tuple[_Object, ...]:
    """Return the large objects of one image folder, in the order of its images; `age` renews it."""
    boxes = next(folder / name for name in BOXES if _holds_xml(folder / name))
    found: list[_Object] = []
    for place in image_files(folder / split):
        for kind, (left, top, right, bottom) in _read_boxes(boxes / f"{Path(place).stem}.xml"):
            if min(right - left, bottom - top) > LARGER_THAN:
                found.append((kind, f"{split}/{place}", (left, top, right, bottom)))
    return tuple(found)


def _read_boxes(path: Path) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Return (kind, box) of each object in an annotation in the form of Pascal VOC."""
    canonical = {name.casefold(): name for name in CLASSES}
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE)
        if b"<!" in content.replace(b"<!--", b""):
            raise ValueError("it declares entities, which annotations have no use for")
        boxes = []
        for item in ElementTree.fromstring(content).iter("object"):  # noqa: S314  without entities, harmless
            kind = canonical[(item.findtext("name") or "").strip().casefold()]
            left, top, right, bottom = (
                round(float(item.findtext(f"bndbox/{side}") or "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            boxes.append((kind, (left, top, right, bottom)))
        return boxes
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}. Unpack the annotations again.") from error
    except KeyError as error:
        raise UsageError(
            f"`{path}` names the object {error}; known: {', '.join(CLASSES)}. Use the official annotations."
        ) from error
    except (ValueError, OverflowError, ElementTree.ParseError) as error:
        raise UsageError(f"`{path}` is no annotation of boxes: {error}. Unpack the annotations again.") from error


def _folder(root: Path) -> Path | None:
    """Return the folder that holds both folders of images and annotations."""
    for folder in (root / name for name in FOLDERS):
        if all((folder / split).is_dir() for split in SPLITS) and any(_holds_xml(folder / name) for name in BOXES):
            return folder
    return None


def _holds_xml(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.xml"), None) is not None


def _age(folder: Path) -> tuple[int, ...]:
    """Return when the folders last got or lost a file."""
    places = [folder / name for name in (*SPLITS, *BOXES)]
    return tuple(place.stat().st_mtime_ns if place.is_dir() else 0 for place in places)


def _how_to_get(root: Path) -> str:
    return how_to_get(
        "DIOR",
        files="JPEGImages-trainval.zip, JPEGImages-test.zip (about 7 GB together) and Annotations.zip",
        source=SOURCE,
        folder=root / FOLDERS[0],
        wanted=[*(f"{split}/00001.jpg" for split in SPLITS[:1]), SPLITS[1], f"{BOXES[0]}/00001.xml"],
        then=" and unpack them",
    )


def _classes(root: Path) -> tuple[str, ...]:
    try:
        return _kinds(root)
    except PandaError:  # opening it says what is wrong
        return CLASSES


DIOR = Dataset(
    key="dior",
    title="Objects from above (DIOR)",
    about=(
        "Objects cut out of 23,463 aerial images, those whose box is larger than 120 x 120 pixels; of the kinds with "
        "more than 50 such training objects one is normal. The paper has 19 kinds, 649 training images each and 9,243 "
        "test images, but does not say how it cut them out: here at the box, without margin, not made square. Figures "
        "are comparable only as far as these counts agree."
    ),
    source=SOURCE,
    licence="none stated; made of Google Earth images, so not for commercial use without permission",
    citation=(
        "Li, K., Wan, G., Cheng, G., Meng, L. & Han, J. Object detection in optical remote sensing images: A survey "
        "and a new benchmark. ISPRS Journal of Photogrammetry and Remote Sensing 159, 2020. "
        "doi:10.1016/j.isprsjprs.2019.11.023"
    ),
    image_size=224,
    classes=_classes,
    open=open_splits,
    missing=lambda root: None if _folder(root) else _how_to_get(root),
    noncommercial=True,
)
