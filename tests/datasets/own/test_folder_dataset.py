"""`folder:PATH`: four layouts told apart, and a sentence where the names leave it open."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from panda_core.datasets import find_class, find_dataset, one_class_task
from panda_core.datasets.own.folder import folder_dataset
from panda_core.errors import DataMissing, UsageError
from tests.datasets.io.mask_files import KINDS

Write = Callable[..., None]


def numbered(folder: str, count: int, ending: str = ".png") -> list[str]:
    return [f"{folder}{row}{ending}" for row in range(count)]


def test_one_folder_of_normals(tmp_path: Path, write_images: Write) -> None:
    """Guards: nothing left to score, an image scored that was trained on, an AUROC promised."""
    write_images(tmp_path, *numbered("", 10))
    dataset = folder_dataset(tmp_path)
    assert dataset.classes(tmp_path) == ("normal",)
    task = one_class_task(dataset.open(tmp_path, "normal", 0), train_limit=None, test_limit=None, seed=0)
    assert (len(task.train), len(task.test)) == (7, 3) and not task.is_anomaly.any()
    assert sorted([*task.train.names, *task.test.names]) == numbered("", 10)
    assert "All 10 images are taken as normal" in dataset.about and "no AUROC" in dataset.about
    assert list(dataset.open(tmp_path, "normal", 1).train.names) != list(task.train.names)


@pytest.mark.parametrize("normal", ["normal", "good", "ok", "Good", "OK"])
def test_normals_and_anomalies(normal: str, tmp_path: Path, write_images: Write) -> None:
    """Guards: anomalies trained on or left out; a label read from a part of a name (`goods`, `not ok`)."""
    write_images(tmp_path, *numbered(f"{normal}/", 10), *numbered("goods/", 3), *numbered("not ok/deep/", 2))
    dataset = folder_dataset(tmp_path)
    assert dataset.classes(tmp_path) == (normal,)
    splits = dataset.open(tmp_path, normal, 0)
    assert len(splits.train) == 7 and set(splits.train_labels) == {normal}
    assert splits.test_labels.tolist() == [normal] * 3 + ["goods"] * 3 + ["not ok"] * 2
    assert all(name.startswith(f"{normal}/") for name in splits.train.names)
    assert set(splits.train.names).isdisjoint(splits.test.names)
    assert "The 5 images in `goods`, `not ok` are anomalous" in dataset.about


def test_classes_in_train_and_test(tmp_path: Path, write_images: Write) -> None:
    """Guards: a split of our own over the user's; a test set that changes with the normal class."""
    write_images(tmp_path, *numbered("train/cat/", 3), *numbered("train/dog/", 4))
    write_images(tmp_path, *numbered("test/cat/", 2), *numbered("test/dog/", 2), *numbered("test/emu/", 1))
    dataset = folder_dataset(tmp_path)
    assert dataset.classes(tmp_path) == ("cat", "dog")
    tasks = [
        one_class_task(dataset.open(tmp_path, name, 0), train_limit=None, test_limit=None, seed=0)
        for name in ("cat", "dog")
    ]
    assert [len(task.train) for task in tasks] == [3, 4]
    assert tasks[0].test.names == tasks[1].test.names
    assert tasks[0].is_anomaly.tolist() == [0, 0, 1, 1, 1] and tasks[1].is_anomaly.tolist() == [1, 1, 0, 0, 1]
    with pytest.raises(UsageError, match=r"Unknown class .*`emu`"):
        dataset.open(tmp_path, "emu", 0)


