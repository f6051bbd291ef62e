"""Is a data set fit to measure on? Duplicates, broken files, unused masks, too few images, what gives the label away.

An image that is in the training and in the test set makes a method look better than it is; a test set whose anomalies
alone are grey, or alone are large, measures that and not the anomaly. The labels are used for nothing else here.

Nearly equal images are found by a perceptual hash, the signs of the lowest frequencies of a small grey copy (pHash;
Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), which resizing, brightness and
compression hardly change. Hashes of plain images are close by chance, so a pair counts only if the grey copies
themselves correlate.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from panda_core.datasets.copies import SIDE, Fingerprint, fingerprint, grey_copy, group_copies
from panda_core.datasets.file_health import file_findings
from panda_core.datasets.finding import NOTE, PROBLEM, SHOWN, WARNING, Finding, counted
from panda_core.datasets.io.ahead import decoded_ahead
from panda_core.datasets.io.regions import region_over
from panda_core.datasets.one_class import OneClassTask
from panda_core.errors import UnreadableImage
from panda_core.events import CacheProgress, Computing
from panda_core.region import Region

LOWEST = 8  # rows and columns of the frequencies of a grey copy that are kept
CLOSE_BITS = 10  # of 63: hashes that differ in so many bits at most are looked at
CORRELATED = 0.95  # of the grey copies, to count as nearly equal
GREY_TOLERANCE = 8  # levels of 255 between the channels: what JPEG makes of a grey image saved in colour
FEW_TRAIN, FEW_TEST = 20, 20  # images; fewer make a threshold, or an AUROC, a matter of luck
STRIDE = 1024  # rows of the table of distances at a time, to bound memory


@dataclasses.dataclass(frozen=True)
class Health:
    """What was found, worst first, in so many training and test images."""

    train: int
    test: int
    findings: tuple[Finding, ...]

    @property
    def level(self) -> str:
        """The level of the worst finding, "" if there is none."""
        return self.findings[0].level if self.findings else ""

    def also(self, findings: Iterable[Finding]) -> Health:
        """Return the same with further findings, worst first."""
        return dataclasses.replace(self, findings=_worst_first([*self.findings, *findings]))


@dataclasses.dataclass(frozen=True)
class _Look:
    """What is kept of an image: what tells copies, its size, whether it is grey, its hash and its grey copy."""

    name: str
    print: Fingerprint
    size: tuple[int, int]  # width, height
    grey: bool
    hash: int
    copy: np.ndarray  # (SIDE * SIDE,) float32, mean 0 and length 1, or all 0 for a plain image


def check_health(task: OneClassTask) -> Computing[Health]:
    """Return what is found in every image and mask of a task, yielding progress after each image.

    Of a task within a region of interest, what lies inside is looked at.
    """
    train, test, is_anomaly = task.train, task.test, task.is_anomaly
    total = len(train) + len(test)
    looks: dict[str, list[_Look | None]] = {"train": [], "test": []}
    broken: list[tuple[str, ...]] = []
    for half, images in (("train", train), ("test", test)):
        for row, image in decoded_ahead(images.load, range(len(images))):
            name = f"{half}: {images.names[row]}"
            if isinstance(image, UnreadableImage):
                broken.append((name, str(image)))
            looks[half].append(None if isinstance(image, UnreadableImage) else _look(image, name, region_over(images)))
            yield CacheProgress(split="health", done=sum(map(len, looks.values())), total=total)
    normals = [look for look in looks["train"] if look]
    tested = [look for look in looks["test"] if look]
    anomalous = np.array([bool(flag) for look, flag in zip(looks["test"], is_anomaly, strict=True) if look], dtype=bool)
    findings = [
        *_broken(broken, region_over(train)),
        *file_findings(task),
        *_copies(normals),
        *_duplicates(normals, tested, anomalous),
        *_near_duplicates(normals, tested),
        *_too_few(len(normals), int(np.sum(~anomalous)), int(np.sum(anomalous))),
        *_sizes(normals, tested, anomalous),
        *_colours(normals, tested, anomalous),
    ]
    return Health(len(train), len(test), _worst_first(findings))


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (PROBLEM, WARNING, NOTE).index(finding.level)))


def _look(image: np.ndarray, name: str, region: Region | None) -> _Look:
    part = image if region is None else region.cut(image)  # as where a run looks for copies
    grey = grey_copy(part)
    red, green, blue = cv2.split(image)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))  # (H, W)
    if region is not None:
        spread = spread[region.inside(image.shape[:2])]  # the paint around is not grey
    copy = grey.astype(np.float32).ravel() - grey.mean(dtype=np.float32)
    length = float(np.linalg.norm(copy))
    return _Look(
        name=name,
        print=fingerprint(part),
        size=(image.shape[1], image.shape[0]),
        grey=bool(spread.max(initial=0) <= GREY_TOLERANCE),
        hash=perceptual_hash(grey),
        copy=copy / length if length > SIDE else np.zeros_like(copy),  # less than one level from plain: only noise
    )


def perceptual_hash(grey: np.ndarray) -> int:
    """Return the pHash of a grey image (SIDE, SIDE) as 63 bits: which low frequencies are above their median."""
    low = cv2.dct(grey.astype(np.float32))[:LOWEST, :LOWEST].ravel()[1:]  # without the mean brightness
    return int("".join("1" if value else "0" for value in low > np.median(low)), 2)


def _broken(broken: list[tuple[str, ...]], region: Region | None) -> Iterator[Finding]:
    if broken:
        what = "read" if region is None else "read, or not with this region of interest"
        told = f"{_images(len(broken))} cannot be {what}. Runs skip them; replace or remove them."
        yield Finding("broken", WARNING, told, len(broken), tuple(broken[:SHOWN]), has_reasons=True)


def _copies(normals: list[_Look]) -> Iterator[Finding]:
    groups = group_copies([look.print for look in normals])
    if groups:
        spare = sum(map(len, groups)) - len(groups)
        told = (
            f"{counted(spare, 'training image')} {'is a copy' if spare == 1 else 'are copies'} of {len(groups)} other"
            f"{'s' * (len(groups) > 1)}: the same pixels, or the same picture saved anew. Keep one of each, or the "
            "threshold comes out too low."
        )
        examples = tuple(tuple(normals[row].name for row in group) for group in groups[:SHOWN])
        yield Finding("copies", WARNING, told, len(groups), examples)


def _duplicates(train: list[_Look], test: list[_Look], anomalous: np.ndarray) -> Iterator[Finding]:
    groups: dict[bytes, list[tuple[str, bool, bool]]] = {}  # of (name, in the test set, anomalous)
    for look in train:
        groups.setdefault(look.print.digest, []).append((look.name, False, False))
    for look, flag in zip(test, anomalous.tolist(), strict=True):
        groups.setdefault(look.print.digest, []).append((look.name, True, flag))
    repeated = [group for group in groups.values() if len(group) > 1]
    contradicted = [group for group in repeated if len({flag for *_, flag in group}) > 1]
    both = [group for group in repeated if len({tested for _, tested, _ in group}) > 1]
    within = [group for group in repeated if all(tested for _, tested, _ in group)]
    for kind, level, found, told in (
        ("contradicted", PROBLEM, contradicted, "are called normal and anomalous at once. Correct their labels."),
        ("in_both", PROBLEM, both, "are in the training and in the test set. Remove them from one of the two."),
        ("repeated", NOTE, within, "occur more than once within the test set."),
    ):
        if found:
            examples = tuple(tuple(name for name, *_ in group) for group in found[:SHOWN])
            yield Finding(kind, level, f"{_images(len(found))} {told}", len(found), examples)


def _near_duplicates(train: list[_Look], test: list[_Look]) -> Iterator[Finding]:
    """Find test images that nearly equal a training image; of several the most similar one is named."""
    if not train or not test:
        return
    hashes = [np.array([look.hash for look in half], dtype=np.uint64) for half in (train, test)]
    copies = np.stack([look.copy for look in train])
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(test), STRIDE):
        differing = np.bitwise_count(hashes[1][start : start + STRIDE, None] ^ hashes[0][None])  # (test, train)
        rows = np.nonzero((differing <= CLOSE_BITS).any(axis=1))[0]
        for row in rows:
            close = np.nonzero(differing[row] <= CLOSE_BITS)[0]
            look = test[start + row]
            alike = copies[close] @ look.copy
            alike[[train[place].print.digest == look.print.digest for place in close]] = -1  # told as equal already
            best = int(np.argmax(alike))
            if alike[best] >= CORRELATED:
                pairs.append((float(alike[best]), int(close[best]), int(start + row)))
    if pairs:
        pairs.sort(reverse=True)
        yield Finding(
            "nearly_in_both",
            WARNING,
            f"{_images(len(pairs))} of the test set nearly equal one of the training set, by a perceptual hash. Look "
            "at the pairs: things of one make may look alike, but one thing photographed twice makes a test easier.",
            len(pairs),
            tuple((train[first].name, test[second].name) for _, first, second in pairs[:SHOWN]),
        )


def _too_few(train: int, normal: int, anomalous: int) -> Iterator[Finding]:
    if train < FEW_TRAIN:
        told = f"There are {train} normal training images; fewer than {FEW_TRAIN} say little about what is normal."
        yield Finding("few_train", PROBLEM if train < 2 else WARNING, told, train)
    for count, what in ((normal, "normal"), (anomalous, "anomalous")):
        if not count:
            yield Finding(f"no_{what}", NOTE, f"The test set has no {what} images, so there is no AUROC.", 0)
        elif count < FEW_TEST:
            told = f"The test set has {count} {what} images; with fewer than {FEW_TEST} an AUROC is largely luck."
            yield Finding(f"few_{what}", WARNING, told, count)


def _sizes(train: list[_Look], test: list[_Look], anomalous: np.ndarray) -> Iterator[Finding]:
    sizes = Counter(look.size for look in [*train, *test])
    if len(sizes) < 2:
        return
    areas = sorted(sizes, key=lambda size: size[0] * size[1])
    span = f"from {areas[0][0]} x {areas[0][1]} to {areas[-1][0]} x {areas[-1][1]} pixels"
    normal = {look.size for look in train} | {look.size for look, flag in zip(test, anomalous, strict=True) if not flag}
    other = {look.size for look, flag in zip(test, anomalous, strict=True) if flag}
    if other and not normal & other:
        told = f"No anomalous image has the size of a normal one ({span}), so the size alone gives the label away."
        yield Finding("size_tells", PROBLEM, told, len(sizes))
    else:
        told = f"The images have {len(sizes)} sizes, {span}. All are brought to one size before they are compared."
        yield Finding("mixed_sizes", NOTE, told, len(sizes))


def _colours(train: list[_Look], test: list[_Look], anomalous: np.ndarray) -> Iterator[Finding]:
    looks = [*train, *test]
    grey = sum(look.grey for look in looks)
    if grey in (0, len(looks)):
        return
    normal = {look.grey for look in train} | {look.grey for look, flag in zip(test, anomalous, strict=True) if not flag}
    other = {look.grey for look, flag in zip(test, anomalous, strict=True) if flag}
    if other and not normal & other:
        told = "Normal images are grey and anomalous ones are not, or the other way round: colour gives the label away."
        yield Finding("colour_tells", PROBLEM, told, grey)
        return
    rare = [look.name for look in looks if look.grey == (2 * grey <= len(looks))]
    told = f"{_images(grey)} {'is' if grey == 1 else 'are'} grey, {len(looks) - grey} in colour."
    yield Finding("mixed_colours", WARNING, told, len(rare), tuple((name,) for name in rare[:SHOWN]))


def _images(count: int) -> str:
    return counted(count, "image")
