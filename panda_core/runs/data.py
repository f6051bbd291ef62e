"""The data of a run stay the data of that run: contents are recorded when it starts, and compared when it is used.

`split.json` holds, under `content`, the beginning of the SHA-256 of every image of both splits, in their order, and of
the masks of the test images where maps are measured. Resuming and verifying compare all of them and refuse what
differs; an image or a mask that is shown beside a run's scores is compared when it is opened. Nothing that was computed
is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from panda_core.datasets import Images, Masks, OneClassTask
from panda_core.datasets.copies import Fingerprint, copies_of, fingerprint, group_copies
from panda_core.datasets.io.ahead import decoded_ahead
from panda_core.datasets.io.regions import RegionImages
from panda_core.datasets.own.folder import PREFIX as FOLDER
from panda_core.errors import BrokenRun, PandaError, UnreadableImage
from panda_core.events import Computing, ImagesSkipped
from panda_core.runs.arrays import RunSplit

GIVEN_IMAGES = "(images)"  # dataset of a run on images handed over in Python instead of a registered dataset
OWN = (FOLDER, GIVEN_IMAGES)  # how the data sets begin whose copies nobody has looked for
DIGITS = 16  # of the SHA-256, in hex: 64 bits tell more images apart than anybody has
UNREADABLE = "unreadable"
NAMED = 5  # changed images that an error names
TRAIN, TEST = 0, 1  # the two sets of a task, in the order in which copies are looked for


def content_of(task: OneClassTask, masks: bool) -> dict[str, list[str]]:
    """Return what `split.json` keeps of the contents of a task: for each split, a digest of every image.

    masks: whether those of the test images are measured with, and kept as well.
    """
    content = {"train": digests_of(task.train), "test": digests_of(task.test)}
    return {**content, "masks": _mask_digests(task)} if masks else content


def digests_of(images: Images | Masks) -> list[str]:
    """Return `DIGITS` hex digits of each SHA-256; `UNREADABLE` for a file that cannot be opened, "" for no mask."""
    return [_digest(images, row) for row in range(len(images))]


def _digest(images: Images | Masks, row: int) -> str:
    try:
        return images.digest(row).hex()[:DIGITS]
    except UnreadableImage:
        return UNREADABLE


def _mask_digests(task: OneClassTask) -> list[str]:
    """Return the digests of the masks of the test images; "" for each image without one."""
    return [""] * len(task.test) if task.masks is None else digests_of(task.masks)


def check_unchanged(run_id: str, split: RunSplit | None, task: OneClassTask) -> None:
    """Raise `BrokenRun` where images or masks of `task` are not those that `split` recorded; it names what changed.

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
    if not changes and (recorded := split.content.get("masks")) is not None:
        now = _mask_digests(task)
        rows = [row for row, digest in enumerate(recorded) if digest != now[row]]
        if rows:
            changes = [f"the masks of {len(rows)} test images{_listed([task.test.names[row] for row in rows])}"]
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


def original_rows(dataset: str, task: OneClassTask) -> Computing[tuple[np.ndarray, np.ndarray]]:
    """Return the rows, ascending, of the training and of the test images that are no copies of others.

    A copy among the images that calibrate would be found among those learned from, and the threshold would come out
    too low; one in the test set would measure what was learned by heart. In images of one's own each counts once, and
    the others are named. Published data sets stay as they are, and so does the test set of images handed over.
    """
    rows = np.arange(len(task.train)), np.arange(len(task.test))
    if not dataset.startswith(OWN):
        return rows
    prints = [(TRAIN, row, one) for row, one in (yield from _prints(task.train))]
    if dataset.startswith(FOLDER):
        prints += [(TEST, row, one) for row, one in (yield from _prints(task.test))]
    copies = _copies(task, prints)
    if copies:
        names = [(task.train, task.test)[which].names[row] for which, row, _ in copies]
        yield ImagesSkipped(split="copies", count=len(names), names=names, reasons=[reason for *_, reason in copies])
    train, test = (np.setdiff1d(rows[which], [row for of, row, _ in copies if of == which]) for which in (TRAIN, TEST))
    if len(task.test) and not len(test):
        raise PandaError(
            f"All {len(task.test)} test images are copies of training images, so that none is left to measure. Remove "
            "the copies, or add images."
        )
    return train, test