def test_mvtec_layout(tmp_path: Path, write_images: Write) -> None:
    """Guards: masks scored as images; a defect type counted as normal."""
    write_images(tmp_path, *numbered("train/good/", 4), *numbered("test/good/", 2), *numbered("test/scratch/", 2))
    write_images(tmp_path, *numbered("test/dent/", 1), *numbered("ground_truth/scratch/", 2, "_mask.png"))
    dataset = folder_dataset(tmp_path)
    assert dataset.classes(tmp_path) == ("good",)
    task = one_class_task(dataset.open(tmp_path, "good", 0), train_limit=None, test_limit=None, seed=0)
    assert len(task.train) == 4 and len(task.test) == 5
    anomalies = [name for name, bad in zip(task.test.names, task.is_anomaly, strict=True) if bad]
    assert anomalies == ["test/dent/0.png", "test/scratch/0.png", "test/scratch/1.png"]
    assert dataset.about == "Normal is `good`; anomalous in `test`: `dent`, `scratch`. 2 files are masks."


def write_mask(path: Path, *, value: int = 255, size: tuple[int, int] = (6, 5)) -> None:
    mask = np.zeros(size, dtype=np.uint8)
    mask[1:3, 2] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def test_masks_of_the_mvtec_layout(tmp_path: Path, write_images: Write) -> None:
    """Guards: a mask given to its neighbour or to the same number of another type; a missing one taken for empty."""
    write_images(tmp_path, *numbered("train/good/", 4), *numbered("test/good/", 1), *numbered("test/scratch/", 3))
    write_images(tmp_path, *numbered("test/dent/deep/", 1, ".jpg"), "test/odd.name/a.b.png")
    write_mask(tmp_path / "ground_truth/scratch/0_mask.png")
    write_mask(tmp_path / "ground_truth/scratch/1.png")
    write_mask(tmp_path / "ground_truth/dent/deep/0_mask.png", size=(12, 10))
    write_mask(tmp_path / "ground_truth/good/0_mask.png", value=0)
    write_mask(tmp_path / "ground_truth/odd.name/a.b_mask.png")
    splits = folder_dataset(tmp_path).open(tmp_path, "good", 0)
    assert splits.test_masks is not None
    found = {name: splits.test_masks.load(row) for row, name in enumerate(splits.test.names)}
    assert found.keys() == set(splits.test.names) and found["test/scratch/2.png"] is None
    clean = found["test/good/0.png"]
    assert clean is not None and not clean.any()
    for name, shape in (("scratch/0.png", (6, 5)), ("scratch/1.png", (6, 5)), ("dent/deep/0.jpg", (12, 10))):
        mask = found[f"test/{name}"]
        assert mask is not None and mask.shape == shape
        assert np.argwhere(mask).tolist() == [[1, 2], [2, 2]]
    assert found["test/odd.name/a.b.png"] is not None


def test_masks_beside_normals_and_anomalies(tmp_path: Path, write_images: Write) -> None:
    """Guards: masks found in one layout alone; a data set without masks that pretends to have some."""
    write_images(tmp_path, *numbered("good/", 10), *numbered("bad/", 2))
    assert folder_dataset(tmp_path).open(tmp_path, "good", 0).test_masks is None
    write_mask(tmp_path / "ground_truth/bad/1_mask.png")
    splits = folder_dataset(tmp_path).open(tmp_path, "good", 0)
    assert splits.test_masks is not None and len(splits.test_masks) == len(splits.test) == 5
    assert splits.test.names[3:] == ("bad/0.png", "bad/1.png")
    marked = splits.test_masks.load(4)
    assert splits.test_masks.load(3) is None and marked is not None and marked.sum() == 2


def test_mvtec_loco_is_read_as_it_is_published(tmp_path: Path, write_images: Write) -> None:
    """Guards: a folder that must be moved about first; images for validation that vanish; one mask of several taken."""
    write_images(tmp_path, *numbered("train/good/", 4), *numbered("validation/good/", 2), *numbered("test/good/", 2))
    write_images(tmp_path, *numbered("test/logical_anomalies/", 2))
    for part, column in (("0", 1), ("1", 3)):
        mask = np.zeros((12, 10), np.uint8)
        mask[2:5, column] = 255 - int(part)  # a value for each kind of defect
        path = tmp_path / "ground_truth/logical_anomalies/1" / f"{part}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    splits = folder_dataset(tmp_path).open(tmp_path, "good", 0)
    assert (len(splits.train), len(splits.test)) == (4, 4) and splits.test_masks is not None
    assert [name for name, _ in splits.left_out] == ["validation/good/0.png", "validation/good/1.png"]
    marked = splits.test_masks.load(3)
    assert marked is not None and np.flatnonzero(marked.any(axis=0)).tolist() == [1, 3]
    assert splits.test_masks.load(2) is None


