"""Maps as files: for each image the picture with its map as PNG and the map itself as NPY, in a folder or a zip."""

from __future__ import annotations

import contextlib
import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from panda_core.errors import UsageError
from panda_core.figures.heatmaps import Scale, heated, png_of
from panda_core.records import new_file, plain_cell, write_atomically

COLUMNS = ("file", "name", "score", "verdict", "highest")


def check_target(target: Path) -> None:
    """Raise `UsageError` unless `target` can be filled: a new name, or an empty folder; `.zip` makes an archive."""
    if target.suffix.lower() == ".zip":
        if target.exists():
            raise UsageError(f"`{target}` exists already. Give another name with `--maps`.")
    elif target.exists() and (not target.is_dir() or any(not path.name.startswith(".") for path in target.iterdir())):
        raise UsageError(f"`{target}` is not an empty folder. Give another name with `--maps`.")


def check_outside(target: Path, folder: Path) -> None:
    """Raise `UsageError` where maps would be written into a folder of images, and be taken for some of them."""
    if target.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"`--maps` must lie outside of `{folder}`, or the maps are taken for images of it; got `{target}`."
        )


def write_maps(
    target: Path,
    items: Iterable[tuple[str, np.ndarray, np.ndarray, float]],
    scale: Scale,
    verdict: Callable[[float], str],
) -> int:
    """Write (name, image (H, W, 3), map (S, S), score) of each item and a table of them; return how many there were.

    All pictures share `scale`. Files are numbered, because names are other people's and may be anything; the table
    `maps.csv` says which is which. verdict: what a score means, see `panda_core.runs.calibration`.
    """
    rows: list[dict[str, Any]] = []
    with _filled(target) as put:
        for number, (name, image, values, score) in enumerate(items):
            file = f"{number:05d}"
            cells = (file, plain_cell(name), score, verdict(score), float(values.max()))
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
            for ending, content in _files_of(image, values, scale):
                put(file + ending, content)
        put("maps.csv", _table(rows))
    return len(rows)


def write_map(stem: Path, image: np.ndarray, values: np.ndarray, scale: Scale) -> None:
    """Write one image (H, W, 3) with its map (S, S) as `stem`.png, and the map as `stem`.npy; each whole or not."""
    for ending, content in _files_of(image, values, scale):
        write_whole(stem.with_name(stem.name + ending), content)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once."""
    write_atomically(path, lambda file: file.write(content))


def _files_of(image: np.ndarray, values: np.ndarray, scale: Scale) -> tuple[tuple[str, bytes], ...]:
    """Return (ending, content) of the files of one map."""
    return (".png", png_of(heated(image, values, scale))), (".npy", _npy(values))


@contextlib.contextmanager
def _filled(target: Path) -> Iterator[Callable[[str, bytes], object]]:
    """Yield a function (file name, content) that fills a folder, or an archive that appears whole at the end."""
    if target.suffix.lower() == ".zip":
        with new_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            yield archive.writestr
    else:
        yield lambda name, content: write_whole(target / name, content)


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _table(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
