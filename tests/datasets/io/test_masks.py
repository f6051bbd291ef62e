"""Masks in files: what counts as marked, as empty and as unknown, and how a mask lies over its image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import FileMasks
from panda_core.datasets.io.decoding import decode_image
from panda_core.datasets.io.masks import turn_of_mask
from panda_core.errors import PandaError, UnreadableImage


def saved(path: Path, pixels: object) -> str:
    Image.fromarray(np.array(pixels, dtype=np.uint8)).save(path)
    return path.name


def masks_of(folder: Path, files: list[list[str]], size: tuple[int, int], clean: list[bool] | None = None) -> FileMasks:
    """Return masks of images of one size (width, height)."""
    Image.new("RGB", size).save(folder / "image.bmp")
    return FileMasks(folder, files, ["image.bmp"] * len(files), clean or [False] * len(files))


def test_soft_masks_are_cut_in_the_middle(tmp_path: Path) -> None:
    """Guards: every pixel above 0 taken as defective, which widens a smoothed mask; 127 on the wrong side."""
    mask = masks_of(tmp_path, [[saved(tmp_path / "a.png", [[0, 1, 127, 128, 255]])]], (5, 1)).load(0)
    assert mask is not None and mask.dtype == bool
    assert mask.tolist() == [[False, False, False, True, True]]


def test_empty_unknown_and_clean_are_three_things(tmp_path: Path) -> None:
    """Guards: a defect nobody marked measured as if the image were clean; a clean image left out of the measure."""
    black = saved(tmp_path / "black.png", np.zeros((4, 3)))
    masks = masks_of(tmp_path, [[black], [], [], [black]], (3, 4), [False, False, True, True])
    assert masks.load(1) is None
    with pytest.raises(UnreadableImage, match=r"`black.png` is black all over, though its image is called defective"):
        masks.load(0)
    for row in (2, 3):
        clean = masks.load(row)
        assert clean is not None and clean.dtype == bool and clean.ndim == 2 and not clean.any()


def test_a_mark_in_a_normal_image_is_named(tmp_path: Path) -> None:
    """Guards: a contradiction between folder and mask settled without a word."""
    dot = saved(tmp_path / "dot.png", [[0, 255], [0, 0]])
    with pytest.raises(UnreadableImage, match=r"`dot.png` marks a defect in an image that is called normal"):
        masks_of(tmp_path, [[dot]], (2, 2), [True]).load(0)


def test_subsets_keep_their_order(tmp_path: Path) -> None:
    """Guards: masks sorted, or taken by place in the whole set, after a subset of a subset."""
    files = [[saved(tmp_path / f"{row}.png", np.eye(5)[row : row + 1] * 255)] for row in range(5)]
    part = masks_of(tmp_path, [*files, []], (5, 1)).subset(np.array([5, 4, 1, 1])).subset([0, 1, 3])
    assert len(part) == 3 and part.load(0) is None
    assert [int(mask.argmax()) for mask in map(part.load, (1, 2)) if mask is not None] == [4, 1]


def test_bad_files_are_named_without_their_folder(tmp_path: Path) -> None:
    """Guards: a broken mask that counts as unknown; a path of the machine in a sentence that other users see."""
    (tmp_path / "broken.png").write_bytes(b"no image")
    masks = masks_of(tmp_path, [["broken.png"], ["gone.png"]], (4, 4))
    for row, sentence in enumerate(("`broken.png` cannot be read", "`gone.png` cannot")):
        with pytest.raises(UnreadableImage, match=sentence) as raised:
            masks.load(row)
        assert str(tmp_path) not in str(raised.value)
    with pytest.raises(PandaError, match="masks of 3 images need"):
        FileMasks(tmp_path, [[]] * 3, ["a"] * 3, [True])


def test_all_masks_of_an_image_count(tmp_path: Path) -> None:
    """Guards: one defect of several marked, the others counted as normal pixels."""
    files = [saved(tmp_path / f"{row}.png", np.eye(4)[row : row + 1] * 255) for row in range(3)]
    mask = masks_of(tmp_path, [files], (4, 1)).load(0)
    assert mask is not None and mask.tolist() == [[True, True, True, False]]
    wide = saved(tmp_path / "wide.png", [[255, 0, 0, 0, 0, 0, 0, 0], [0] * 8])
    with pytest.raises(UnreadableImage, match="differ in size"):
        masks_of(tmp_path, [[*files, wide]], (4, 1)).load(0)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_mask_is_turned_as_its_photo(turn: int, scale: int, form: str, tmp_path: Path) -> None:
    """Guards: the mask of a phone's photo, drawn over the pixels as they are stored, stretched over the shown photo."""
    photo = np.full((48, 72, 3), 200, np.uint8)
    photo[8:16, 40:64] = 0
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(photo).save(tmp_path / "photo.x", form, exif=exif)
    stored = np.kron(photo[:, :, 0] < 100, np.ones((scale, scale))).astype(bool)
    shown = decode_image(tmp_path / "photo.x")[:, :, 0] < 100
    for drawn_over in ("shown", "stored"):
        if drawn_over == "stored" and 2 <= turn <= 4:
            continue  # the sides stay: nothing tells that it is not drawn over the shown photo
        pixels = np.kron(shown, np.ones((scale, scale))).astype(bool) if drawn_over == "shown" else stored
        Image.fromarray(pixels).save(tmp_path / "mask.png")
        mask = FileMasks(tmp_path, [["mask.png"]], ["photo.x"], [False]).load(0)
        assert mask is not None
        np.testing.assert_array_equal(mask[::scale, ::scale], shown)


def test_a_mask_of_another_shape_is_not_stretched() -> None:
    """Guards: a mask of a crop, or of a tall image over a wide one, stretched without a word."""
    fitting = [((500, 333), (1000, 667)), ((500, 334), (1000, 667)), ((2000, 1334), (1000, 667)), ((1, 1), (64, 64))]
    for size, image in fitting:
        assert turn_of_mask(size, image, 1, "m") == 1
    for size, image in [
        ((48, 64), (64, 48)),
        ((640, 478), (640, 480)),
        ((500, 300), (1000, 667)),
        ((64, 64), (64, 48)),
    ]:
        with pytest.raises(UnreadableImage, match=r"`m` has .*not the same shape, so it is not stretched"):
            turn_of_mask(size, image, 1, "m")
    assert turn_of_mask((48, 64), (48, 64), 6, "m") == 6 and turn_of_mask((64, 48), (48, 64), 6, "m") == 1
