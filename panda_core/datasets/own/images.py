"""Images of people's own: unpacked, checked, told apart and written as a folder that `folder:PATH` understands.

Nothing of a file but its pixels is kept: each image is decoded and encoded anew as `good/0007.png`,
`scratch/0003.png` or `ground_truth/scratch/0003_mask.png`, with no more than `LONGEST` pixels a side. Names are text:
they stand in `names.json`, beside the folder, and never become a path.

Two equal images count once: a copy among the held-out ones would be
found among those learned from, and the threshold would come out too low.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from panda_core.datasets.io.archives import Archive
from panda_core.datasets.io.decoding import BYTE_CEILING, decode_image
from panda_core.datasets.io.headers import stored_size
from panda_core.datasets.io.mask_pixels import read_mask
from panda_core.datasets.own.layout import ANOMALOUS, CHECKED, MASK, NORMAL, Kept, arrange, is_mask
from panda_core.errors import PandaError, RefusedArchive, UnreadableImage, UsageError
from panda_core.records import cannot_write

MOST = 5000  # images at once
LONGEST = 1024  # pixels; networks see no more than that
FEWEST = 8  # normal images: some are held out to set the threshold
_THREADS = 2

Source = tuple[str, str, BinaryIO]  # role, name, open file: an image or an archive of images


@dataclasses.dataclass(frozen=True)
class Understood:
    """What a drop holds. anomalies: count by kind. smallest, largest: (width, height) as dropped, by area.

    Names of what takes no part: duplicates of other images, refused ones with the reason, masks that belong to no
    anomaly, and members of archives that are not named like images.
    """

    normals: int = 0
    anomalies: dict[str, int] = dataclasses.field(default_factory=dict)
    checked: int = 0
    masks: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)
    duplicates: list[str] = dataclasses.field(default_factory=list)
    refused: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    loose_masks: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)
    written: int = 0  # bytes


def write_images(
    upload: Path, sources: Iterable[Source], *, room: int, tell: Callable[[int], object] = lambda done: None
) -> Understood:
    """Write the images of `sources` below `upload / IMAGES`, their names beside it, and return what was understood.

    room: how many bytes may be written; more raises `PandaError`. tell is called with the number of images read so
    far. An image that cannot be read is listed; an archive that is refused, and folders whose names leave open what
    is normal, raise `UsageError`. What was written by then is left for the caller to remove.
    """
    incoming = upload / "incoming"
    kept: list[Kept] = []
    refused: list[tuple[str, str]] = []
    duplicates: list[str] = []
    left_out: list[str] = []
    seen: set[bytes] = set()
    written = 0
    try:
        incoming.mkdir(parents=True)
        for done, (name, result) in enumerate(_read_all(incoming, _members(sources, left_out)), 1):
            tell(done)
            if isinstance(result, UnreadableImage):
                refused.append((name, str(result)))
                continue
            written += result.path.stat().st_size
            if written > room:
                raise PandaError(f"There is room for {room // 1_000_000} MB more; these images take more. Drop fewer.")
            # Masks of different images may be equal, and whoever has images checked wants all of them back.
            if result.role not in (MASK, CHECKED) and not is_mask(result.role, name):
                if result.digest in seen:
                    duplicates.append(name)
                    result.path.unlink()
                    continue
                seen.add(result.digest)
            kept.append(result)
        arranged = arrange(upload, kept)
        incoming.rmdir()
    except OSError as error:
        raise cannot_write(upload, error) from error
    sizes = sorted((item.size for item in kept if item.role != MASK), key=lambda size: size[0] * size[1])
    kinds = collections.Counter(item.kind for item in kept if item.role == ANOMALOUS)
    return Understood(
        normals=sum(item.role == NORMAL for item in kept),
        anomalies=dict(sorted(kinds.items())),
        checked=sum(item.role == CHECKED for item in kept),
        masks=arranged.masks,
        smallest=sizes[0] if sizes else (0, 0),
        largest=sizes[-1] if sizes else (0, 0),
        duplicates=duplicates,
        refused=[*refused, *arranged.unfit],
        loose_masks=arranged.loose,
        left_out=left_out,
        written=written,
    )


def _members(sources: Iterable[Source], left_out: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield (role, name, content) of every image, those in archives too."""
    count = 0
    for role, name, file in sources:
        for member, content in _contents(name, file, left_out):
            count += 1
            if count > MOST:
                raise UsageError(f"At most {MOST:,} images at once. Drop fewer.")
            yield role, member, content


def _contents(name: str, file: BinaryIO, left_out: list[str]) -> Iterator[tuple[str, bytes]]:
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    # What a file is called does not matter: an archive is one by its content.
    if not (head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")) or head[257:262] == b"ustar"):
        yield name, file.read(BYTE_CEILING + 1)
        return
    archive = Archive(file)
    try:
        yield from archive
    except RefusedArchive as error:
        raise UsageError(f"`{name}`: {error}") from error
    left_out.extend(archive.left_out)


def _read_all(
    incoming: Path, members: Iterator[tuple[str, str, bytes]]
) -> Iterator[tuple[str, Kept | UnreadableImage]]:
    """Yield (name, what became of it) in order. Two images are decoded at once; a few wait, not all of them."""
    waiting: collections.deque[tuple[str, Future[Kept]]] = collections.deque()

    def next_done() -> tuple[str, Kept | UnreadableImage]:
        name, future = waiting.popleft()
        try:
            return name, future.result()
        except UnreadableImage as error:
            return name, error

    with ThreadPoolExecutor(_THREADS) as pool:
        for number, (role, name, content) in enumerate(members):
            waiting.append((name, pool.submit(_read, incoming / f"{number:05d}.png", role, name, content)))
            if len(waiting) > _THREADS:
                yield next_done()
        while waiting:
            yield next_done()


def _read(path: Path, role: str, name: str, content: bytes) -> Kept:
    """Decode an image and write it, smaller, to `path`: a mask as black and white."""
    mask = is_mask(role, name)
    pixels = read_mask(content, name).astype(np.uint8) * 255 if mask else decode_image(content, name)
    digest = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()
    picture = Image.fromarray(pixels)
    if mask:
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.NEAREST)  # a mask has no values in between
    else:
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=3.0)
    picture.save(path, "PNG", compress_level=1)
    stored, turn = stored_size(content, name)
    return Kept(role, name, path, (pixels.shape[1], pixels.shape[0]), digest, stored=stored, turn=turn)
