"""The trunk cache: activations of the frozen trunk, computed once, kept on disk, memory-mapped.

An entry is a folder `<cache>/<key>/` with `activations.npy` and `entry.json`. It is filled under a temporary name
and renamed into place, so that a reader sees all of it or nothing, and of two processes that fill the same key one
wins and the other's work is dropped. The key is a hash of everything the activations depend on. When the folder
grows past its cap (`PANDA_CACHE_GB`, 10 by default), the entries used longest ago go first; one that a process reads
stays. Where the activations of a run do not fit into the cap, an entry has `images.npy` instead, the images as the
network sees them, and the trunk runs anew when they are read (`form_that_fits`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import PIL
import torch
from filelock import FileLock

from panda_core.backbones.network import Network
from panda_core.config import cache_cap
from panda_core.datasets import Images, split_digest
from panda_core.datasets.io.ahead import decoded_ahead
from panda_core.errors import PandaError, UnreadableImage
from panda_core.events import CacheProgress, Computing, ImagesSkipped
from panda_core.features.trunk import Activations, KeptImages, squared, trunk_of
from panda_core.records import cannot_write, new_folder, read_json, write_json

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LAYOUT = 3  # raise when the meaning of an entry changes: old entries are then never hit
ACTIVATIONS, IMAGES = "activations", "images"  # what is kept of a set, and the file of an entry
LOCK = ".lock"  # held by the process that puts an entry in its place
BATCH = 64  # images whose activations are computed together
PROGRESS_LINES = 20  # about so many lines a split in the log


@dataclasses.dataclass(frozen=True)
class TrunkActivations:
    """What the trunk makes of a set of images.

    values: (N, C, h, w) or, of transformers, tokens (N, T, C), of float16 or float32: memory-mapped, or computed when
        they are read.
    image_rows: (N,), which image of the set each row is of; images that could not be decoded have none.
    skipped: (name, reason) of those.
    held: keeps the entry from being removed as long as it lives.
    """

    values: Activations
    image_rows: np.ndarray
    skipped: tuple[tuple[str, str], ...]
    held: object = None


def cache_key(*, images_sha256: str, network: Network, image_size: int, dtype: str, form: str = ACTIVATIONS) -> str:
    """Return the hex key of an entry: a hash of all that its values depend on.

    Of activations that is the ordered image contents, the input side, the preprocessing, the weights, the cut, the
    number format and this layout. The versions of what computes are part of it because others may round differently:
    of Pillow, which decodes and resizes, and of what runs the network. Images, as the network sees them, depend on the
    first two and on how they are resized. Both depend on the region.
    """
    region = network.preprocessing.region
    prepared = dataclasses.asdict(dataclasses.replace(network.preprocessing, region=None))
    del prepared["region"]  # keys from before there were regions stay what they are
    content = {"layout": LAYOUT, "images": images_sha256, "size": image_size, "pillow": PIL.__version__}
    if region is not None:
        content["region"] = region.sha256
    if form == IMAGES:
        content |= {"form": form, **{name: prepared[name] for name in ("interpolation", "crop")}}
    else:
        content |= {
            "preprocessing": prepared,
            "weights": network.weights_sha256,
            "cut": network.cut,
            "dtype": dtype,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
        }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def form_that_fits(
    network: Network, count: int, *, image_size: int, dtype: str, device: torch.device
) -> tuple[str, str | None]:
    """Return what is kept of the `count` images of a run, and a sentence to tell where that is not activations."""
    with torch.inference_mode():
        one = network.trunk(torch.zeros(1, 3, image_size, image_size, device=device)).numel() * np.dtype(dtype).itemsize
    cap, image = cache_cap(), 3 * image_size**2
    if count * one <= cap or one <= image:
        return ACTIVATIONS, None
    told = (
        f"The activations of {count:,} images need {count * one / 1e9:.1f} GB, and the cache may hold {cap / 1e9:g}: "
        f"the images are kept instead ({count * image / 1e9:.1f} GB), and the frozen part runs anew for each batch. "
        f"Set PANDA_CACHE_GB={-(-count * one // 10**9)} to keep activations."
    )
    if count * image > cap:
        told += " They do not fit either: what other runs left there is removed, and the next run finds nothing."
    return IMAGES, told


def trunk_activations(
    images: Images,
    network: Network,
    *,
    split: str,
    image_size: int,
    dtype: str,
    device: torch.device,
    cache_dir: Path,
    form: str = ACTIVATIONS,
) -> Computing[TrunkActivations]:
    """Yield progress; return the activations of `images`, from the cache or computed and put there.

    form: what is kept of them. Where it is closed on the way, nothing is left in the cache.
    """
    key = cache_key(images_sha256=split_digest(images), network=network, image_size=image_size, dtype=dtype, form=form)
    entry = cache_dir / key[:40]
    activations = _open(entry, images, form)
    if activations is None:

        def as_seen(row: int) -> np.ndarray:
            return squared(images.load(row), image_size, network.preprocessing)

        def made(seen: np.ndarray) -> np.ndarray:
            return trunk_of(seen, network, dtype=dtype, device=device) if form == ACTIVATIONS else seen

        with new_folder(entry) as draft:
            yield from _fill(draft, images, split, form, as_seen, made)
            with FileLock(cache_dir / LOCK):  # what one process has just published, no other may take for damaged
                _publish(draft, entry, images, form)
                activations = _open(entry, images, form)
                _evict(cache_dir, cache_cap())
        if activations is None:
            raise PandaError(f"The cache entry `{entry}` cannot be read back. Delete the folder and start again.")
    else:
        for done in _marks(len(images)):  # the same lines as when it was computed: a log does not depend on the cache
            yield CacheProgress(split=split, done=done, total=len(images))
    if activations.skipped:
        names, reasons = map(list, zip(*activations.skipped, strict=True))
        yield ImagesSkipped(split=split, count=len(names), names=names, reasons=reasons)
    if form == ACTIVATIONS:
        return activations
    kept = np.asarray(activations.values)
    return dataclasses.replace(activations, values=KeptImages(kept, network, dtype=dtype, device=device))


def _fill(
    draft: Path,
    images: Images,
    split: str,
    form: str,
    as_seen: Callable[[int], np.ndarray],
    made: Callable[[np.ndarray], np.ndarray],
) -> Computing[None]:
    """Write the entry into `draft`, yielding progress, or nothing, after every batch.

    as_seen: row -> image (S, S, 3), uint8, as the network sees it. made: these (B, S, S, 3) -> rows of the entry.
    """
    image_rows: list[int] = []
    skipped: list[tuple[str, str]] = []
    file: np.ndarray | None = None
    marks = set(_marks(len(images)))
    yield CacheProgress(split=split, done=0, total=len(images))
    ahead = decoded_ahead(as_seen, range(len(images)))
    for start in range(0, len(images), BATCH):
        seen = []
        for index, image in itertools.islice(ahead, BATCH):
            if isinstance(image, UnreadableImage):
                skipped.append((images.names[index], str(image)))
            else:
                seen.append(image)
                image_rows.append(index)
        if seen:
            values = made(np.stack(seen))
            if file is None:
                file = _map_file(draft / f"{form}.npy", (len(images), *values.shape[1:]), str(values.dtype))
            file[len(image_rows) - len(seen) : len(image_rows)] = values
        done = min(start + BATCH, len(images))
        yield CacheProgress(split=split, done=done, total=len(images)) if done in marks else None
    if file is None:
        why = f"The first: {skipped[0][1]}" if skipped else "The split is empty. Check the files."
        raise PandaError(f"None of the {len(images)} images of the {split} split could be decoded. {why}")
    file.flush()  # type: ignore[attr-defined]
    # No reasons: they name files, and the next to find this entry may be another user with files of other names.
    write_json(draft / "entry.json", {"kept": image_rows, "dtype": str(file.dtype), "made": time.time()})


def _marks(total: int) -> list[int]:
    """Return the numbers of images at which progress is said: 0, about every twentieth at batch ends, and all."""
    every = BATCH * max(1, total // (BATCH * PROGRESS_LINES))
    return [*range(0, total, every), total]


def _map_file(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return a new memory-mapped array. Its blocks are reserved, so that a full disk is an error here, not a crash."""
    try:
        with open(path, "wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            size = file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        return np.load(path, mmap_mode="r+", allow_pickle=False)
    except OSError as error:
        raise cannot_write(path, error) from error


def _publish(draft: Path, entry: Path, images: Images, form: str) -> None:
    """Rename `draft` to `entry`; a damaged entry in its place is removed, a whole one of another process stays."""
    if _open(entry, images, form) is None:
        _remove(entry)
    try:
        draft.rename(entry)
    except OSError as error:
        if _open(entry, images, form) is None:
            raise cannot_write(entry, error) from error


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _open(entry: Path, images: Images, form: str) -> TrunkActivations | None:
    """Return the entry as it is stored, marked as used now and held, or None if it is absent or damaged."""
    try:
        held = _Held(entry)
        record = read_json(entry / "entry.json")
        values = np.load(entry / f"{form}.npy", mmap_mode="r", allow_pickle=False)
        image_rows = np.asarray(record["kept"], np.int64)
        dtype = str(record.get("dtype", values.dtype))
    except (PandaError, OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    unread = np.setdiff1d(np.arange(len(images)), image_rows)
    if len(values) != len(images) or values.dtype != dtype or len(image_rows) + len(unread) != len(images):
        return None
    skipped = _why_unread(images, unread)
    if skipped is None:
        return None
    with contextlib.suppress(OSError):  # a cache that others own can be read all the same
        os.utime(entry / "entry.json")
    return TrunkActivations(values[: len(image_rows)], image_rows, skipped, held)


class _Held:
    """An open file of an entry: as long as this lives, `_evict` leaves the entry alone, in every process."""

    def __init__(self, entry: Path) -> None:
        descriptor = os.open(entry / "entry.json", os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        if fcntl is not None:  # elsewhere, a file that is mapped cannot be removed
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # it waits for no more than another's look, see `_is_read`


def _is_read(entry: Path) -> bool:
    """Return whether a process reads an entry now."""
    try:
        with open(entry / "entry.json", "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _why_unread(images: Images, rows: np.ndarray) -> tuple[tuple[str, str], ...] | None:
    """Return (name, reason) of the images at `rows` as they are called today, or None where one can be decoded."""
    told = []
    for index in rows:
        try:
            images.load(int(index))
        except UnreadableImage as error:
            told.append((images.names[index], str(error)))
        else:
            return None
    return tuple(told)


def _evict(cache_dir: Path, cap: int) -> None:
    """Remove the entries used longest ago until the rest fits into `cap` bytes.

    One that a process reads stays: a run must not lose what it needs to another one.
    """
    entries = []
    for folder in cache_dir.iterdir():
        try:
            if not folder.name.startswith(".") and (folder / "entry.json").exists():
                size = sum(file.stat().st_size for file in folder.iterdir())
                entries.append(((folder / "entry.json").stat().st_mtime, size, folder))
        except OSError:
            continue  # another process removed it meanwhile
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= cap:
            return
        if not _is_read(folder):
            shutil.rmtree(folder, ignore_errors=True)
            total -= size
