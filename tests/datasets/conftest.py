"""Small data on disk in the formats in which the real data is published."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes alike as Python 2 strings, as the official CIFAR files hold them."""

    dispatch: ClassVar[dict[type, Callable[..., None]]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        content = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value: object) -> bytes:
    """Return `value` pickled as by Python 2 and its NumPy."""
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_pixels(count: int) -> np.ndarray:
    """Return the planes of `count` images, each image another, as uint8 (count, 3072)."""
    return np.arange(count * 3072, dtype=np.int64).reshape(-1, 3072).astype(np.uint8)


def official_batch(labels: list[int], data: np.ndarray | None = None) -> bytes:
    """Return the bytes of an official batch of CIFAR-10."""
    names = [f"a_s_{number:06d}.png" for number in range(len(labels))]
    data = cifar_pixels(len(labels)) if data is None else data
    return python2_pickle({"batch_label": "a batch", "labels": labels, "data": data, "filenames": names})


@pytest.fixture
def cifar_batch() -> Callable[..., bytes]:
    """Return a function (labels, data) -> the bytes of an official batch."""
    return official_batch


@pytest.fixture
def pickled() -> Callable[[object], bytes]:
    """Return a function that pickles as Python 2 did."""
    return python2_pickle


def write_cifar10(root: Path) -> None:
    """Write the official pickles, 20 images a batch."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(official_batch(list(range(10)) * 2))


@pytest.fixture
def cifar_root(tmp_path: Path) -> Path:
    """Return a data root with the official pickles, 20 images a batch."""
    write_cifar10(tmp_path / "data root")
    return tmp_path / "data root"


def write_cifar100(root: Path) -> None:
    """Write the two official files: each of the hundred fine labels twice for training, once for testing."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, times in (("train", 2), ("test", 1)):
        fine = list(range(100)) * times
        fields = {"filenames": [f"{row}.png" for row in fine], "batch_label": name, "fine_labels": fine}
        coarse = [COARSE[label] for label in fine]
        data = np.random.default_rng(times).integers(0, 256, (len(fine), 3072), dtype=np.uint8)
        (folder / name).write_bytes(python2_pickle({**fields, "coarse_labels": coarse, "data": data}))


# The groups of the official page; a fine class is its place in the alphabet. Aquatic mammals are beaver, dolphin,
# otter, seal and whale: 4, 30, 55, 72 and 95.
COARSE_MEMBERS = (
    "4 30 55 72 95|1 32 67 73 91|54 62 70 82 92|9 10 16 28 61|0 51 53 57 83|22 39 40 86 87|5 20 25 84 94|6 7 14 18 24|"
    "3 42 43 88 97|12 17 37 68 76|23 33 49 60 71|15 19 21 31 38|34 63 64 66 75|26 45 77 79 99|2 11 35 46 98|"
    "27 29 44 78 93|36 50 65 74 80|47 52 56 59 96|8 13 48 58 90|41 69 81 85 89"
)
COARSE = {int(fine): coarse for coarse, members in enumerate(COARSE_MEMBERS.split("|")) for fine in members.split()}


def idx(values: np.ndarray) -> bytes:
    """Return uint8 values as an IDX file."""
    return struct.pack(f">I{values.ndim}I", 0x0800 + values.ndim, *values.shape) + values.tobytes()


def write_fashion(root: Path) -> None:
    """Write the four official files: three images of each class for training, two for testing."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for stem, times in (("train", 3), ("t10k", 2)):
        labels = np.tile(np.arange(10, dtype=np.uint8), times)
        pixels = np.random.default_rng(times).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))


def draw(folder: Path, *places: str) -> None:
    """Write one small, unique image for each path below a folder."""
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(place.encode()))
        Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)


PET_NUMBERS = (0, 2, 10, 9999, 10000, 12499)


def write_pets(root: Path) -> None:
    """Write cats and dogs as Kaggle's `train.zip` is unpacked: a few numbers around the borders of the split."""
    draw(root / "cats_vs_dogs" / "train", *(f"{kind}.{row}.jpg" for kind in ("cat", "dog") for row in PET_NUMBERS))


def annotation(boxes: list[tuple[str, tuple[int, int, int, int]]]) -> str:
    """Return boxes as an XML file in the form of Pascal VOC."""
    objects = "".join(
        f"<object><name>{kind}</name><pose>Unspecified</pose><bndbox>"
        f"<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for kind, box in boxes
    )
    return f"<annotation><filename>x.jpg</filename><size><width>800</width></size>{objects}</annotation>"


