"""What is found about the files of a task: those left out, masks that are not used, further frames, unused range."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from panda_core.datasets.finding import NOTE, SHOWN, WARNING, Finding, counted
from panda_core.datasets.io.headers import facts_of
from panda_core.datasets.io.images import FileImages, JoinedImages
from panda_core.datasets.io.masks import FileMasks
from panda_core.datasets.io.ranges import used_range
from panda_core.datasets.io.regions import RegionImages, region_over
from panda_core.datasets.one_class import Images, OneClassTask
from panda_core.errors import UnreadableImage, UsageError

LOOKED_AT = 100  # images in which a run looks for the range they use, which is decoding them
NARROW = 1 / 4  # of the whole range: with less, 8 bits keep fewer than 64 levels


def file_findings(task: OneClassTask) -> Iterator[Finding]:
    """Yield what is found about the files of a task; every mask is read."""
    yield from _left_out(task)
    yield from _masks(task)
    yield from _turned(task)
    files = [*_files(task.train), *_files(task.test)]
    yield from _frames(files)
    yield from _range(files, region_over(task.train) is not None)


def notes_of(task: OneClassTask) -> list[str]:
    """Return what a run says of its files before it begins, a sentence each: further frames, unused range."""
    train = _files(task.train)
    some = [images.subset(range(min(LOOKED_AT, len(images)))) for images in train[:1]]
    ranges = _range(some, region_over(task.train) is not None)
    return [finding.told for finding in (*_turned(task), *_frames([*train, *_files(task.test)]), *ranges)]


def _files(images: Images) -> list[FileImages]:
    """Return the sets of image files in `images`."""
    if isinstance(images, RegionImages):
        return _files(images.images)
    if isinstance(images, JoinedImages):
        return [files for part in images.sets for files in _files(part)]
    return [images] if isinstance(images, FileImages) else []


def _left_out(task: OneClassTask) -> Iterator[Finding]:
    left_out = (*task.left_out, *task.loose_masks)
    if left_out:
        count = len(left_out)
        told = f"{counted(count, 'file')} {'takes' if count == 1 else 'take'} no part; each says why."
        yield Finding("left_out", WARNING, told, count, left_out[:SHOWN], has_reasons=True)


def _masks(task: OneClassTask) -> Iterator[Finding]:
    if task.masks is None:
        return
    unused: list[tuple[str, str]] = []
    unmarked: list[str] = []
    for row, name in enumerate(task.test.names):
        try:
            if task.masks.load(row) is None:
                unmarked.append(f"test: {name}")
        except UnreadableImage as error:
            unused.append((f"test: {name}", str(error)))
    if unused:
        told = f"{counted(len(unused), 'mask')} cannot be used; the pixels of these images are not measured."
        yield Finding("masks_unused", WARNING, told, len(unused), tuple(unused[:SHOWN]), has_reasons=True)
    if unmarked:
        total = int(np.sum(task.is_anomaly))
        told = f"{len(unmarked)} of {counted(total, 'anomalous image')} have no mask; their pixels are not measured."
        yield Finding("no_mask", NOTE, told, len(unmarked), tuple((name,) for name in unmarked[:SHOWN]))


def _turned(task: OneClassTask) -> Iterator[Finding]:
    rows = task.masks.ambiguous() if isinstance(task.masks, FileMasks) else []
    if rows:
        told = (
            f"{counted(len(rows), 'masked photo')} {'is' if len(rows) == 1 else 'are'} turned by EXIF within the same "
            "sides: their masks are taken as drawn over the photo as it is shown. Look at one in Segment."
        )
        yield Finding(
            "turned", NOTE, told, len(rows), tuple((f"test: {task.test.names[row]}",) for row in rows[:SHOWN])
        )


def _frames(halves: list[FileImages]) -> Iterator[Finding]:
    several = []
    for images in halves:
        for path, name in zip(images.paths, images.names, strict=True):
            try:
                if facts_of(path, name).frames > 1:
                    several.append((name,))
            except UnreadableImage:  # it is named among the broken ones
                continue
    if several:
        told = (
            f"{counted(len(several), 'image')} with several frames or pages: the first counts. Save the others apart."
        )
        yield Finding("frames", NOTE, told, len(several), tuple(several[:SHOWN]))


def _range(halves: list[FileImages], partly: bool) -> Iterator[Finding]:
    try:
        used = used_range(halves)
    except UsageError as error:
        yield Finding("mixed_depth", WARNING, str(error), len(halves))
        return
    if (
        used is None
        or any(images.levels for images in halves)
        or used.white is None
        or used.high - used.low >= NARROW * used.white
    ):
        return
    whole = "Set " if partly else "Set `--set range=data`, or "  # `data` is refused beside a region of interest
    told = (
        f"{counted(used.count, 'image')} of more than 8 bits use {used.low:g} to {used.high:g} of 0 to {used.white}"
        f"{', all of the picture taken' if partly else ''}: as they are read, few of 255 levels are left. "
        f"{whole}`--set range={used.low:g}-{used.high:g}`."
    )
    yield Finding("narrow_range", WARNING, told, used.count)
