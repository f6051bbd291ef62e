"""Fetching data sets: what torchvision is asked for, where it goes, what is said; from a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from panda_core.datasets import DATASETS
from panda_core.datasets.io.downloads import download
from panda_core.errors import PandaError, UsageError

Publish = Callable[[str], Path]
BY_TORCHVISION = {"cifar10", "cifar100", "fashion_mnist", "flowers102"}


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch, publish: Publish) -> list[tuple[Any, ...]]:
    """Replace torchvision's data sets by ones that write small copies; return what they are asked for."""
    from panda_core.datasets.io import downloads

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


@pytest.fixture
def official(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have torchvision fetch small copies, packed as the real ones are, from a server on this machine."""
    from panda_core.datasets.io import downloads

    real, folder = downloads._torchvision_datasets(), tmp_path / "official"
    folder.mkdir()

    def packed(name: str, inside: Path, *members: str) -> str:
        with tarfile.open(folder / name, "w:gz") as archive:
            for member in members:
                archive.add(inside / member, member)
        return digest(name)

    def digest(name: str) -> str:
        return hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    address = f"http://127.0.0.1:{server.server_port}/"
    for row, key, inside in (
        (real.CIFAR10, "cifar10", "cifar-10-batches-py"),
        (real.CIFAR100, "cifar100", "cifar-100-python"),
    ):
        md5 = packed(row.filename, publish(key), inside)
        monkeypatch.setattr(row, "url", address + row.filename)
        monkeypatch.setattr(row, "tgz_md5", md5)
    for path in publish("fashion_mnist").rglob("*.gz"):
        shutil.copy(path, folder)
    names = [name for name, _ in real.FashionMNIST.resources]
    monkeypatch.setattr(real.FashionMNIST, "resources", [(name, digest(name)) for name in names])
    monkeypatch.setattr(real.FashionMNIST, "mirrors", [address])
    flowers = publish("flowers102") / "flowers-102"
    packed("102flowers.tgz", flowers, "jpg")
    for name in ("imagelabels.mat", "setid.mat"):
        shutil.copy(flowers / name, folder)
    files = {part: (name, digest(name)) for part, (name, _) in real.Flowers102._file_dict.items()}
    monkeypatch.setattr(real.Flowers102, "_file_dict", files)
    monkeypatch.setattr(real.Flowers102, "_download_url_prefix", address)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that does not write each request down."""

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.mark.parametrize("key", sorted(BY_TORCHVISION))
def test_torchvision_fetches_what_its_loader_opens(key: str, official: Path, tmp_path: Path) -> None:
    """Guards: a function of torchvision that is called wrongly, which replaced ones do not tell."""
    dataset, root = DATASETS[key], tmp_path / "fetched"
    download(dataset, root)
    splits = dataset.open(root, dataset.classes(root)[0], 0)
    assert splits.train.load(0).shape[2] == 3 and len(splits.test) > 0


def test_a_file_that_is_not_the_published_one_is_refused(official: Path, tmp_path: Path) -> None:
    """Guards: a download that was changed on the way, and then opened."""
    archive = official / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(PandaError, match=r"could not be downloaded: .*corrupted\. By hand: .*163 MB"):
        download(DATASETS["cifar10"], tmp_path / "fetched")


@pytest.mark.parametrize("key", sorted(set(DATASETS) - BY_TORCHVISION - {"digits", "elpv", "textile"}))
def test_what_needs_a_person_is_described(key: str, tmp_path: Path) -> None:
    """Guards: a command that ends without a word about what to do instead."""
    with pytest.raises(UsageError, match=rf"`{key}` has to be fetched by hand\. .*fetch .*\d+ [MG]B.*https://"):
        download(DATASETS[key], tmp_path)
    assert "--download" not in (DATASETS[key].missing(tmp_path) or "")


@pytest.mark.parametrize(
    "error",
    [OSError("no route to host"), RuntimeError("Error:\nTried one,\tgot: <no route to host>\n")],
)
def test_failures_end_in_one_sentence(error: Exception, tmp_path: Path) -> None:
    """Guards: a traceback where there is no network; half a download taken for the data set."""

    def fail(root: Path) -> None:
        raise error

    broken = dataclasses.replace(DATASETS["cifar100"], download=fail)
    with pytest.raises(
        PandaError, match=r"could not be downloaded: .*no route to host>?\. By hand: .*161 MB"
    ) as caught:
        download(broken, tmp_path)
    assert "\n" not in str(caught.value) and "--download" not in str(caught.value)
    nothing = dataclasses.replace(DATASETS["cifar100"], download=lambda root: None)
    with pytest.raises(PandaError, match="is still not complete after downloading"):
        download(nothing, tmp_path)
