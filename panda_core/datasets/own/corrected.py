"""A folder of one's own with corrections: images that are normal after all, and images that are bad after all.

    corrections.json      {"folder": the folder that is corrected, "copies": digests of files in it}
    accepted/  rejected/  copies of images: learned from as normal; measured with as anomalies, and never learned from

`folder:PATH` of such a folder is the data set of the folder that it names, corrected. What was accepted or rejected
counts as that alone: where the same file, or a copy that shows the same (`panda_core.datasets.copies`), is among the
images of the folder, on either side, it is left out there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from panda_core.datasets.io.images import FileImages, JoinedImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.masks import FileMasks
from panda_core.datasets.io.samples import Levels
from panda_core.datasets.one_class import Dataset, Images, LabelledSplits, digests
from panda_core.errors import PandaError
from panda_core.records import read_json, write_json

ABOUT = "corrections.json"
ACCEPTED, REJECTED = "accepted", "rejected"


def note_corrected(folder: Path, corrected: str, copies: Iterable[str] = ()) -> None:
    """Write down that `folder` holds the corrections of the images in folder `corrected`.

    copies: hex digests of the files there that show the same as corrected ones; those written before stay.
    """
    write_json(folder / ABOUT, {"folder": corrected, "copies": sorted({*copies, *_copies_in(folder)})})


def _copies_in(folder: Path) -> list[str]:
    return list(read_json(folder / ABOUT).get("copies", ())) if (folder / ABOUT).is_file() else []


def corrected_folder(folder: Path) -> str | None:
    """Return the folder whose corrections `folder` holds; None where it holds images of its own."""
    about = f"{folder}/{ABOUT}"
    if not os.path.isfile(about):  # noqa: PTH113  pathlib raises for names that are too long
        return None
    try:
        return str(read_json(Path(about))["folder"])
    except (KeyError, TypeError) as error:
        raise PandaError(f"`{about}` does not name the folder that is corrected. Correct the run again.") from error


def with_corrections(dataset: Dataset, folder: Path, key: str, levels: Levels | None) -> Dataset:
    """Return a folder's dataset with the corrections in another folder. levels: as those of the dataset's images."""

    def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
        splits = dataset.open(root, normal_class, seed)
        accepted, rejected = (_below(folder, name, levels) for name in (ACCEPTED, REJECTED))
        corrected = {images.digest(row) for images in (accepted, rejected) for row in range(len(images))}
        corrected |= set(map(bytes.fromhex, _copies_in(folder)))
        train, test = (_rows_without(images, corrected) for images in (splits.train, splits.test))
        bad = np.full(len(rejected), f"{REJECTED} " if splits.normal_label == REJECTED else REJECTED)
        marked = splits.test_masks
        masks = marked.subset(test).with_unmarked(len(rejected)) if isinstance(marked, FileMasks) else None
        return dataclasses.replace(
            splits,
            train=JoinedImages((splits.train.subset(train), accepted)),
            train_labels=np.append(splits.train_labels[train], np.full(len(accepted), splits.normal_label)),
            test=JoinedImages((splits.test.subset(test), rejected)),
            test_labels=np.append(splits.test_labels[test], bad),
            test_masks=masks,
        )

    return dataclasses.replace(dataset, key=key, open=open_splits)


def _below(folder: Path, name: str, levels: Levels | None) -> FileImages:
    places = image_files(folder / name) if (folder / name).is_dir() else []
    return FileImages.below(folder, [f"{name}/{place}" for place in places], levels)


def _rows_without(images: Images, left_out: set[bytes]) -> Sequence[int]:
    """Return the rows of the images whose files have none of these digests."""

    return [row for row, digest in enumerate(digests(images)) if digest not in left_out]
