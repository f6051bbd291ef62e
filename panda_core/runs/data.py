"""The data of a run stay the data of that run: contents are recorded when it starts, and compared when it is used.

`split.json` holds, under `content`, the beginning of the SHA-256 of every image of both splits, in their order.
Resuming and verifying compare all of them and refuse what differs; an image that is shown beside a run's scores is
compared when it is opened. Nothing that was computed is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from panda_core.datasets import Images, OneClassTask
from panda_core.datasets.copies import fingerprint, group_copies
from panda_core.datasets.own.folder import PREFIX as FOLDER
from panda_core.errors import BrokenRun, PandaError, UnreadableImage
from panda_core.events import Computing, ImagesSkipped
from panda_core.runs.arrays import RunSplit

GIVEN_IMAGES = "(images)"  # dataset of a run on images handed over in Python instead of a registered dataset
OWN = (FOLDER, GIVEN_IMAGES)  # how the data sets begin whose copies nobody has looked for
DIGITS = 16  # of the SHA-256, in hex: 64 bits tell more images apart than anybody has
UNREADABLE = "unreadable"
NAMED = 5  # changed images that an error names


def content_of(task: OneClassTask) -> dict[str, list[str]]:
    """Return what `split.json` keeps of the contents of a task: for each split, a digest of every image."""
    return {"train": digests_of(task.train), "test": digests_of(task.test)}


def digests_of(images: Images) -> list[str]:
    """Return `DIGITS` hex digits of each image's SHA-256; `UNREADABLE` for a file that cannot be opened."""
    return [_digest(images, row) for row in range(len(images))]


def _digest(images: Images, row: int) -> str:
    try:
        return images.digest(row).hex()[:DIGITS]
    except UnreadableImage:
        return UNREADABLE


def check_unchanged(run_id: str, split: RunSplit | None, task: OneClassTask) -> None:
    """Raise `BrokenRun` where the images of `task` are not those that `split` recorded; it names what changed.

    None: the run has recorded none yet.
    """
    if split is None:
        return
    changes = [
        words
        for name, images in (("train", task.train), ("test", task.test))
        if (recorded := split.content.get(name)) is not None
        and (words := _changes(name, recorded, images, _names(split, name)))
    ]
    if changes:
        raise BrokenRun(
            f"The data of run `{run_id}` have changed since it began: {'; '.join(changes)}. What it computed is kept. "
            "Put the images back as they were, or start a new run."
        )


def _names(split: RunSplit, name: str) -> dict[int, str]:
    """Return the recorded names of the images that took part, by their rows."""
    return dict(zip(split.rows(name), split.names(name), strict=True))


def _changes(name: str, recorded: Sequence[str], images: Images, names: Mapping[int, str]) -> str:
    """Return how the images of a split differ from the recorded ones, in words; nothing where they are the same."""
    if len(images) != len(recorded):
        count = len(images) - len(recorded)
        known = set(names.values())
        listed = [shown for shown in images.names if shown not in known][:NAMED] if count > 0 else []
        listed = listed or [shown for shown in known if shown not in set(images.names)][:NAMED]
        return f"{abs(count)} {name} image(s) {'more' if count > 0 else 'fewer'}{_listed(listed)}"
    now = digests_of(images)
    rows = [row for row, digest in enumerate(recorded) if digest != now[row]]
    if not rows:
        return ""
    return f"{len(rows)} of {len(recorded)} {name} images{_listed([names.get(row, images.names[row]) for row in rows])}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f" ({shown}{more})" if shown else ""


def original_rows(dataset: str, images: Images) -> Computing[np.ndarray]:
    """Return the rows, ascending, of the training images that are copies of no image before them.

    A copy among the images that calibrate would be found among those learned from, and the threshold would come out
    too low. In images of one's own each counts once, and the others are named; published data sets stay as they are.
    """
    everything = np.arange(len(images))
    if not dataset.startswith(OWN):
        return everything
    rows, prints = [], []
    for row in everything:
        yield None
        try:
            prints.append(fingerprint(images.load(int(row))))
            rows.append(int(row))
        except UnreadableImage:  # it is named where the split is read
            continue
    originals = {rows[place]: rows[group[0]] for group in group_copies(prints) for place in group[1:]}
    if originals:
        names = [images.names[row] for row in sorted(originals)]
        reasons = [f"a copy of `{images.names[originals[row]]}`" for row in sorted(originals)]
        yield ImagesSkipped(split="copies", count=len(names), names=names, reasons=reasons)
    return np.setdiff1d(everything, sorted(originals))


def check_enough(normals: int) -> None:
    """Raise `PandaError` unless so many normal images are enough to learn from."""
    if normals < 2:
        words = "No normal image is left" if normals == 0 else "Only 1 normal image is left"
        raise PandaError(
            f"{words}, without copies of others and images that cannot be decoded; at least 2 are needed. Add images."
        )


class CheckedImages:
    """Images of a run, each compared with its recorded content when it is opened."""

    def __init__(self, images: Images, digests: Sequence[str]) -> None:
        self._images, self._digests = images, list(digests)
        self.names: Sequence[str] = images.names

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> np.ndarray:
        """Return the image as uint8 (H, W, 3), RGB; `UnreadableImage` where it is not the one of the run."""
        if _digest(self._images, index) != self._digests[index]:
            raise UnreadableImage(f"`{self.names[index]}` has changed since the run: it is another image now.")
        return self._images.load(index)

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the content that is there now."""
        return self._images.digest(index)

    def subset(self, indices: Sequence[int] | np.ndarray) -> CheckedImages:
        """Return the images at `indices`, in that order."""
        return CheckedImages(self._images.subset(indices), [self._digests[row] for row in indices])
