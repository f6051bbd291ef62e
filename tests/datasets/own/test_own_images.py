"""Images of people's own, understood as a data set, written as pixels alone; and outlier images, wherever they lie."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import find_dataset, folder_dataset, one_class_task, outlier_images
from panda_core.datasets.own import images as own_images
from panda_core.datasets.own.images import LONGEST, Understood, write_images
from panda_core.datasets.own.layout import ANOMALOUS, BY_FOLDER, CHECKED, MASK, NAMES, NORMAL
from panda_core.errors import DataMissing, PandaError, UnreadableImage, UsageError

ROOM = 10**9


def picture(seed: int, side: tuple[int, int] = (24, 30)) -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*side, 3), dtype=np.uint8)).save(held, "PNG")
    return held.getvalue()


def mask() -> bytes:
    held = io.BytesIO()
    marked = np.zeros((24, 30), np.uint8)
    marked[3:9, 4:10] = 255
    Image.fromarray(marked).save(held, "PNG")
    return held.getvalue()


def files(role: str, members: dict[str, bytes]) -> list[tuple[str, str, BinaryIO]]:
    return [(role, name, io.BytesIO(content)) for name, content in members.items()]


def zipped(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def places(upload: Path) -> list[str]:
    return sorted(path.relative_to(upload / "images").as_posix() for path in (upload / "images").rglob("*.png"))


TREE = {
    **{f"set/train/good/{number}.png": picture(number) for number in range(6)},
    **{f"set/test/good/{number}.png": picture(10 + number) for number in range(2)},
    **{f"set/test/deep Scratch/{number}.png": picture(20 + number) for number in range(3)},
    "set/ground_truth/deep Scratch/1_mask.png": mask(),
    "set/ground_truth/deep Scratch/9_mask.png": mask(),
    "set/readme.txt": b"text",
}


@pytest.mark.parametrize("packed", [False, True])
def test_a_tree_is_told_apart_by_its_folders(packed: bool, tmp_path: Path) -> None:
    """Anomalies learned as normal, masks taken for images, a mask on another image than its own."""
    sources = [(BY_FOLDER, "set.bin", io.BytesIO(zipped(TREE)))] if packed else files(BY_FOLDER, TREE)
    found = write_images(tmp_path / "u", sources, room=ROOM)
    assert (found.normals, found.anomalies, found.masks) == (8, {"deep Scratch": 3}, 1)
    assert found.loose_masks == ["set/ground_truth/deep Scratch/9_mask.png"]
    assert [name for name, _ in found.refused] == ([] if packed else ["set/readme.txt"])
    assert found.left_out == (["set/readme.txt"] if packed else [])
    expected = [f"deep-scratch/{number:04d}.png" for number in range(3)] + [f"good/{row:04d}.png" for row in range(8)]
    assert places(tmp_path / "u") == sorted([*expected, "ground_truth/deep-scratch/0001_mask.png"])
    names = json.loads((tmp_path / "u" / "names.json").read_text())
    assert names["deep-scratch/0001.png"] == "set/test/deep Scratch/1.png"
    splits = folder_dataset(tmp_path / "u" / "images").open(tmp_path, "good", 0)
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    assert len(task.train) + int((task.is_anomaly == 0).sum()) == 8 and int(task.is_anomaly.sum()) == 3
    assert task.masks is not None
    marked = [task.masks.load(row) for row in range(len(task.test)) if task.is_anomaly[row]]
    assert [None if one is None else int(one.sum()) for one in marked] == [None, 36, None]


def test_fields_of_their_own_need_no_folders(tmp_path: Path) -> None:
    """An anomaly that is taken for normal because of its folder; a mask found by the name of its image."""
    sources = files(NORMAL, {f"good-or-not/{number}.png": picture(number) for number in range(3)})
    sources += files(ANOMALOUS, {"a.png": picture(7), "b.jpg": picture(8)}) + files(MASK, {"b.png": mask()})
    found = write_images(tmp_path / "u", sources, room=ROOM)
    assert (found.normals, found.anomalies, found.masks, found.loose_masks) == (3, {"anomalous": 2}, 1, [])
    assert (tmp_path / "u" / "images" / "ground_truth" / "anomalous" / "0001_mask.png").is_file()


def test_what_cannot_be_told_apart_is_asked_about(tmp_path: Path) -> None:
    """A guess which of two folders is normal."""
    with pytest.raises(UsageError, match=r"`left`, `right`.*none is called normal"):
        write_images(tmp_path / "u", files(BY_FOLDER, {"left/a.png": picture(1), "right/b.png": picture(2)}), room=ROOM)
    found = write_images(
        tmp_path / "v", files(BY_FOLDER, {f"my photos/{row}.png": picture(row) for row in range(3)}), room=ROOM
    )
    assert found.normals == 3


def test_files_of_one_name_are_different_images(tmp_path: Path) -> None:
    """Two photos called IMG_0001.JPG, from two folders, of which one hides the other."""
    sources = [(CHECKED, "photo.png", io.BytesIO(picture(seed))) for seed in range(3)]
    assert write_images(tmp_path / "u", sources, room=ROOM).checked == 3
    assert list(json.loads((tmp_path / "u" / NAMES).read_text()).values()) == ["photo.png"] * 3
    pixels = {(tmp_path / "u" / "images" / place).read_bytes() for place in places(tmp_path / "u")}
    assert len(pixels) == 3


@pytest.mark.parametrize("packed", [False, True])
def test_more_images_than_allowed_are_refused(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand files that are all decoded before anybody says that they are too many."""
    monkeypatch.setattr(own_images, "MOST", 5)
    members = {f"{number}.png": picture(number) for number in range(6)}
    sources = files(NORMAL, {"all.zip": zipped(members)} if packed else members)
    with pytest.raises(UsageError, match="At most 5 images at once"):
        write_images(tmp_path / "u", sources, room=ROOM)
    members.popitem()
    sources = files(NORMAL, {"all.zip": zipped(members)} if packed else members)
    assert write_images(tmp_path / "v", sources, room=ROOM).normals == 5


