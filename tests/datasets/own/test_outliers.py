"""Outlier images: the sample of ImageNet, synset folders, any folder; and what is said where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panda_core.datasets import outlier_images
from panda_core.errors import DataMissing, UnreadableImage, UsageError

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
