"""`ArrayImages`, `FileImages` and the listing of files: order, names, digests, and what a data set must not reach."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets.io.images import ArrayImages, FileImages
from panda_core.datasets.io.listing import image_files, list_files, shown_name
from panda_core.datasets.one_class import Images, split_digest
from panda_core.errors import DataMissing, PandaError, UnreadableImage, UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


@pytest.fixture(params=["arrays", "files"])
def images(request: pytest.FixtureRequest, tmp_path: Path, write_images: Callable[..., None]) -> Images:
    if request.param == "arrays":
        return ArrayImages(PIXELS, [f"a/{row}" for row in range(4)])
    write_images(tmp_path, *(f"a/{row}.png" for row in range(4)))
    return FileImages.below(tmp_path, image_files(tmp_path))


def test_a_subset_is_the_images_asked_for_in_that_order(images: Images) -> None:
    """Guards: names, pixels and digests that come apart when a subset is taken, also of a subset."""
    part = images.subset(np.array([3, 1, 2])).subset([2, 0])
    assert len(part) == 2 and list(part.names) == [images.names[2], images.names[3]]
    for place, row in enumerate((2, 3)):
        np.testing.assert_array_equal(part.load(place), images.load(row))
        assert part.digest(place) == images.digest(row)
    assert len(images.subset([])) == 0


def test_digests_tell_content_and_order_apart(images: Images) -> None:
    """Guards: a cache hit for other images, or for the same ones in another order."""
    assert len({images.digest(row) for row in range(4)}) == 4
    assert split_digest(images) == split_digest(images.subset(range(4)))
    assert split_digest(images) != split_digest(images.subset([1, 0, 2, 3]))
    assert all(len(images.digest(row)) == 32 for row in range(4))


def test_loading_leaves_the_images_as_they_are(images: Images) -> None:
    """Guards: an augmentation in place that changes the data set for everybody after it."""
    first = images.load(0)
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(images.load(0), kept)


def test_array_digests_depend_on_shape() -> None:
    """Guards: equal bytes in another shape counted as the same picture."""
    flat = np.arange(12, dtype=np.uint8)
    pair = ArrayImages([flat.reshape(3, 4), flat.reshape(4, 3), flat.reshape(2, 2, 3)], ["a", "b", "c"])
    assert len({pair.digest(row) for row in range(3)}) == 3
    assert pair.load(0).shape == (3, 4, 3)


def test_file_digest_is_of_the_file(tmp_path: Path) -> None:
    """Guards: a digest of the path or the time, which changes when data is moved; a missing file as an OSError."""
    (tmp_path / "broken.png").write_bytes(b"content")
    files = FileImages.below(tmp_path, ["broken.png", "gone.png"])
    assert files.digest(0) == hashlib.sha256(b"content").digest()
    for call in (files.digest, files.load):
        with pytest.raises(UnreadableImage, match=r"`gone.png` .*No such file"):
            call(1)


def test_names_are_unique_and_as_many_as_images() -> None:
    """Guards: two images under one name in a table, and results shown beside the wrong image."""
    with pytest.raises(PandaError, match=r"`b` occurs twice"):
        ArrayImages(PIXELS, ["a", "b", "c", "b"])
    with pytest.raises(PandaError, match=r"4 images need 4 names; got 3"):
        FileImages(["a", "b", "c", "d"], ["a", "b", "c"])
    with pytest.raises(PandaError, match=r"`a` occurs twice"):
        ArrayImages(PIXELS, list("abcd")).subset([0, 0])


def test_listing_takes_images_at_any_depth_and_nothing_else(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: system files read as images, capitals missed, an order that differs between file systems."""
    write_images(tmp_path, "b/2.png", "b/10.PNG", "a/deep/er/x.jpeg", "top.tiff", ".hidden/no.png", "b/._2.png")
    for name in ("notes.txt", "labels.csv", "Thumbs.db", ".DS_Store", "b/archive.png.zip"):
        (tmp_path / name).write_text("x")
    (tmp_path / "b" / "text.png").write_text("not an image, but counted")
    (tmp_path / "folder.png").mkdir()
    assert image_files(tmp_path) == ["a/deep/er/x.jpeg", "b/10.PNG", "b/2.png", "b/text.png", "top.tiff"]
    assert FileImages.below(tmp_path, image_files(tmp_path)).names[0] == "a/deep/er/x.jpeg"