@pytest.mark.parametrize(
    "places",
    [
        ("images/good/{}.png", "images/hole/{}.png", "masks/hole/{}_mask.png"),
        ("images/train/good/{}.png", "images/test/hole/{}.png", "masks/test/hole/{}.bmp"),
        ("good/{}.png", "hole/{}.png", "hole_mask/{}.png"),
        ("train/good/{}.png", "test/hole/{}.png", "test/hole_GT/{}.png"),
        ("good/{}.png", "hole/{}.png", "hole/{}_mask.png"),
    ],
)
def test_masks_of_other_layouts_are_used(places: tuple[str, str, str], tmp_path: Path, write_images: Write) -> None:
    """Guards: masks that count as images of another anomaly, or lie beside the folder that is read."""
    good, hole, masks = places
    write_images(tmp_path, *(good.format(row) for row in range(6)), *(hole.format(row) for row in range(2)))
    for row in range(2):
        write_mask(tmp_path / masks.format(row))
    splits = folder_dataset(tmp_path).open(tmp_path, "good", 0)
    assert splits.left_out == () and splits.test_masks is not None
    anomalous = np.flatnonzero(splits.test_labels != "good").tolist()
    assert [splits.test.names[row] for row in anomalous] == [hole.format(row) for row in range(2)]
    for row in anomalous:
        marked = splits.test_masks.load(row)
        assert marked is not None and marked.sum() == 2
        assert splits.test.load(row).shape == (6, 5, 3)


def test_normal_class_comes_first_and_under_other_names(tmp_path: Path, write_images: Write) -> None:
    """Guards: `defect` as the default normal class because of the alphabet; `test/OK` anomalous beside `train/good`."""
    write_images(tmp_path, *numbered("Train/defect/", 2), *numbered("Train/good/", 2))
    write_images(tmp_path, *numbered("Test/OK/", 2), *numbered("Test/Defect/", 1))
    dataset = folder_dataset(tmp_path)
    assert find_class(dataset, tmp_path, None) == "good"
    assert dataset.open(tmp_path, "good", 0).test_labels.tolist() == ["defect", "good", "good"]


def test_a_class_without_test_images_is_mentioned(tmp_path: Path, write_images: Write) -> None:
    """Guards: an empty curve that nobody explains."""
    write_images(tmp_path, *numbered("train/good/", 2), *numbered("test/bad/", 2))
    assert "`test` has no normal images" in folder_dataset(tmp_path).about
    write_images(tmp_path / "b", *numbered("train/good/", 2), *numbered("test/good/", 2))
    assert "nothing, hence no AUROC" in folder_dataset(tmp_path / "b").about


