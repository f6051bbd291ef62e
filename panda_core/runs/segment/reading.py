"""Images of a split, decoded batch by batch, and which of them could not be."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np

from panda_core.datasets import Images
from panda_core.datasets.io.ahead import decoded_ahead
from panda_core.errors import UnreadableImage
from panda_core.events import CacheProgress, Computing, ImagesSkipped

BATCH = 4  # images at once: with 16, their maps cost half as much again in page faults


@dataclasses.dataclass(frozen=True)
class ReadRows:
    """Of the images of a split, the rows that could be decoded, and (name, reason) of the others."""

    rows: np.ndarray
    skipped: list[tuple[str, str]]


def read_batches(
    images: Images,
    split: str,
    first: bool,
    take: Callable[[list[int], list[np.ndarray]], None],
) -> Computing[ReadRows]:
    """Hand over rows and decoded images in batches and yield progress; return which rows could be read.

    first: whether the skipped images are to be told; later steps of a run read the same ones.
    """
    rows: list[int] = []
    skipped: list[tuple[str, str]] = []
    yield CacheProgress(split=split, done=0, total=len(images))
    ahead = decoded_ahead(images.load, range(len(images)))
    for start in range(0, len(images), BATCH):
        yield None
        decoded, end = [], min(start + BATCH, len(images))
        for index, image in itertools.islice(ahead, end - start):
            if isinstance(image, UnreadableImage):
                skipped.append((images.names[index], str(image)))
            else:
                decoded.append(image)
                rows.append(index)
        if decoded:
            take(rows[-len(decoded) :], decoded)
        if end == len(images) or (end // BATCH) % max(1, len(images) // (20 * BATCH)) == 0:
            yield CacheProgress(split=split, done=end, total=len(images))
    if skipped and first:
        names, reasons = map(list, zip(*skipped, strict=True))
        yield ImagesSkipped(split=split, count=len(names), names=names, reasons=reasons)
    return ReadRows(np.array(rows, np.int64), skipped)
