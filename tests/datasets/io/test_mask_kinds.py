"""Every kind of file that a mask comes in: used as it is meant, or refused with the reason; never a guess."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from panda_core.datasets.io.mask_pixels import read_mask
from panda_core.errors import UnreadableImage
from tests.datasets.io.mask_files import KINDS, coloured, file_of
from tests.datasets.io.tiff_files import FLOAT, SIGNED, write_tiff


@settings(max_examples=12, deadline=None)
@given(
    kind=some.just(None),
    size=some.tuples(some.integers(6, 40), some.integers(6, 40)),
    place=some.tuples(some.floats(0, 0.7), some.floats(0, 0.7)),
    width=some.floats(0.01, 0.45),
)
@pytest.mark.parametrize("form", KINDS)
def test_each_kind_marks_what_the_plain_mask_marks(
    form: str, kind: None, size: tuple[int, int], place: tuple[float, float], width: float
) -> None:
    """Guards: transparency laid over white, all of it marked; 16 bits cut to black; indices taken for brightness."""
    marked = np.zeros(size, bool)
    top, left = (int(at * side) for at, side in zip(place, size, strict=True))
    high, wide = (max(1, int(width * side)) for side in size)
    marked[top : top + high, left : left + wide] = True
    np.testing.assert_array_equal(read_mask(KINDS[form](marked)), marked)


@pytest.mark.parametrize("labels", [(1, 2, 3), (50, 100, 250), (255, 254, 250), (38, 75, 113), (1, 255), (1000, 60000)])
@pytest.mark.parametrize("thin", [False, True])
def test_all_labels_mark(labels: tuple[int, ...], thin: bool) -> None:
    """Guards: of several kinds of defect the dark ones counted as normal, thin scratches too."""
    values = np.zeros((60, 80), np.uint16 if max(labels) > 255 else np.uint8)
    for row, label in enumerate(labels):
        if thin and label > 0.15 * max(labels):
            values[8 + 15 * row, 10:60] = label
        else:
            values[5 + 15 * row : 14 + 15 * row, 10:22] = label
    np.testing.assert_array_equal(read_mask(file_of(Image.fromarray(values))), values > 0)


def test_fifty_instances_mark() -> None:
    """Guards: instances numbered from 1, of which half are darker than half of the last."""
    values = np.zeros((100, 100), np.uint8)
    for number in range(50):
        top, left = 10 * (number // 10), 10 * (number % 10)
        values[top + 1 : top + 9, left + 1 : left + 9] = number + 40
    values[:50] = 0
    values[2:9, 2:60] = np.arange(40, 98)
    whole = np.kron(values[50:60, ::10] + np.arange(10, dtype=np.uint8), np.ones((8, 8), np.uint8))
    whole = np.pad(whole, 60)
    np.testing.assert_array_equal(read_mask(file_of(Image.fromarray(whole))), whole > 0)


@pytest.mark.parametrize("soften", ["blur", "shrink", "enlarge", "jpeg", "jpeg as png", "webp", "avif"])
def test_soft_edges_are_cut_in_the_middle(soften: str) -> None:
    """Guards: ringing of JPEG marked as defects of its own; edges of a resized mask counted as labels."""
    hard = np.zeros((160, 200), np.uint8)
    cv2.circle(hard, (90, 80), 33, 255, -1)
    cv2.line(hard, (10, 150), (190, 120), 255, 5)
    if soften == "shrink":
        small = np.asarray(Image.fromarray(hard).resize((100, 80), Image.Resampling.BOX))
        content, truth = file_of(Image.fromarray(small)), small > 127
    elif soften == "enlarge":
        content = file_of(Image.fromarray(hard).resize((400, 320), Image.Resampling.BICUBIC))
        truth = np.kron(hard, np.ones((2, 2))) > 127
    elif soften == "blur":
        content, truth = file_of(Image.fromarray(cv2.GaussianBlur(hard, (0, 0), 3))), hard > 127
    else:
        form = {"webp": "WEBP", "avif": "AVIF"}.get(soften, "JPEG")
        content, truth = file_of(Image.fromarray(hard), form, quality=60), hard > 127
        if soften == "jpeg as png":
            content = file_of(Image.open(io.BytesIO(content)))
    found = read_mask(content)
    assert (found ^ truth).sum() <= 0.05 * truth.sum()
    far = cv2.dilate(hard, np.ones((9, 9), np.uint8)) if truth.shape == hard.shape else None
    assert far is None or not found[far == 0].any()


def square(side: int, inside: object = 255, ground: object = 0) -> np.ndarray:
    values = np.full((40, 50), ground, np.uint8)
    values[10 : 10 + side, 12 : 12 + side] = inside
    return values


UNCLEAR: dict[str, tuple[bytes, str]] = {
    "inverted": (file_of(Image.fromarray(square(9, 0, 255))), "marks 96 % of the picture and most of its border, as"),
    "inverted at the rim": (file_of(Image.fromarray(np.roll(square(20, 0, 255), (-10, -12), (0, 1)))), "an inverted"),
    "inverted in alpha": (
        file_of(coloured(square(9) > 0, (255, 0, 0, 0), (255, 0, 0, 255))),
        "most of its border, as an inverted mask does; save it with the defect white",
    ),
    "inverted 16 bits": (write_tiff(square(9, 0, 1), 16), "as an inverted mask does"),
    "white": (file_of(Image.new("L", (9, 9), 255)), "marks the whole picture"),
    "red on white": (file_of(coloured(square(9) > 0, (255, 0, 0), (255, 255, 255))), "marks the whole picture"),
    "alpha and colour differ": (
        file_of(Image.fromarray(np.dstack([square(9)] * 3 + [square(20)]))),
        "its transparency and its colours mark different parts",
    ),
    "two frames": (
        file_of(Image.fromarray(square(9)), "TIFF", save_all=True, append_images=[Image.fromarray(square(4))]),
        "several frames or pages",
    ),
    "two deep pages": (
        file_of(
            Image.fromarray(square(9).astype(np.uint16)),
            "TIFF",
            save_all=True,
            append_images=[Image.fromarray(square(4).astype(np.uint16))],
        ),
        "several frames or pages",
    ),
    "GIF of two frames": (
        file_of(Image.fromarray(square(9)), "GIF", save_all=True, append_images=[Image.fromarray(square(4))]),
        "several frames or pages",
    ),
    "0 and 1 in JPEG": (file_of(Image.fromarray(square(9, 1)), "JPEG", quality=100), "brightest value is"),
    "labels in JPEG": (file_of(Image.fromarray(np.maximum(square(20, 90), square(9, 255))), "JPEG"), "shades of grey"),
    "below 0": (write_tiff(square(9, 1).astype(int) - 1, 32, kind=SIGNED), "below 0 or no numbers"),
    "no numbers": (write_tiff(np.where(square(9) > 0, np.nan, 0), 32, kind=FLOAT), "below 0 or no numbers"),
    "CMYK": (write_tiff(np.dstack([square(9).astype(int)] * 4), 16, photometric=5), "CMYK"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_is_unclear_is_refused_with_the_reason(kind: str) -> None:
    """Guards: a pixel AUROC of 99.7 that means nothing, because the background was marked."""
    content, reason = UNCLEAR[kind]
    with pytest.raises(UnreadableImage, match=rf"`m.png` is unclear as a mask: .*{reason}"):
        read_mask(content, "m.png")


def test_large_defects_inside_are_no_inverted_masks() -> None:
    """Guards: a wrong part, marked as a whole, refused because it fills most of the picture."""
    values = np.zeros((50, 50), np.uint8)
    values[3:47, 3:47] = 255
    assert read_mask(file_of(Image.fromarray(values))).sum() == 44 * 44


def test_black_marks_nothing() -> None:
    """Guards: noise in a black mask taken for a defect."""
    for form in ("PNG", "JPEG", "WEBP", "BMP"):
        assert not read_mask(file_of(Image.new("L", (40, 30)), form)).any()


@settings(max_examples=60, deadline=None)
@given(
    seed=some.integers(0, 10_000),
    size=some.tuples(some.integers(64, 200), some.integers(64, 200)),
    quality=some.integers(30, 95),
    form=some.sampled_from(("JPEG", "JPEG, then PNG", "WEBP", "AVIF")),
)
def test_lossy_masks_mark_what_was_drawn(seed: int, size: tuple[int, int], quality: int, form: str) -> None:
    """Guards: a background of 1 instead of 0, or blocks of ringing, taken for labels, so that everything is marked."""
    rng = np.random.default_rng(seed)
    hard = np.zeros(size, np.uint8)
    for _ in range(3):
        centre, axes = rng.integers(10, 54, 2).tolist(), rng.integers(3, 12, 2).tolist()
        cv2.ellipse(hard, centre, axes, float(rng.integers(180)), 0, 360, 255, -1)
    content = file_of(Image.fromarray(hard), form.split(",")[0], quality=quality)
    if form.endswith("PNG"):
        content = file_of(Image.open(io.BytesIO(content)))
    found = read_mask(content)
    assert (found ^ (hard > 0)).sum() <= 0.06 * (hard > 0).sum()


def test_a_background_of_one_is_background() -> None:
    """Guards: black that JPEG rounded to 1, marked from border to border."""
    for shades in ((0, 255), (3, 120, 130, 200, 254)):
        values = np.ones((60, 70), np.uint8)
        values[20:30, 20:40] = 254
        values[19, 20:40] = shades[0]
        values[30, 20 : 20 + len(shades)] = shades
        np.testing.assert_array_equal(read_mask(file_of(Image.fromarray(values))), values > 127)
