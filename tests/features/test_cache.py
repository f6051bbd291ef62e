"""The trunk cache: a wrong hit is a wrong result, a damaged entry is computed again, a full disk is a sentence."""

from __future__ import annotations

import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch

from panda_core.backbones import Preprocessing
from panda_core.config import cache_cap, default_cache_dir
from panda_core.datasets import split_digest
from panda_core.errors import PandaError, UsageError
from panda_core.events import CacheProgress, ImagesSkipped
from panda_core.features import cache
from panda_core.features.trunk import compute_trunk
from panda_core.region import Region


def entries(folder: Path) -> list[Path]:
    return [path.parent for path in folder.glob("*/entry.json")]


def test_key_depends_on_every_ingredient(tiny_network: Callable[..., Any], make_images: Callable[..., Any]) -> None:
    """A hit on activations of other images, another order, size, preparation, network, cut or number format."""
    network, images = tiny_network(), make_images(5)

    def key(**changes: Any) -> str:
        given = {"images_sha256": split_digest(images), "network": network, "image_size": 32, "dtype": "float16"}
        return cache.cache_key(**{**given, **changes})

    def prepared(**changes: Any) -> Any:
        return tiny_network(preprocessing=dataclasses.replace(network.preprocessing, **changes))

    order = images.images.subset([1, 0, 2, 3, 4])
    keys = [
        key(),
        key(images_sha256=split_digest(order)),
        key(images_sha256=split_digest(images.images.subset([0, 1, 2, 3]))),
        key(images_sha256=split_digest(make_images(5, seed=1))),
        key(image_size=33),
        key(dtype="float32"),
        key(network=tiny_network(cut="other")),
        key(network=tiny_network(weights_sha256="1" * 64)),
        key(network=prepared(mean=(0.5, 0.5, 0.4))),
        key(network=prepared(std=(0.5, 0.5, 0.4))),
        key(network=prepared(interpolation="bicubic")),
        key(network=prepared(crop=0.875)),
        key(network=prepared(region=Region(np.eye(4, dtype=bool)))),
        key(network=prepared(region=Region(np.eye(5, dtype=bool)))),
        key(form=cache.IMAGES),
        key(form=cache.IMAGES, network=prepared(region=Region(np.eye(4, dtype=bool)))),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    covered = {field.name for field in dataclasses.fields(Preprocessing)}
    assert covered == {"mean", "std", "interpolation", "crop", "region"}, "a new field needs a line above"


@pytest.mark.parametrize("form", [cache.ACTIVATIONS, cache.IMAGES])
def test_key_depends_on_versions_and_layout(
    tiny_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Activations, or images, of another version, which decodes or rounds otherwise or stores something else."""

    def key() -> str:
        return cache.cache_key(images_sha256="", network=tiny_network(), image_size=32, dtype="float16", form=form)

    keys = [key()]
    changes = [(PIL, "__version__", "0.1"), (cache, "LAYOUT", cache.LAYOUT + 1), (torch, "__version__", "0.1")]
    for module, name, value in changes if form == cache.ACTIVATIONS else changes[:2]:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            keys.append(key())
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("count", [1, 64, 65, 130])
def test_a_hit_equals_a_miss(
    fill: Callable[..., Any], make_images: Callable[..., Any], tiny_network: Callable[..., Any], dtype: str, count: int
) -> None:
    """Rows of another batch after a batch border; a hit that decodes again; values rounded on one of the two ways."""
    images = make_images(count)
    progress, missed = fill(images, dtype=dtype)
    assert images.loads == count
    assert [item.done for item in progress] == sorted({item.done for item in progress})
    assert progress[0].done == 0 and progress[-1] == dataclasses.replace(progress[-1], done=count, total=count)
    again, hit = fill(images, dtype=dtype)
    assert images.loads == count
    # The log of a run does not depend on what another run left in the cache.
    assert [(type(item), item.done, item.total) for item in again] == [
        (CacheProgress, item.done, item.total) for item in progress
    ]
    np.testing.assert_array_equal(hit.values, missed.values)
    assert hit.values.dtype == np.dtype(dtype)
    alone = [
        compute_trunk([images.images.load(row)], tiny_network(), image_size=32, dtype=dtype, device=torch.device("cpu"))
        for row in range(count)
    ]
    np.testing.assert_allclose(hit.values, np.concatenate(alone), rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-4)


def test_number_formats_agree(fill: Callable[..., Any], make_images: Callable[..., Any]) -> None:
    """Half precision that overflows or loses more than its rounding."""
    images = make_images(10)
    half, single = (fill(images, dtype=dtype)[1].values for dtype in ("float16", "float32"))
    np.testing.assert_allclose(half, single, rtol=1e-3, atol=1e-4)


def test_unreadable_images_are_skipped_counted_and_named(
    fill: Callable[..., Any], make_images: Callable[..., Any]
) -> None:
    """Rows shifted against their images by one that could not be read; the same on a hit."""
    images = make_images(70, broken=(0, 5, 64, 69))
    _, whole = fill(make_images(70), cache_dir=Path(os.environ["PANDA_CACHE_DIR"]) / "whole")
    for hit in (False, True):
        before = images.loads
        progress, found = fill(images)
        assert not hit or images.loads - before == 4  # only those that have no row: why, is asked anew
        skipped = progress[-1]
        assert isinstance(skipped, ImagesSkipped)
        assert (skipped.split, skipped.count) == ("train", 4)
        assert skipped.names == ["image 0", "image 5", "image 64", "image 69"]
        assert all("damaged" in reason for reason in skipped.reasons)
        assert found.image_rows.tolist() == [row for row in range(70) if row not in (0, 5, 64, 69)]
        np.testing.assert_allclose(found.values, whole.values[found.image_rows], rtol=2e-3, atol=1e-4)


def test_names_are_todays(fill: Callable[..., Any], make_images: Callable[..., Any]) -> None:
    """Images called by the names they had when the entry was made: the key covers contents only."""
    images = make_images(6, broken=(2, 4))
    fill(images)
    images.names = [f"renamed {row}" for row in range(6)]
    progress, _ = fill(images)
    assert progress[-1].names == ["renamed 2", "renamed 4"]
    for row, reason in zip((2, 4), progress[-1].reasons, strict=True):  # nor does the reason name a stranger's file
        assert f"`renamed {row}`" in reason and "image" not in reason


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_readable_is_one_sentence(
    fill: Callable[..., Any], make_images: Callable[..., Any], count: int
) -> None:
    """A run on no images at all, or an IndexError."""
    with pytest.raises(PandaError, match=f"None of the {count} images of the train split could be decoded") as raised:
        fill(make_images(count, broken=tuple(range(count))))
    assert str(raised.value).count("Check the file") <= 1


@pytest.mark.parametrize("after", [0, 1, 2])
def test_closing_it_between_two_batches_leaves_no_entry(
    make_images: Callable[..., Any], tiny_network: Callable[..., Any], tmp_path: Path, after: int
) -> None:
    """Half an entry taken for a whole one after a stop; decoding that goes on after it; no moment between two batches
    at which it could be stopped."""
    options: dict[str, Any] = {"split": "train", "image_size": 32, "dtype": "float16", "device": torch.device("cpu")}
    images = make_images(150)
    filling = cache.trunk_activations(images, tiny_network(), cache_dir=tmp_path / "cache", **options)
    for _ in range(1 + after):
        next(filling)
    filling.close()
    loads = images.loads
    assert 64 * after <= loads <= 64 * (1 + after)  # as many as wait are decoded ahead
    time.sleep(0.1)
    assert images.loads == loads
    assert list((tmp_path / "cache").iterdir()) == []


def damages() -> dict[str, Callable[[Path], object]]:
    def change(entry: Path, **fields: Any) -> None:
        record = json.loads((entry / "entry.json").read_text())
        (entry / "entry.json").write_text(json.dumps({**record, **fields}))

    return {
        "values truncated": lambda entry: os.truncate(entry / "activations.npy", 400),
        "values empty": lambda entry: os.truncate(entry / "activations.npy", 0),
        "values gone": lambda entry: (entry / "activations.npy").unlink(),
        "values of objects": lambda entry: np.save(entry / "activations.npy", np.array([{}]), allow_pickle=True),
        "values of other images": lambda entry: np.save(entry / "activations.npy", np.zeros((3, 4, 7, 7), np.float16)),
        "values of another format": lambda entry: np.save(entry / "activations.npy", np.zeros((9, 4, 7, 7), "f4")),
        "record gone": lambda entry: (entry / "entry.json").unlink(),
        "record torn": lambda entry: os.truncate(entry / "entry.json", 20),
        "record of another kind": lambda entry: (entry / "entry.json").write_text("[]"),
        "record lacks an image": lambda entry: change(entry, kept=[0, 1]),
        "record repeats an image": lambda entry: change(entry, kept=[0] * 8),
        "record has no numbers": lambda entry: change(entry, kept=["a"] * 9),
        "folder empty": lambda entry: [path.unlink() for path in entry.iterdir()],
        "a file instead": lambda entry: (shutil.rmtree(entry), entry.touch()),
    }


@pytest.mark.parametrize("damage", damages())
def test_a_damaged_entry_is_computed_again(
    fill: Callable[..., Any], make_images: Callable[..., Any], tmp_path: Path, damage: str
) -> None:
    """Every later run of the same data fails, or works on wrong activations, until somebody deletes the cache."""
    images = make_images(9)
    _, first = fill(images)
    expected = np.array(first.values)
    del first
    (entry,) = entries(tmp_path / "cache")
    damages()[damage](entry)
    _, again = fill(images)
    np.testing.assert_array_equal(again.values, expected)
    assert images.loads >= 18
    _, hit = fill(images)
    np.testing.assert_array_equal(hit.values, expected)
    assert images.loads >= 18


def test_two_processes_may_fill_one_entry(
    fill: Callable[..., Any], make_images: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the slower of two processes, or an entry mixed of both, or one that the other takes for damaged.

    All wait for one another in mid-work, and each lingers before it removes what it found to be no entry.
    """
    processes = multiprocessing.get_context("fork")
    barrier, sums = processes.Barrier(3), processes.Queue()

    class Waiting:
        def __init__(self) -> None:
            self.images = make_images(130)
            self.names, self.digest = self.images.names, self.images.digest

        def __len__(self) -> int:
            return 130

        def load(self, index: int) -> np.ndarray:
            if index in (70, 129):
                barrier.wait(30)
            return self.images.load(index)

    remove = cache._remove

    def work(number: int) -> None:
        monkeypatch.setattr(cache, "_remove", lambda entry: (time.sleep(0.2 * number), remove(entry)))
        total = np.asarray(fill(Waiting())[1].values, np.float64).sum()
        (entry,) = (entry for entry in entries(tmp_path / "cache") if not entry.name.startswith("."))
        sums.put((total, (entry / "entry.json").stat().st_ino))

    workers = [processes.Process(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    found = {sums.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(found) == 1
    assert [path for path in (tmp_path / "cache").iterdir() if path.name != cache.LOCK] == entries(tmp_path / "cache")


def test_entries_used_longest_ago_go_first(
    fill: Callable[..., Any], make_images: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that grows for ever, throws away what was just used, or deletes the entry it has just made."""
    sets = [make_images(20, seed=seed) for seed in range(4)]
    for images in sets[:3]:
        fill(images)
    (size, *_) = [sum(file.stat().st_size for file in entry.iterdir()) for entry in entries(tmp_path / "cache")]
    for entry in entries(tmp_path / "cache"):
        os.utime(entry / "entry.json", (1e9, 1e9))
    fill(sets[1])  # a hit counts as use
    monkeypatch.setenv("PANDA_CACHE_GB", str(2.5 * size / 1e9))
    fill(sets[3])
    assert [images.loads for images in sets] == [20, 20, 20, 20]
    assert len(entries(tmp_path / "cache")) == 2
    fill(sets[1])
    fill(sets[3])
    assert [images.loads for images in sets] == [20, 20, 20, 20]
    monkeypatch.setenv("PANDA_CACHE_GB", str(0.1 * size / 1e9))
    _, found = fill(sets[0])
    assert len(found.values) == 20
    assert len(entries(tmp_path / "cache")) == 1


def test_a_full_disk_is_one_sentence(
    fill: Callable[..., Any], make_images: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process killed by a bus error when a memory-mapped file meets a full disk; a part left on it."""

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(PandaError, match=r"No space left.*PANDA_CACHE_DIR"):
        fill(make_images(3))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_is_a_file_is_one_sentence(
    fill: Callable[..., Any], make_images: Callable[..., Any], tmp_path: Path
) -> None:
    """A traceback where `PANDA_CACHE_DIR` names a file."""
    (tmp_path / "cache").touch()
    with pytest.raises(PandaError, match="PANDA_CACHE_DIR"):
        fill(make_images(3))


def test_a_hit_needs_no_right_to_write(
    fill: Callable[..., Any], make_images: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache shared read-only among users that is never hit, because its time of use cannot be noted."""
    images = make_images(3)
    fill(images)

    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "utime", refuse)
    fill(images)
    assert images.loads == 3


@pytest.mark.parametrize("text", ["0", "-1", "much", "nan", "inf"])
def test_a_bad_cap_is_one_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A cap that is not understood and deletes everything, or nothing."""
    monkeypatch.setenv("PANDA_CACHE_GB", text)
    with pytest.raises(UsageError, match="`PANDA_CACHE_GB` must be a number of gigabytes above 0"):
        cache_cap()


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache in the home folder of a server whose operator chose another disk."""
    monkeypatch.setenv("PANDA_CACHE_DIR", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("PANDA_CACHE_DIR")
    assert default_cache_dir().parts[-3:] == (".cache", "panda_core", "cache")
