"""Fetching data sets from their official places through torchvision, which checks every file against its MD5.

Nothing here reads what was fetched: that is the work of the loaders, which do not trust it. The official servers of
the other data sets ask for a person (a form, a licence, a browser); their loaders say what to fetch by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panda_core.errors import PandaError, UsageError
from panda_core.torchvision_operators import declare_operators

if TYPE_CHECKING:  # `one_class` would import this module through the data sets otherwise
    from panda_core.datasets.one_class import Dataset


def download(dataset: Dataset, root: Path) -> None:
    """Fetch `dataset` into the data root, unless it is there already.

    A data set that has to be fetched by hand raises `UsageError`, which says how; a failure `PandaError`.
    """
    missing = dataset.missing(root)
    if missing is None:
        return
    if dataset.download is None:
        raise UsageError(f"`{dataset.key}` has to be fetched by hand. {missing}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        dataset.download(root)
    except (OSError, RuntimeError, ValueError) as error:  # no network, no space, a file with another MD5
        # Several mirrors make several lines; and to try the same command again is no advice.
        reason, by_hand = (
            " ".join(str(error).split()).rstrip(" ."),
            missing.replace(by_command(dataset.key), "").strip(),
        )
        raise PandaError(f"`{dataset.key}` could not be downloaded: {reason}. By hand: {by_hand}") from error
    missing = dataset.missing(root)
    if missing is not None:
        raise PandaError(f"`{dataset.key}` is still not complete after downloading. {missing}")


def by_command(key: str) -> str:
    """Return the sentence that names the command which fetches the data set `key`."""
    return f"Or fetch it with `python -m panda_core datasets --download {key}`."


def cifar_archive(name: str) -> Callable[[Path], None]:
    """Return what fetches and unpacks the archive of torchvision's `name`, `CIFAR10` or `CIFAR100`.

    torchvision's own constructor is not called: it would run the pickles that are inside.
    """

    def fetch(root: Path) -> None:
        published = getattr(_torchvision_datasets(), name)
        _torchvision_datasets().utils.download_and_extract_archive(
            published.url, str(root), filename=published.filename, md5=published.tgz_md5
        )

    return fetch


def torchvision_download(name: str, **arguments: Any) -> Callable[[Path], None]:
    """Return what lets torchvision's data set `name` download itself into the data root."""

    def fetch(root: Path) -> None:
        getattr(_torchvision_datasets(), name)(str(root), download=True, **arguments)

    return fetch


def _torchvision_datasets() -> Any:
    declare_operators()
    import torchvision.datasets

    return torchvision.datasets