def test_copies_count_once_but_are_all_checked(tmp_path: Path) -> None:
    """A copy held out of what is learned, whose distance is zero; a checked photo that gets no verdict."""
    same = {"a.png": picture(1), "b.png": picture(1), "c.png": picture(2)}
    found = write_images(tmp_path / "u", files(NORMAL, same), room=ROOM)
    assert (found.normals, found.duplicates) == (2, ["b.png"])
    found = write_images(tmp_path / "v", files(CHECKED, same), room=ROOM)
    assert (found.checked, found.duplicates) == (3, [])
    assert places(tmp_path / "v") == ["0000.png", "0001.png", "0002.png"]


def test_only_pixels_are_kept(tmp_path: Path) -> None:
    """Where and with what a photo was taken, handed on; a huge photo kept whole; a photo lying on its side."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Secret maker", 6
    held = io.BytesIO()
    Image.fromarray(np.zeros((1200, 3000, 3), np.uint8)).save(held, "JPEG", exif=exif)
    found = write_images(tmp_path / "u", files(NORMAL, {"../../x<b>.png": held.getvalue()}), room=ROOM)
    assert found.smallest == found.largest == (1200, 3000)
    (path,) = (tmp_path / "u" / "images").rglob("*.png")
    kept = Image.open(path)
    assert kept.size == (round(1200 * LONGEST / 3000), LONGEST) and not kept.getexif()
    assert b"Secret" not in path.read_bytes() and path.name == "0000.png"
    assert json.loads((tmp_path / "u" / "names.json").read_text()) == {"good/0000.png": "../../x<b>.png"}


@pytest.mark.parametrize("kind", ["good", "ground_truth", "..", "<b>", "train", "a" * 300, "ÄÖ", ""])
def test_the_name_of_a_kind_is_never_a_path(kind: str, tmp_path: Path) -> None:
    """Anomalies written outside of their upload, or among the normal images."""
    members = {f"{kind}/a.png": picture(1), f"{kind}!/b.png": picture(2)}
    found = write_images(tmp_path / "u", files(NORMAL, {"n.png": picture(0)}) + files(ANOMALOUS, members), room=ROOM)
    assert sum(found.anomalies.values()) == 2 and found.normals == 1
    folders = {path.parent.name for path in (tmp_path / "u" / "images").rglob("*.png")} - {"good"}
    assert all(len(folder) <= 43 and folder.replace("-", "").isalnum() for folder in folders), folders
    assert set(tmp_path.rglob("*.png")) == set((tmp_path / "u" / "images").rglob("*.png"))
    find_dataset(f"folder:{tmp_path / 'u' / 'images'}").open(tmp_path, "good", 0)


def test_bad_files_are_listed_and_bad_archives_refused(tmp_path: Path) -> None:
    """One bad photo that stops everything; an archive of tricks of which a part is taken."""
    found = write_images(
        tmp_path / "u", files(NORMAL, {"a.png": picture(1), "b.png": b"no image", "c": b""}), room=ROOM
    )
    assert found.normals == 1 and [name for name, _ in found.refused] == ["b.png", "c"]
    bad = zipped({"a.png": picture(1), "../b.png": picture(2)})
    with pytest.raises(UsageError, match=r"`photos.zip`: .*leads out"):
        write_images(tmp_path / "v", files(NORMAL, {"photos.zip": bad}), room=ROOM)


def test_the_room_is_not_exceeded(tmp_path: Path) -> None:
    """A disk filled by one drop."""
    members = {f"{row}.png": picture(row, (200, 200)) for row in range(6)}
    with pytest.raises(PandaError, match="room for"):
        write_images(tmp_path / "u", files(NORMAL, members), room=200_000)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 700_000
    assert isinstance(write_images(tmp_path / "v", files(NORMAL, members), room=ROOM), Understood)


Write = Callable[..., None]


def test_the_sample_lies_in_the_data_root(tmp_path: Path, write_images: Write) -> None:
    """Guards: another folder of that name, in the current directory, taken for the data root's."""
    write_images(tmp_path / "imagenet_sample", "n01440764_tench.JPEG", "n01443537_goldfish.JPEG", "notes/x.png")
    (tmp_path / "imagenet_sample" / "README.md").write_text("not an image")
    images = outlier_images("imagenet_sample", tmp_path)
    assert list(images.names) == ["n01440764_tench.JPEG", "n01443537_goldfish.JPEG", "notes/x.png"]
    assert images.load(0).shape == (6, 5, 3)
    np.testing.assert_array_equal(images.subset([2]).load(0), images.load(2))