def write_dior(root: Path) -> None:
    """Write aerial images of 800 x 800: 51 large airplanes and ships for training, 50 large dams, small vehicles."""
    folder = root / "dior"
    boxes_folder = folder / "Annotations" / "Horizontal Bounding Boxes"
    boxes_folder.mkdir(parents=True)
    places = [(130 * column, 130 * row) for row in range(6) for column in range(6)]
    wanted = {"airplane": (51, 3), "ship": (51, 2), "dam": (50, 2), "vehicle": (60, 60)}
    for half, split in enumerate(("JPEGImages-trainval", "JPEGImages-test")):
        (folder / split).mkdir()
        kinds = [kind for kind, counts in wanted.items() for _ in range(counts[half])]
        for number, start in enumerate(range(0, len(kinds), len(places)), start=1 + 100 * half):
            boxes = []
            for kind, (left, top) in zip(kinds[start : start + len(places)], places, strict=False):
                side = (121, 122) if kind != "vehicle" else (120, 129)  # 120 is not larger than 120
                boxes.append((kind, (left, top, left + side[0], top + side[1])))
            shade = np.tile(np.linspace(0, 255, 800).astype(np.uint8), (800, 1))
            aerial = Image.fromarray(np.dstack([shade, shade.T, np.full_like(shade, number)]))
            aerial.save(folder / split / f"{number:05d}.jpg", quality=95)
            (boxes_folder / f"{number:05d}.xml").write_text(annotation(boxes))


def write_birds(root: Path) -> None:
    """Write CUB-200-2011: two training and one test image of the species 1 to 20, 21 and 200."""
    folder = root / "CUB_200_2011"
    names = [f"{number:03d}.{name}" for number, name in enumerate([*BIRDS.split(), "Eastern_Towhee"], start=1)]
    names.append("200.Common_Yellowthroat")
    places = [f"{name}/{name[4:]}_{row:04d}_{row}.jpg" for name in names for row in range(3)]
    draw(folder / "images", *places)
    rows = list(enumerate(places, start=1))
    (folder / "images.txt").write_text("".join(f"{number} {place}\n" for number, place in rows))
    (folder / "image_class_labels.txt").write_text("".join(f"{number} {int(place[:3])}\n" for number, place in rows))
    (folder / "train_test_split.txt").write_text("".join(f"{number} {int(number % 3 != 0)}\n" for number, _ in rows))


BIRDS = """Black_footed_Albatross Laysan_Albatross Sooty_Albatross Groove_billed_Ani Crested_Auklet Least_Auklet
Parakeet_Auklet Rhinoceros_Auklet Brewer_Blackbird Red_winged_Blackbird Rusty_Blackbird Yellow_headed_Blackbird Bobolink
Indigo_Bunting Lazuli_Bunting Painted_Bunting Cardinal Spotted_Catbird Gray_Catbird Yellow_breasted_Chat"""


def write_flowers(root: Path) -> None:
    """Write Oxford flowers: two training, one validation and three test images of the species 1 to 20, 21 and 102."""
    from scipy.io import savemat

    folder = root / "flowers-102"
    species = [*range(1, 22), 102]
    labels = np.repeat(species, 6)
    draw(folder / "jpg", *(f"image_{number:05d}.jpg" for number in range(1, len(labels) + 1)))
    savemat(folder / "imagelabels.mat", {"labels": labels[None].astype(np.uint8)})  # (1, N), as published
    numbers = np.arange(1, len(labels) + 1).reshape(-1, 6)
    parts = {"trnid": numbers[:, :2], "valid": numbers[:, 2:3], "tstid": numbers[:, 3:]}
    savemat(folder / "setid.mat", {name: part.reshape(1, -1).astype(np.uint16) for name, part in parts.items()})


def write_cells(root: Path) -> None:
    """Write white blood cells of two sizes with the drawings of their nuclei: 11, 6, 5, 9 and one basophil."""
    labels = [1] * 11 + [2] * 6 + [3] * 5 + [4] * 9 + [5]
    folder = root / "wbc" / "Dataset 1"
    folder.mkdir(parents=True)
    for number in range(1, len(labels) + 1):
        side = 12 - number % 2
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.bmp")
        Image.fromarray(pixels[..., 0]).save(folder / f"{number:03d}.png")
    rows = [f"{number},{label}\r\n" for number, label in enumerate(labels, start=1)]
    (root / "wbc" / "Class Labels of Dataset 1.csv").write_text("image ID,class label\r\n" + "".join(rows), newline="")