@pytest.mark.parametrize(
    "places, sentence",
    [
        ([], "holds no images"),
        (["masks/1.png"], "holds masks alone"),
        (["cat/1.png", "dog/1.png"], "none is called normal, good or ok"),
        (["good/1.png", "ok/1.png", "bad/1.png"], "`good`, `ok` could all be the normal one"),
        (["1.png", "bad/1.png"], "in `bad` and also beside, as `1.png`"),
        (["train/good/1.png"], "not in `train` and `test` alone"),
        (["train/good/1.png", "test/good/1.png", "valid/good/1.png"], "not in `train` and `test` alone"),
        (["train/good/1.png", "Train/good/2.png", "test/good/1.png"], "not in `train` and `test` alone"),
        (["train/1.png", "test/good/1.png"], "`train/1.png` .* must lie in the folder of its class"),
        (["only/1.png"], "images in `only` alone. If they are normal: `--dataset"),
        (["bottle/train/good/1.png", "cable/train/good/1.png"], "several data sets. Give one: .*/bottle"),
    ],
)
def test_unclear_layouts_end_in_a_sentence(
    places: list[str], sentence: str, tmp_path: Path, write_images: Write
) -> None:
    """Guards: a guess about what is normal; a list of datasets that fails because one folder is odd."""
    write_images(tmp_path, *places)
    dataset = folder_dataset(tmp_path)
    for call in (lambda: dataset.classes(tmp_path), lambda: dataset.open(tmp_path, "normal", 0)):
        with pytest.raises(UsageError, match=sentence):
            call()
    assert dataset.missing(tmp_path) == dataset.about and str(tmp_path) in dataset.about


def test_a_folder_that_is_not_there(tmp_path: Path, write_images: Write) -> None:
    """Guards: an old run whose folder has gone, which cannot even be listed; odd paths as other exceptions."""
    for path in (tmp_path / "gone", "~no-such-user/x", "x" * 5000, "nul\0"):
        dataset = folder_dataset(path)
        assert "does not exist" in (dataset.missing(tmp_path) or "")
        with pytest.raises(DataMissing):
            dataset.classes(tmp_path)
    write_images(tmp_path, "1.png")
    assert "is a file" in (folder_dataset(tmp_path / "1.png").missing(tmp_path) or "")


def test_unreadable_images_stay_to_be_counted(tmp_path: Path, write_images: Write) -> None:
    """Guards: bad files dropped in silence; text files and hidden files counted as images."""
    write_images(tmp_path, *numbered("", 4), ".hidden.png")
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    splits = folder_dataset(tmp_path).open(tmp_path, "normal", 0)
    assert sorted([*splits.train.names, *splits.test.names]) == [*numbered("", 4), "broken.png"]


def test_links_out_of_the_folder_are_refused(tmp_path: Path, write_images: Write) -> None:
    """Guards: a folder that shows images from elsewhere; `train` itself may not be a link either."""
    write_images(tmp_path / "elsewhere", "good/1.png", "2.png")
    write_images(tmp_path / "mine", *numbered("test/good/", 2))
    (tmp_path / "mine" / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"`.*train` is a link to a folder"):
        folder_dataset(tmp_path / "mine").classes(tmp_path)


