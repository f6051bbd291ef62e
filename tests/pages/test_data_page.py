"""The Data page: what is shown of a data set, random images, and the health check."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.config import default_data_root
from panda_core.datasets import DATASETS


def texts(at: Any) -> str:
    """Return all prose of the page."""
    return "\n".join(
        str(element.value) for kind in ("markdown", "caption", "info", "subheader") for element in at.get(kind)
    )


def test_every_data_set_can_be_read_about(open_page: Any) -> None:
    """A data set that ends the page in an error, or is shown without licence, citation and how to get it."""
    at = open_page("data")
    for key, dataset in DATASETS.items():
        at.selectbox(key="data_dataset").select(key).run()
        assert not at.exception
        said = texts(at).replace("\\", "")
        assert dataset.title in said and dataset.licence in said and dataset.citation in said
        assert ("non-commercial]" in said) == dataset.noncommercial
        if dataset.missing(Path(default_data_root())) is None:
            assert at.metric[0].label == "Classes"
        else:
            assert not at.metric and any("fetch" in info.value or "pip install" in info.value for info in at.info)
            assert [f"--download {key}" in code.value for code in at.code] == [True] * (dataset.download is not None)


def test_counts_and_images_of_the_chosen_class(open_page: Any) -> None:
    """Counts of another class; anomalies shown as normal; the same images at every draw."""
    at = open_page("data", data_dataset="elpv", data_class="poly")
    assert [metric.value for metric in at.metric] == ["2", "644", "276", "402"]
    normal, anomalous = at.get("image")
    assert len(normal.proto.imgs) == len(anomalous.proto.imgs) == 14
    assert all("functional" in image.alt for image in normal.proto.imgs)
    assert all("defective" in image.alt and image.caption == "defective" for image in anomalous.proto.imgs)
    before = [image.alt for image in normal.proto.imgs]
    at.button(key="data-draw").click().run()
    assert not at.exception and [image.alt for image in at.get("image")[0].proto.imgs] != before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one leak, one broken file and anomalies that are all larger."""
    for kind, first, side in (("train/good", 0, 32), ("test/good", 100, 32), ("test/<b>bad</b>", 200, 48)):
        (tmp_path / "own" / kind).mkdir(parents=True)
        for row in range(25):
            pixels = np.random.default_rng(first + row).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
            picture.save(tmp_path / "own" / kind / f"{row:02d}.png")
    (tmp_path / "own/test/good/03.png").write_bytes((tmp_path / "own/train/good/05.png").read_bytes())
    (tmp_path / "own/test/good/04.png").write_bytes(b"")
    return tmp_path / "own"


def test_faults_of_a_folder_are_shown(folder: Path, open_page: Any) -> None:
    """A check that finds nothing, says nothing of which images, or shows a folder's name as HTML."""
    at = open_page("data", data_dataset="folder", data_folder=str(folder))
    assert not at.error
    at.button(key="data-check").click().run()
    assert not at.exception
    assert any("size alone gives the label away" in error.value for error in at.error)
    assert any("in the training and in the test set" in error.value for error in at.error)
    assert any("1 image cannot be read" in warning.value for warning in at.warning)
    pairs = [image.alt for element in at.get("image") for image in element.proto.imgs if "Side by side" in image.alt]
    assert any("train/good/05.png" in pair and "test/good/03.png" in pair for pair in pairs)
    assert not re.search(r"(?<!\\)<b", re.sub("`[^`]*`", "", texts(at)))  # in code, and escaped, it is harmless
    at.number_input(key="data_limit").set_value(10).run()  # what is shown must belong to what is chosen
    assert not at.error and not at.warning


def test_sound_data_is_said_to_be_sound(open_page: Any) -> None:
    """A page that stays empty where nothing is wrong."""
    at = open_page("data", data_dataset="digits", data_class="1")
    at.number_input(key="data_limit").set_value(60).run()
    at.button(key="data-check").click().run()
    assert not at.exception and not at.error
    said = [*(box.value for box in at.success), *(mark.value for mark in at.markdown)]
    assert any("60 training images and 60 test images" in text for text in said)


def test_a_folder_that_is_not_there(open_page: Any) -> None:
    """A mistyped path that ends in an error page."""
    at = open_page("data", data_dataset="folder")
    for path in ("/nowhere/at/all", "x" * 5000, "  ", "a\u0000b"):
        at.text_input(key="data_folder").set_value(path).run()
        assert not at.exception and not at.metric


def test_a_damaged_copy_is_a_sentence(open_page: Any, tmp_path: Path) -> None:
    """A broken download that ends in a traceback on the page."""
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    for name in ("train", "test"):
        (tmp_path / "data" / "cifar-100-python" / name).write_bytes(b"junk")
    at = open_page("data", data_dataset="cifar100")
    assert any("is no CIFAR batch" in error.value for error in at.error)


def test_every_control_and_picture_explains_itself(folder: Path, open_page: Any) -> None:
    """A control without help, a picture or table that those who cannot see it are not told of, raw values."""
    at = open_page("data", data_dataset="folder", data_folder=str(folder))
    at.button(key="data-check").click().run()
    for kind in ("button", "selectbox", "number_input", "text_input"):
        assert at.get(kind), kind
        for widget in at.get(kind):
            assert widget.help, f"{kind} {widget.label}"
    assert at.get("image") and at.get("dataframe")
    for element in at.get("image"):
        assert all(image.alt for image in element.proto.imgs)
    for frame in at.get("dataframe"):
        assert frame.proto.alt
    assert not re.search(r"\bNone\b|\bnan\b|\{[a-z_]+\}|\d\.\d{6,}", texts(at))


def test_noncommercial_sets_are_marked_where_they_are_picked(open_page: Any) -> None:
    """A data set that may not be used for money, chosen without a word about it."""
    at = open_page("adapt", dataset="elpv")
    assert "non-commercial] Licence: CC BY-NC-SA 4.0" in texts(at)
    at.selectbox(key="dataset").select("digits").run()
    assert "non-commercial]" not in texts(at) and "Licence: CC BY 4.0" in texts(at)


def test_the_page_needs_no_torch() -> None:
    """A web process that loads the network's library to show pictures."""
    import subprocess
    import sys

    root = Path(__file__).resolve().parents[2]
    code = "import sys; from pages.shared.data import health, images, page; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
    assert importlib.util.find_spec("torch") is not None
