"""Which part of their range images of more than 8 bits use, and the range they are read in: one for a whole data set.

`range=full` keeps the highest 8 bits. `range=data` takes as black and white what the training images go from and to,
without labels and without a look at the test images; `range=LOW-HIGH` is given. Never is an image stretched by itself:
brightness would no longer be comparable, and a dark defect could become white.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from panda_core.datasets.io.decoding import open_stored
from panda_core.datasets.io.headers import facts_of
from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.samples import Levels, Samples
from panda_core.errors import UnreadableImage, UsageError

FULL, DATA = "full", "data"
RARE = 0.001  # of an image's samples at either end are passed over: dead and hot pixels
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclasses.dataclass(frozen=True)
class UsedRange:
    """From where to where `count` images of more than 8 bits go; white: what their format calls white, or None."""

    low: float
    high: float
    white: int | None
    count: int


def used_range(halves: Sequence[FileImages]) -> UsedRange | None:
    """Return the range that the images of more than 8 bits use, or None where there are none.

    `UsageError` where they differ in what they call white: one range cannot fit both.
    """
    lows: list[float] = []
    highs: list[float] = []
    whites: dict[int | None, str] = {}  # and the first image of each
    for images in halves:
        for path, name in zip(images.paths, images.names, strict=True):
            try:
                if facts_of(path, name).bits <= 8:
                    continue
                stored = open_stored(path, name)
            except UnreadableImage:  # it is named where the split is read
                continue
            if isinstance(stored, Samples) and np.isfinite(stored.opaque).all():
                low, high = np.quantile(stored.opaque, [RARE, 1 - RARE], method="nearest")
                lows.append(float(low))
                highs.append(float(high))
                whites.setdefault(stored.white, name)
    if not lows:
        return None
    if len(whites) > 1:
        told = " and ".join(f"`{name}` (white: {white or 'not known'})" for white, name in list(whites.items())[:2])
        raise UsageError(f"Images differ in depth, so that no range fits all: {told}. Save all with one depth.")
    return UsedRange(min(lows), max(highs), next(iter(whites)), len(lows))


def levels_of_range(text: str, train: FileImages | None = None) -> Levels | None:
    """Return the levels that `range=text` means for a data set with these training images; None for `full`.

    `str(levels)` is a text that gives the same levels again, whatever the training images: what a run stores, and what
    new images are read in. `UsageError` for another text, and for `data` where no training image has more than 8 bits
    or all have one value.
    """
    if text == FULL:
        return None
    found = re.fullmatch(rf"({_NUMBER})-({_NUMBER})", text.strip())
    if found and float(found[1]) < float(found[2]):
        return Levels(float(found[1]), float(found[2]))
    if text != DATA or train is None:
        raise UsageError(
            f"`range` must be `{FULL}`, `{DATA}` or LOW-HIGH, two numbers of which the first is lower; got `{text}`. "
            f"Set `--set range={DATA}`."
        )
    used = used_range([train])
    if used is None:
        raise UsageError(f"`range={DATA}` needs images of more than 8 bits; no training image has. Leave it out.")
    if used.low == used.high:
        raise UsageError(f"All training images have the value {used.low:g}, which is no range. Leave `range` out.")
    return Levels(used.low, used.high)