def test_keys_of_folders(tmp_path: Path, write_images: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a path with spaces or colons cut short; a relative path read against the data root."""
    write_images(tmp_path / "my: good parts", *numbered("", 4))
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "my: good parts", "my: good parts", "./my: good parts/"):
        dataset = find_dataset(f"folder:{path}")
        assert dataset.key == f"folder:{path}" and dataset.title == "my: good parts"
        assert len(dataset.open(Path("/nowhere"), "normal", 0).train) == 3
    with pytest.raises(UsageError, match=r"--dataset folder:PATH"):
        find_dataset("folder:")


def test_images_load_from_a_folder(tmp_path: Path, write_images: Write) -> None:
    """Guards: names and paths that come apart, so that a score is shown beside another image."""
    write_images(tmp_path, *numbered("good/", 5), *numbered("bad/", 2))
    splits = folder_dataset(tmp_path).open(tmp_path, "good", 0)
    alone = folder_dataset(tmp_path / "bad").open(tmp_path, "normal", 0)
    shown = {name: half.load(row) for half in (alone.train, alone.test) for row, name in enumerate(half.names)}
    bad = [(row, name) for row, name in enumerate(splits.test.names) if name.startswith("bad/")]
    assert len(bad) == 2
    for row, name in bad:
        np.testing.assert_array_equal(splits.test.load(row), shown[name.removeprefix("bad/")])


NAMES = some.text("ab1-_ é", min_size=1, max_size=4).filter(lambda name: name.strip() == name)


@given(
    normals=some.integers(2, 9),
    others=some.dictionaries(NAMES.map("x{}".format), some.integers(1, 4), max_size=3),
    layout=some.sampled_from(("beside", "train and test")),
    seed=some.integers(0, 2**31 - 1),
)
def test_every_image_takes_part_once(normals: int, others: dict[str, int], layout: str, seed: int) -> None:
    """Guards: an image that is lost, learned from and tested on, or an anomaly among what is normal."""
    split = layout == "train and test"
    counts = {"train/good/": normals, "test/good/": 2} if split else {"good/": normals}
    counts |= {f"{'test/' if split else ''}{name}/": count for name, count in others.items()}
    with tempfile.TemporaryDirectory() as folder:
        for place, count in counts.items():
            Path(folder, place).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Path(folder, place, f"{number}.png").touch()
        splits = folder_dataset(folder).open(Path(folder), "good", seed)
        everything = sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.png"))
    train, test = list(splits.train.names), list(splits.test.names)
    assert sorted([*train, *test]) == everything
    assert train and set(splits.train_labels) == {"good"} and all("good/" in name for name in train)
    anomalous = [name for name, label in zip(test, splits.test_labels, strict=True) if label != splits.normal_label]
    assert sorted(anomalous) == [name for name in everything if "good/" not in name]


MASK_PLACES = (
    "ground_truth/hole/{}_mask",
    "ground_truth/hole/{}",
    "ground_truth/hole/{}/000",
    "Masks/{}_GT",
    "labels/hole/{}",
    "hole_mask/{}",
    "hole/{}_mask",
    "hole/masks/{}.jpg",
)


@settings(max_examples=60, deadline=None)
@given(
    layout=some.sampled_from(MASK_PLACES),
    split=some.booleans(),
    kind=some.sampled_from(sorted(KINDS)),
    ending=some.sampled_from((".png", ".TIF", ".bmp")),
    name=some.sampled_from(("007", "teil grün", "a.b", "IMG_1")),
    form=some.sampled_from(("NFC", "NFD")),
    turn=some.sampled_from((1, 6, 8)),
    half=some.booleans(),
    seed=some.integers(0, 99),
)
def test_every_mask_is_used_as_it_is_meant(
    layout: str, split: bool, kind: str, ending: str, name: str, form: str, turn: int, half: bool, seed: int
) -> None:
    """Guards: a layout, a kind of file, a turn or a size that works alone and not with the others."""
    rng = np.random.default_rng(seed)
    stored = np.zeros((40, 60), bool)
    top, left = 2 * int(rng.integers(0, 10)), 2 * int(rng.integers(0, 20))
    stored[top : top + 12, left : left + 8] = True
    exif = Image.Exif()
    exif[0x0112] = turn
    drawn = stored[::2, ::2] if half else stored
    with tempfile.TemporaryDirectory() as folder:
        test = "test/" if split else ""
        for row in range(4):
            for place in ("train/good/", "test/good/") if split else ("good/",):
                path = Path(folder, f"{place}{row}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
        photo = Path(folder, f"{test}hole/{name}.jpg")
        photo.parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(photo, exif=exif)
        inside = layout.startswith("hole")
        mask = Path(folder, (test if inside else "") + unicodedata.normalize(form, layout.format(name)) + ending)
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(KINDS[kind](drawn))
        splits = folder_dataset(folder).open(Path(folder), "good", 0)
        assert splits.left_out == () and splits.test_masks is not None
        (row,) = np.flatnonzero(splits.test_labels != "good")
        found = splits.test_masks.load(int(row))
        shown = splits.test.load(int(row)).shape[:2]
    assert found is not None and found.shape == tuple(side // (1 + half) for side in shown)
    np.testing.assert_array_equal(found, {1: drawn, 6: np.rot90(drawn, -1), 8: np.rot90(drawn)}[turn])
