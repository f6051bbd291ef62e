"""Masks and images brought together by names: every layout that annotation tools write, and no guess beyond it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as some

from panda_core.datasets.own.matching import match_masks, tell_masks

IMAGES = ["test/good/000.png", "test/hole/000.png", "test/hole/001.png", "test/Kratzer grün/000.jpg"]
PLACES = (
    "ground_truth/{kind}/{stem}",
    "ground_truth/test/{kind}/{stem}",
    "test/ground_truth/{kind}/{stem}",
    "test/{kind}/ground_truth/{stem}",
    "Masks/{kind}/{stem}",
    "test/{kind}/masks/{stem}",
    "labels/{kind}/{stem}",
    "labels/test/{kind}/{stem}",
    "mask/{kind}/{stem}",
    "gt/{kind}/{stem}",
    "GroundTruth/{kind}/{stem}",
)
NAMES = (
    *("{0}", "{0}_mask", "{0}_MASK", "{0}_gt", "{0}-mask", "{0}.mask", "{0} mask", "{0}_ground_truth", "{0}_label"),
    *("{0}_Seg", "mask_{0}", "{0}_mask_1", "{0}_mask2", "{0}.png", "{0}.jpg_mask", "{0}mask", "GT_{0}"),
)
ENDINGS = (".png", ".PNG", ".bmp", ".tif", ".jpg")


@given(
    layout=some.sampled_from(PLACES),
    name=some.sampled_from(NAMES),
    ending=some.sampled_from(ENDINGS),
    row=some.integers(1, 3),
    form=some.sampled_from(("NFC", "NFD")),
    upper=some.booleans(),
)
def test_every_layout_finds_its_image(layout: str, name: str, ending: str, row: int, form: str, upper: bool) -> None:
    """Guards: `_MASK`, `_gt`, accents written otherwise, other endings and folders: dropped without a word."""
    _, kind, file = IMAGES[row].split("/")
    place = layout.format(kind=kind.upper() if upper else kind, stem=name.format(file[:-4])) + ending
    place = unicodedata.normalize(form, place)
    assert tell_masks([*IMAGES, place]) == (IMAGES, [place])
    matched = match_masks([place], IMAGES, [False, True, True, True])
    assert matched.loose == [] and matched.files == [[place] if at == row else [] for at in range(4)]


@pytest.mark.parametrize(
    "name", ["{0}_mask.png", "{0}_MASK.png", "{0}-gt.bmp", "{0}_mask_2.png", "{0}_ground_truth.png"]
)
def test_masks_beside_their_images_are_no_images(name: str) -> None:
    """Guards: masks learned from, or counted as anomalies, because they lie in the folder of their images."""
    mask = "hole/" + name.format("000")
    assert tell_masks(["good/0.png", "hole/000.jpg", mask]) == (["good/0.png", "hole/000.jpg"], [mask])
    assert match_masks([mask], ["hole/000.jpg"], [True]).files == [[mask]]
    assert tell_masks(["good/0.png", mask]) == (["good/0.png", mask], [])  # without an image it is one itself


def test_a_folder_of_masks_belongs_to_one_image() -> None:
    """Guards: MVTec LOCO, where an image has a folder of masks: one taken, or none."""
    images = ["test/logical_anomalies/000.png", "test/logical_anomalies/001.png"]
    masks = [
        f"ground_truth/logical_anomalies/{image}/{part}.png" for image in ("000", "001") for part in ("000", "001")
    ]
    assert match_masks(masks, images, [True, True]).files == [masks[:2], masks[2:]]


def test_the_name_alone_decides_where_there_are_no_folders() -> None:
    """Guards: one flat folder of masks, unmatched; a mask given to the normal image of the same number."""
    images = ["good/000.png", "hole/000.png", "dent/001.png", "hole/001.png"]
    matched = match_masks(["masks/000_mask.png", "masks/001.png"], images, [False, True, True, True])
    assert matched.files == [[], ["masks/000_mask.png"], [], []]
    ((place, reason),) = matched.loose
    assert place == "masks/001.png" and reason.endswith("of several images: `dent/001.png`, `hole/001.png`")


def test_a_mask_is_never_given_to_another_kind() -> None:
    """Guards: the same number of another kind of defect, for want of the right image."""
    matched = match_masks(["ground_truth/dent/000.png", "ground_truth/dent/7_mask.png"], IMAGES, [True] * 4)
    assert matched.files == [[]] * 4
    assert [reason for _, reason in matched.loose] == [
        "no image is named like it; name it as its image, with `_mask` at the end"
    ] * 2


def test_two_images_of_one_name_are_told_apart_by_the_ending_or_named() -> None:
    """Guards: the mask of one of two images given to both, or to the first."""
    images = ["hole/0.png", "hole/0.jpg"]
    assert match_masks(["masks/hole/0.jpg"], images, [True, True]).files == [[], ["masks/hole/0.jpg"]]
    assert match_masks(["masks/hole/0_mask.bmp"], images, [True, True]).loose[0][1].startswith("it is named like")


@pytest.mark.parametrize("kind", ["mask", "label", "labels", "annotation"])
def test_a_kind_called_like_masks_stays_a_kind(kind: str) -> None:
    """Guards: photos of faces with a mask, or of misprinted labels, taken for masks."""
    places = ["good/0.png", "good/1.png", f"{kind}/0.png", f"{kind}/7.png"]
    assert tell_masks(places) == (places, [])
    split = [f"train/{kind}/0.png", f"test/{kind}/1.png", "test/bare/0.png"]
    assert tell_masks(split) == (split, [])