@pytest.mark.parametrize("form", ["{}", "folder:{}", " {} "])
def test_any_folder_to_any_depth(form: str, tmp_path: Path, write_images: Write) -> None:
    """Guards: synset folders read as empty, or only the first level of a folder seen."""
    folder = tmp_path / "own data"
    write_images(folder, "n01440764/a.JPEG", "n02084071/deep/b.png", "c.jpg")
    (folder / "broken.png").write_bytes(b"no image")
    images = outlier_images(form.format(folder), Path("/nowhere"))
    assert list(images.names) == ["broken.png", "c.jpg", "n01440764/a.JPEG", "n02084071/deep/b.png"]
    with pytest.raises(UnreadableImage):  # stays, so that it is counted and named
        images.load(0)


def test_what_is_missing_is_described(tmp_path: Path, write_images: Write) -> None:
    """Guards: an empty set of outliers found out in the middle of a run; sentences without the next step."""
    with pytest.raises(DataMissing) as caught:
        outlier_images("imagenet_sample", tmp_path)
    for part in (str(tmp_path / "imagenet_sample"), "https://github.com/EliSchwartz", "n01440764_tench.JPEG", "MB"):
        assert part in str(caught.value)
    with pytest.raises(DataMissing, match=r"`.*nothing` does not exist.*`imagenet_sample`"):
        outlier_images(str(tmp_path / "nothing"), tmp_path)
    with pytest.raises(DataMissing, match="does not exist"):
        outlier_images("x" * 5000, tmp_path)
    write_images(tmp_path / "some", "a.png")
    with pytest.raises(UsageError, match=r"is a file. Give the folder"):
        outlier_images(str(tmp_path / "some" / "a.png"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        outlier_images(str(tmp_path / "empty"), tmp_path)
    for spec in ("", "folder:", "  "):
        with pytest.raises(UsageError, match="must be `imagenet_sample` or the path"):
            outlier_images(spec, tmp_path)


@pytest.mark.parametrize("drawn_over", ["shown", "stored"])
def test_dropped_masks_mark_what_they_mark_over_the_shown_photo(drawn_over: str, tmp_path: Path) -> None:
    """A coloured defect on nothing that marks everything once it is laid over white; the mask of a turned photo."""
    photo = np.full((40, 60, 3), 200, np.uint8)
    photo[4:12, 30:50] = 20
    exif = Image.Exif()
    exif[0x0112] = 6
    held = io.BytesIO()
    Image.fromarray(photo).save(held, "JPEG", exif=exif, quality=95)
    shown = np.rot90(photo[:, :, 0] < 100, -1)
    marked = shown if drawn_over == "shown" else photo[:, :, 0] < 100
    rgba = np.zeros((*marked.shape, 4), np.uint8)
    rgba[marked] = (255, 0, 0, 255)
    kept = io.BytesIO()
    Image.fromarray(rgba).save(kept, "PNG")
    inverted = io.BytesIO()
    Image.fromarray((~shown * 255).astype(np.uint8)).save(inverted, "PNG")
    tree = {f"set/good/{row}.png": picture(row) for row in range(8)}
    tree |= {"set/hole/a.jpg": held.getvalue(), "set/hole/a_GT.png": kept.getvalue(), "set/hole/b.png": picture(9)}
    tree["set/masks/hole/b.png"] = inverted.getvalue()
    found = write_images(tmp_path / "u", files(BY_FOLDER, tree), room=ROOM)
    assert (found.normals, found.anomalies, found.masks, found.loose_masks) == (8, {"hole": 2}, 1, [])
    ((name, reason),) = found.refused
    assert name == "set/masks/hole/b.png" and "as an inverted mask does" in reason
    splits = folder_dataset(tmp_path / "u" / "images").open(tmp_path, "good", 0)
    assert splits.test_masks is not None
    (row,) = (row for row, place in enumerate(splits.test.names) if place == "hole/0000.png")
    mask = splits.test_masks.load(row)
    assert mask is not None
    np.testing.assert_array_equal(mask, shown)
    assert splits.test.load(row).shape[:2] == shown.shape


def test_all_masks_of_a_dropped_anomaly_are_kept(tmp_path: Path) -> None:
    """The second defect of an image counted as normal, because only one mask of it was kept."""
    tree = {f"good/{row}.png": picture(row) for row in range(8)} | {"hole/a.png": picture(9, (20, 30))}
    for part, column in enumerate((3, 20)):
        spot = np.zeros((20, 30), np.uint8)
        spot[5:9, column : column + 4] = 255
        held = io.BytesIO()
        Image.fromarray(spot).save(held, "PNG")
        tree[f"ground_truth/hole/a/{part}.png"] = held.getvalue()
    found = write_images(tmp_path / "u", files(BY_FOLDER, tree), room=ROOM)
    assert (found.masks, found.loose_masks) == (2, [])
    splits = folder_dataset(tmp_path / "u" / "images").open(tmp_path, "good", 0)
    assert splits.test_masks is not None
    mask = splits.test_masks.load(len(splits.test) - 1)
    assert mask is not None and mask.sum() == 32