def _prints(images: Images) -> Computing[list[tuple[int, Fingerprint]]]:
    """Return (row, fingerprint) of the images that can be decoded."""
    prints = []
    for row, image in decoded_ahead(lambda row: _compared(images, row), range(len(images))):
        yield None
        if not isinstance(image, UnreadableImage):  # it is named where the split is read
            prints.append((row, fingerprint(image)))
    return prints


def _compared(images: Images, row: int) -> np.ndarray:
    """Return the part of an image that copies are told by: where a region counts, its rectangle alone.

    Paint is the same in all of them: where it is most of a picture, different ones would be called copies.
    """
    image = images.load(row)
    return images.region.cut(image) if isinstance(images, RegionImages) else image


def _copies(task: OneClassTask, prints: Sequence[tuple[int, int, Fingerprint]]) -> list[tuple[int, int, str]]:
    """Return (set, row, reason) of the images that are copies of another, which counts in their place.

    prints: (set, row, fingerprint), training images first. The first of a group counts: by name where test images were
    drawn from the folder of the training images, else a training image. An anomaly is left out only where it is a
    normal image that is learned from, to the pixel or saved anew: a small defect makes no other picture.
    """

    def name(which: int, row: int) -> str:
        return (task.train, task.test)[which].names[row]

    normal = [item for item in prints if item[0] == TRAIN or not task.is_anomaly[item[1]]]
    together = _are_drawn_together(task)
    found: list[tuple[int, int, str]] = []
    for group in group_copies([one for *_, one in normal]):
        members = [normal[place][:2] for place in group]
        first, *others = sorted(members, key=lambda member: name(*member)) if together else members
        found += [(*other, f"a copy of `{name(*first)}`") for other in others]
    learned = [(row, one) for which, row, one in prints if which == TRAIN]
    called = [(row, one) for which, row, one in prints if which == TEST and task.is_anomaly[row]]
    contradictions = copies_of(
        [one for _, one in called],
        [one for _, one in learned],
        lambda place: _compared(task.test, called[place][0]),
        lambda place: _compared(task.train, learned[place][0]),
    )
    for place, other in contradictions.items():
        (row, one), (original, learned_one) = called[place], learned[other]
        how = "with the very pixels of" if one.digest == learned_one.digest else "but the same picture, saved anew, as"
        found.append((TEST, row, f"called anomalous, {how} the normal image `{name(TRAIN, original)}`"))
    return sorted(found)


def _are_drawn_together(task: OneClassTask) -> bool:
    """Return whether training images and normal test images come from one folder, of which the seed drew some."""
    own, (clean,) = np.setdiff1d(np.arange(len(task.train)), task.reserved), np.nonzero(task.is_anomaly == 0)
    train, test = (
        {images.names[int(row)].rpartition("/")[0] for row in rows}
        for images, rows in ((task.train, own), (task.test, clean))
    )
    return bool(train & test)


def check_enough(normals: int, least: int = 2) -> None:
    """Raise `PandaError` unless so many normal images, at least `least`, are enough to learn from."""
    if normals < least:
        words = "No normal image is left" if normals == 0 else "Only 1 normal image is left"
        raise PandaError(
            f"{words}, without copies of others and images that cannot be decoded; at least {least} "
            f"{'are' if least > 1 else 'is'} needed. Add images."
        )


class CheckedMasks:
    """Masks of a run's test images, each compared with its recorded content when it is opened."""

    def __init__(self, masks: Masks, digests: Sequence[str], names: Sequence[str]) -> None:
        self._masks, self._digests, self._names = masks, list(digests), list(names)

    def __len__(self) -> int:
        return len(self._masks)

    def load(self, index: int) -> np.ndarray | None:
        """Return the mask as bool (H, W), or None; `UnreadableImage` where it is not the one of the run."""
        if _digest(self._masks, index) != self._digests[index]:
            raise UnreadableImage(
                f"The mask of `{self._names[index]}` has changed since the run: it is another one now."
            )
        return self._masks.load(index)

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the content that is there now."""
        return self._masks.digest(index)

    def subset(self, indices: Sequence[int] | np.ndarray) -> CheckedMasks:
        """Return the masks at `indices`, in that order."""
        digests, names = ([of[row] for row in indices] for of in (self._digests, self._names))
        return CheckedMasks(self._masks.subset(indices), digests, names)


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