def write_gut(root: Path) -> None:
    """Write labelled images of Hyper-Kvasir: 21 + 2 + 10 healthy ones, 5 polyps, and findings that are not used."""
    lower = root / "hyper_kvasir" / "labeled-images" / "lower-gi-tract"
    for finding, count in (
        ("anatomical-landmarks/cecum", 21),
        ("anatomical-landmarks/ileum", 2),
        ("anatomical-landmarks/retroflex-rectum", 3),
        ("quality-of-mucosal-views/bbps-0-1", 3),
        ("quality-of-mucosal-views/bbps-2-3", 10),
        ("pathological-findings/polyps", 5),
        ("pathological-findings/hemorrhoids", 2),
    ):
        draw(lower, *(f"{finding}/{finding[-5:]}-{row:04d}.jpg" for row in range(count)))


@pytest.fixture
def write_images() -> Callable[..., None]:
    """Return a function that writes one small, unique PNG or JPEG for each path below a folder."""
    return draw


def write_tiles(root: Path) -> None:
    """Write magnetic tiles as published: grey JPEG, soft masks; twelve free, two of each defect.

    The defect covers rows 2 to 5 and columns 4 to 11. The mask of one uneven tile is empty.
    """
    for number, kind in enumerate(("Free", "Blowhole", "Break", "Crack", "Fray", "Uneven")):
        folder = root / "magnetic_tiles" / f"MT_{kind}" / "Imgs"
        folder.mkdir(parents=True)
        for row in range(12 if kind == "Free" else 2):
            rng = np.random.default_rng([number, row])
            grey = rng.integers(60, 120, (20, 30 + row), dtype=np.uint8)
            mask = np.zeros_like(grey)
            if kind != "Free" and (kind, row) != ("Uneven", 1):
                mask[1:7, 3:13] = 60  # the soft rim
                mask[2:6, 4:12] = 200
            name = f"exp{row % 6 + 1}_num_{100 * number + row}"
            Image.fromarray(grey).save(folder / f"{name}.jpg")
            Image.fromarray(mask).save(folder / f"{name}.png")


def write_textile(root: Path) -> None:
    """Write textiles as the package has them: ten nominal ones, three of each defect."""
    for kind, count in (("nominal", 10), ("local", 3), ("global", 3)):
        draw(root / "textile", *(f"{kind}/textile_{row:04d}.jpg" for row in range(1, count + 1)))


def write_mvtec(root: Path) -> None:
    """Write two categories of MVTec AD, as its archive is unpacked."""
    for category in ("bottle", "zipper"):
        folder = root / "mvtec" / category
        draw(folder, *(f"train/good/{row:03d}.png" for row in range(4)))
        draw(folder, *(f"test/{kind}/{row:03d}.png" for kind in ("good", "broken_large") for row in range(3)))
        for row in range(3):
            path = folder / "ground_truth" / "broken_large" / f"{row:03d}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((6, 5), dtype=np.uint8)
            mask[row] = 255
            Image.fromarray(mask).save(path)
        (folder / "license.txt").write_text("CC BY-NC-SA 4.0")


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "fashion_mnist": write_fashion,
    "cats_vs_dogs": write_pets,
    "dior": write_dior,
    "cub200": write_birds,
    "flowers102": write_flowers,
    "wbc": write_cells,
    "hyper_kvasir": write_gut,
    "magnetic_tiles": write_tiles,
    "mvtec": write_mvtec,
    "textile": write_textile,
}


@pytest.fixture
def publish(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a small copy of one data set, for a test to change, and returns the data root."""

    def write(key: str) -> Path:
        WRITERS[key](tmp_path / "data root")
        return tmp_path / "data root"

    return write


@pytest.fixture
def tiles_root(publish: Callable[[str], Path]) -> Path:
    """Return a data root with magnetic tiles."""
    return publish("magnetic_tiles")


@pytest.fixture
def mvtec_root(publish: Callable[[str], Path]) -> Path:
    """Return a data root with two categories of MVTec AD."""
    return publish("mvtec")


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data root with a small copy of every data set, which tests only read."""
    root = tmp_path_factory.mktemp("published") / "data root"
    for write in WRITERS.values():
        write(root)
    return root
