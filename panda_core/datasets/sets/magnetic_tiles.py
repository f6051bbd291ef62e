"""Magnetic tiles: 1,344 grey photographs of tiles for electric motors, 392 of them with one of five defects, masked.

The protocol is DifferNet's (Rudolph, Wandt, Rosenhahn, WACV 2021), which PatchCore follows: 80 % of the tiles without
defects for training, the rest and all defective ones for testing. DifferNet published the names of its 761 training
tiles; put beside the data they are used, otherwise as many are chosen by the seed.
"""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import numpy as np

from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files
from panda_core.datasets.io.masks import FileMasks
from panda_core.datasets.one_class import Dataset, LabelledSplits
from panda_core.errors import DataMissing, UsageError

FREE = "free"
DEFECTS = ("blowhole", "break", "crack", "fray", "uneven")
NAMES_FILE = "mtd_train_filenames.txt"
FOLDERS = (  # as this project, GitHub's zip file and a clone call it
    "magnetic_tiles",
    "Magnetic-tile-defect-datasets.-master",
    "Magnetic-tile-defect-datasets.",
    "Magnetic-Tile-Defect-master",
    "Magnetic-Tile-Defect",
)
SOURCE = "https://github.com/abin24/Magnetic-tile-defect-datasets."


def open_splits(root: Path, normal_class: str, seed: int) -> LabelledSplits:
    """Return 80 % of the tiles without defects for training, chosen by `NAMES_FILE` or else by `seed`.

    The test set is the others and all defective tiles; its masks are the files that lie beside them.
    """
    folder = _folder(root)
    if folder is None:
        raise DataMissing(_how_to_get(root))
    places = {kind: _tiles(folder, kind) for kind in (FREE, *DEFECTS)}
    free = np.array(places[FREE])
    names = next((path for path in (folder / NAMES_FILE, root / NAMES_FILE) if path.is_file()), None)
    in_train = _drawn(len(free), seed) if names is None else _listed(names, places[FREE])
    train, held_out = free[in_train].tolist(), free[~in_train].tolist()
    test = [(place, FREE) for place in held_out] + [(place, kind) for kind in DEFECTS for place in places[kind]]
    masks = [str(Path(place).with_suffix(".png")) for place, _ in test]
    return LabelledSplits(
        train=FileImages.below(folder, train),
        train_labels=np.full(len(train), FREE),
        test=FileImages.below(folder, [place for place, _ in test]),
        test_labels=np.array([kind for _, kind in test]),
        normal_label=FREE,
        test_masks=FileMasks(
            folder,
            [[place] if (folder / place).is_file() else [] for place in masks],
            [place for place, _ in test],
            [kind == FREE for _, kind in test],
        ),
    )


def _folder(root: Path) -> Path | None:
    """Return the folder that holds `MT_Free/Imgs` and the five of the defects."""
    wanted = [f"MT_{kind.capitalize()}/Imgs" for kind in (FREE, *DEFECTS)]
    places = (root / name for name in FOLDERS)
    return next((place for place in places if all((place / name).is_dir() for name in wanted)), None)


def _tiles(folder: Path, kind: str) -> list[str]:
    """Return the places of the tiles of one kind; the masks are the PNG files of the same names."""
    inside = f"MT_{kind.capitalize()}/Imgs"
    return [f"{inside}/{place}" for place in image_files(folder / inside) if place.endswith(".jpg")]


def _drawn(count: int, seed: int) -> np.ndarray:
    """Return which of `count` tiles are for training, as bool: 80 %, rounded down, 761 of 952 as DifferNet has it."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(count)[: count * 4 // 5]] = True
    return chosen


def _listed(path: Path, free: list[str]) -> np.ndarray:
    """Return which of the tiles `free` the file lists, as bool: a name a line, its folder and ending do not matter."""
    rows = {Path(place).stem: row for row, place in enumerate(free)}
    chosen = np.zeros(len(free), dtype=bool)
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        stem = PureWindowsPath(line.strip()).stem  # parts names at both kinds of slashes
        if stem not in rows:
            raise UsageError(
                f"Line {number} of `{path}` must be the name of a tile in `MT_Free/Imgs`; got `{line[:80]}`. "
                "Replace the file by DifferNet's, or remove it for a split by the seed."
            )
        chosen[rows[stem]] = True
    return chosen


def _how_to_get(root: Path) -> str:
    return (
        f"The magnetic tiles are not on this machine: fetch {SOURCE} (about 60 MB; the final dot is part of the "
        "address) and put `MT_Free`, `MT_Blowhole`, `MT_Break`, `MT_Crack`, `MT_Fray` and `MT_Uneven`, each with its "
        f"folder `Imgs` of `.jpg` images and `.png` masks, into `{root / FOLDERS[0]}`; `{NAMES_FILE}` of "
        "https://github.com/marco-rudolph/differnet beside them, if you want its split."
    )


MAGNETIC_TILES = Dataset(
    key="magnetic_tiles",
    title="Magnetic tiles (MTD)",
    about=(
        "Grey photographs of magnetic tiles, 85 to 632 pixels wide. Normal: free of defects (952), 761 of them for "
        f"training: the published ones if `{NAMES_FILE}` lies beside the data, else chosen by the seed. Tiles were "
        "photographed several times (`exp1_num_N` to `exp6_num_N`): with seed 0, 153 of the 191 normal test tiles "
        "nearly equal a training tile, which makes the test easier than it seems. "
        "Anomalous: blowhole (115), break (85), crack (57), fray (32), uneven (103), with masks; the masks of four "
        "uneven tiles are empty, so their defects are not marked. Tiles are far from square: the bundled networks "
        "see the whole tile squeezed into a square, nothing is cut off."
    ),
    source=SOURCE,
    licence="none stated; cite the paper",
    citation=(
        "Huang, Y., Qiu, C. & Yuan, K. Surface defect saliency of magnetic tile. The Visual Computer 36, 2020 (first "
        "online 2018). doi:10.1007/s00371-018-1588-5"
    ),
    image_size=224,
    classes=lambda root: (FREE,),
    open=open_splits,
    missing=lambda root: None if _folder(root) else _how_to_get(root),
)