def test_pictures_in_other_formats_are_listed_with_the_reason(
    tmp_path: Path, write_images: Callable[..., None]
) -> None:
    """Guards: .heic, .tga and files without an ending that vanish; text files and pipes called pictures."""
    write_images(tmp_path, "a/1.png", "a/2.png")
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "IMG_1")
    for name in ("x.HEIC", "a/y.tga", "notes.txt", "README", "Thumbs.db", ".hidden.heic", "archive.zip"):
        (tmp_path / name).write_bytes(b"text")
    os.mkfifo(tmp_path / "pipe")
    listing = list_files(tmp_path)
    assert listing.images == ["a/2.png"]
    assert listing.others == [
        ("a/IMG_1", "its name has no ending; give it one, such as `.png`"),
        ("a/y.tga", "`.tga` files are not read; save it as PNG or JPEG"),
        ("x.HEIC", "`.heic` files are not read; save it as PNG or JPEG"),
    ]


def test_same_file_name_in_two_folders_is_two_names(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: images of different folders that are shown under one name."""
    write_images(tmp_path, "a/1.png", "b/1.png")
    assert list(FileImages.below(tmp_path, image_files(tmp_path)).names) == ["a/1.png", "b/1.png"]


def test_links_out_of_the_folder_are_refused(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: an uploaded data set that shows files from elsewhere on the machine, or runs in circles."""
    inside = tmp_path / "inside"
    write_images(inside, "a.png")
    write_images(tmp_path, "outside.png", "inside-too/x.png")  # a sibling whose name begins alike
    (inside / "linked.png").symlink_to(inside / "a.png")
    assert image_files(inside) == ["a.png", "linked.png"]
    for target in (tmp_path / "outside.png", tmp_path / "inside-too" / "x.png", Path("..") / "outside.png"):
        link = inside / "bad.png"
        link.symlink_to(target)
        with pytest.raises(UsageError, match=r"`.*bad.png` is a link that leads out of the folder"):
            image_files(inside)
        link.unlink()
    (inside / "circle").symlink_to(inside)
    with pytest.raises(UsageError, match=r"`.*circle` is a link to a folder"):
        image_files(inside)


def test_a_folder_reached_by_a_link_is_listed(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: a data root that is itself a link, refused because its files lie elsewhere."""
    write_images(tmp_path / "real", "a.png", "b.png")
    (tmp_path / "real" / "c.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert image_files(tmp_path / "link") == ["a.png", "b.png", "c.png"]


def test_odd_file_names_can_be_shown(tmp_path: Path, write_images: Callable[..., None]) -> None:
    """Guards: a file name that ends a run when it is written as UTF-8, or that is changed on the way."""
    odd = ["<b>bold</b>.png".replace("/", "\u2215"), "line\nbreak.png", "grüße 🐼.png", "=1+1.png", "a\\b.png"]
    write_images(tmp_path, *odd)
    assert sorted(FileImages.below(tmp_path, image_files(tmp_path)).names) == sorted(odd)
    assert shown_name("caf\udce9.png").encode() == b"caf\\udce9.png"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """Guards: an empty data set, or a bare OSError, where a folder is not there."""
    with pytest.raises(DataMissing, match=r"nowhere"):
        image_files(tmp_path / "nowhere")


def test_ten_thousand_files_are_listed_quickly(tmp_path: Path) -> None:
    """Guards: work for each file that grows with their number; checked by count, the time shows in the report."""
    for row in range(10_000):
        (tmp_path / f"{row:05d}.png").touch()
    files = FileImages.below(tmp_path, image_files(tmp_path))
    assert len(files) == 10_000 and files.names[-1] == "09999.png"
