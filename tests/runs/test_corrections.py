"""Corrections: what people say of an image counts from then on, in files, names and counts alike."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.config import RunConfig
from panda_core.datasets.own.folder import folder_dataset
from panda_core.errors import UsageError
from panda_core.runs.corrections import add, correct
from panda_core.runs.folder import RunFolder
from panda_core.runs.uploads import Upload, find_upload, keep_upload


@pytest.fixture(autouse=True)
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PANDA_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def png(seed: int) -> io.BytesIO:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(held, "PNG")
    return io.BytesIO(held.getvalue())


def dropped(*sources: tuple[str, str]) -> Upload:
    return keep_upload([(role, name, png(place)) for place, (role, name) in enumerate(sources)])


def places(upload: Upload) -> set[str]:
    return {path.relative_to(upload.images).as_posix() for path in upload.images.rglob("*.png")}


def test_an_image_changes_sides_and_back() -> None:
    """A bad photo that is still learned from, one that loses its name, or one that takes another's place."""
    upload = dropped(*[("normal", f"{row}.png") for row in range(9)])
    bad = correct(upload, "good/0002.png", is_anomaly=True)
    assert bad == find_upload(upload.token)
    assert (bad.understood.normals, bad.understood.anomalies) == (8, {"anomalous": 1})
    assert bad.names()["anomalous/0000.png"] == "2.png" and places(bad) == set(bad.names())
    splits = folder_dataset(bad.images).open(Path("nowhere"), "good", 0)
    assert sorted(splits.test_labels).count("anomalous") == 1
    back = correct(bad, "anomalous/0000.png", is_anomaly=False)
    assert back.understood.normals == 9 and back.understood.anomalies == {} and places(back) == set(back.names())
    assert back.names()["good/0009.png"] == "2.png"  # nothing that is there is written over


def test_saying_what_is_known_changes_nothing() -> None:
    """A second click that moves an image, or counts it twice."""
    upload = dropped(*[("normal", f"{row}.png") for row in range(3)])
    assert correct(upload, "good/0001.png", is_anomaly=False) == upload


def test_a_mask_goes_with_its_defect() -> None:
    """A mask of an image that is normal, which no run can read."""
    mask = io.BytesIO()
    Image.fromarray(np.kron([[0, 255], [0, 0]], np.ones((8, 8))).astype(np.uint8)).save(mask, "PNG")
    sources = [("normal", "a.png", png(1)), ("anomalous", "b.png", png(2)), ("mask", "b.png", mask)]
    upload = keep_upload(sources)
    assert upload.understood.masks == 1
    corrected = correct(upload, "anomalous/0000.png", is_anomaly=False)
    assert corrected.understood.masks == 0 and places(corrected) == set(corrected.names())


def test_a_slip_of_the_finger_costs_no_mask() -> None:
    """A mask and a kind of defect that are lost for good once somebody has clicked on the wrong image."""
    masks = []
    for corner in ([[0, 255], [0, 0]], [[0, 0], [255, 0]]):
        held = io.BytesIO()
        Image.fromarray(np.kron(corner, np.ones((8, 8))).astype(np.uint8)).save(held, "PNG")
        masks.append(held)
    sources = [("normal", "a.png", png(1)), ("by folder", "good/g.png", png(7))]
    sources += [("by folder", f"scratch/{name}.png", png(seed)) for seed, name in enumerate("xy", 2)]
    sources += [("mask", f"scratch/{name}.png", mask) for name, mask in zip("xy", masks, strict=True)]
    upload = keep_upload(sources)
    before = {path.name: path.read_bytes() for path in upload.images.rglob("*_mask*.png")}
    assert upload.understood.masks == 2 and upload.understood.anomalies == {"scratch": 2}
    first = upload.names()
    slipped = correct(upload, "scratch/0000.png", is_anomaly=False)
    assert slipped.understood.masks == 1 and slipped.understood.anomalies == {"scratch": 1}
    then = slipped.names()
    (place,) = set(then) - set(first)
    back = correct(slipped, place, is_anomaly=True)
    assert back.understood.masks == 2 and back.understood.anomalies == {"scratch": 2}
    (again,) = set(back.names()) - set(then)
    kept = (back.images / "ground_truth" / again.replace(".png", "_mask.png")).read_bytes()
    assert kept == before["0000_mask.png"] and back.names()[again] == first["scratch/0000.png"]
    assert not list((back.path / "unmarked").glob("*"))  # nothing is given back twice


def test_a_photo_that_was_judged_is_learned_from_as_well() -> None:
    """A correction without effect, or one that takes the image away from where it was judged."""
    upload = dropped(("normal", "a.png"), ("normal", "b.png"))
    judged = keep_upload([("checked", "c.png", png(9))])
    wiser = add(upload, judged, "0000.png", is_anomaly=False)
    assert wiser.names()["good/0002.png"] == "c.png" and wiser.understood.normals == 3
    assert (judged.images / "0000.png").is_file() and places(wiser) == set(wiser.names())


@pytest.mark.parametrize("place", ["../upload.json", "good/9999.png", "", "/etc/passwd"])
def test_only_images_of_the_upload_are_moved(place: str) -> None:
    """An address that moves files about."""
    upload = dropped(("normal", "a.png"))
    with pytest.raises(UsageError, match="no image"):
        correct(upload, place, is_anomaly=True)
    with pytest.raises(UsageError, match="no image"):
        add(upload, upload, place, is_anomaly=True)


def test_nothing_moves_under_a_run(runs_dir: Path) -> None:
    """Images that vanish while a process reads them."""
    upload = dropped(("normal", "a.png"))
    RunFolder.create(RunConfig(dataset=f"folder:{upload.images}", runs_dir=str(runs_dir))).write_state("queued")
    with pytest.raises(UsageError, match="Stop it first"):
        correct(upload, "good/0000.png", is_anomaly=True)


def test_a_picture_that_is_there_already_is_corrected_and_not_added() -> None:
    """A bad photo that is dropped again, in another format, called bad, and still learned from."""
    upload = dropped(*[("normal", f"{row}.png") for row in range(6)])
    anew = io.BytesIO()
    Image.open(png(2)).save(anew, "BMP")
    judged = keep_upload([("checked", "again.bmp", io.BytesIO(anew.getvalue()))])
    (place,) = judged.names()
    wiser = add(upload, judged, place, is_anomaly=True)
    assert wiser.understood.normals == 5 and wiser.understood.anomalies == {"anomalous": 1}
    assert wiser.names()["anomalous/0000.png"] == "2.png" and places(wiser) == set(wiser.names())
    other = keep_upload([("checked", "new.png", png(77))])
    (place,) = other.names()
    assert add(wiser, other, place, is_anomaly=True).understood.anomalies == {"anomalous": 2}
