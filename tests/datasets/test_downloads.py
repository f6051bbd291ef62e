"""Fetching data sets, with torchvision's functions replaced: what is asked for, where it goes, what is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from panda_core.datasets import DATASETS
from panda_core.datasets.downloads import download
from panda_core.errors import PandaError, UsageError

Publish = Callable[[str], Path]
BY_TORCHVISION = {"cifar10", "cifar100", "fashion_mnist", "flowers102"}


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch, publish: Publish) -> list[tuple[Any, ...]]:
    """Replace torchvision's data sets by ones that write small copies; return what they are asked for."""
    from panda_core.datasets import downloads

    real = downloads._torchvision_datasets()
    asked: list[tuple[Any, ...]] = []

    def archive(url: str, root: str, *, filename: str, md5: str) -> None:
        asked.append((url, Path(root), filename, len(md5)))
        publish("cifar100" if "100" in filename else "cifar10")

    def own(key: str) -> Callable[..., None]:
        def construct(root: str, *, download: bool) -> None:
            asked.append((key, Path(root), download))
            publish(key)

        return construct

    def keep(name: str) -> Any:
        row = getattr(real, name)  # no constructor here: torchvision's would run the pickles
        return SimpleNamespace(url=row.url, filename=row.filename, tgz_md5=row.tgz_md5)

    replaced = SimpleNamespace(
        CIFAR10=keep("CIFAR10"),
        CIFAR100=keep("CIFAR100"),
        FashionMNIST=own("fashion_mnist"),
        Flowers102=own("flowers102"),
        utils=SimpleNamespace(download_and_extract_archive=archive),
    )
    assert callable(real.utils.download_and_extract_archive)
    monkeypatch.setattr(downloads, "_torchvision_datasets", lambda: replaced)
    return asked


@pytest.mark.parametrize("key", sorted(BY_TORCHVISION))
def test_what_is_fetched_can_be_opened(key: str, torchvision: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """Guards: a folder in which the loader does not look; a data root that has to exist first; fetching twice."""
    dataset, root = DATASETS[key], tmp_path / "data root"
    assert dataset.missing(root) is not None and f"--download {key}`" in (dataset.missing(root) or "")
    download(dataset, root)
    assert len(dataset.open(root, dataset.classes(root)[0], 0).test) > 0
    download(dataset, root)
    assert len(torchvision) == 1 and torchvision[0][1] == root
    if key.startswith("cifar"):
        assert torchvision[0][0].startswith("https://www.cs.toronto.edu/~kriz/cifar-10") and torchvision[0][3] == 32


@pytest.mark.parametrize("key", sorted(set(DATASETS) - BY_TORCHVISION - {"digits", "elpv"}))
def test_what_needs_a_person_is_described(key: str, tmp_path: Path) -> None:
    """Guards: a command that ends without a word about what to do instead."""
    with pytest.raises(UsageError, match=rf"`{key}` has to be fetched by hand\. .*fetch .*https://"):
        download(DATASETS[key], tmp_path)
    assert "--download" not in (DATASETS[key].missing(tmp_path) or "")


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_failures_end_in_one_sentence(error: Exception, tmp_path: Path) -> None:
    """Guards: a traceback where there is no network; half a download taken for the data set."""

    def fail(root: Path) -> None:
        raise error

    broken = dataclasses.replace(DATASETS["cifar100"], download=fail)
    with pytest.raises(PandaError, match=rf"could not be downloaded: {error}.*By hand: .*161 MB"):
        download(broken, tmp_path)
    nothing = dataclasses.replace(DATASETS["cifar100"], download=lambda root: None)
    with pytest.raises(PandaError, match="is still not complete after downloading"):
        download(nothing, tmp_path)
