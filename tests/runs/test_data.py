"""The data of a run: what changes is refused by name, before anything is mixed; nothing that was computed is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import BrokenRun, PandaDetector, PandaError, RunConfig, RunStarted, UnreadableImage, load_run
from panda_core.cli import main
from panda_core.events import CheckpointSaved
from panda_core.report.run_report import report_of
from panda_core.runs.folder import RunFolder
from panda_core.runs.run import resume, run
from panda_core.segmentation.table import SEGMENTERS


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (36, 36, 3), dtype=np.uint8))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Return a folder of normal and of defective images, in MVTec's layout."""
    for start, (place, count) in enumerate((("train/good", 10), ("test/good", 6), ("test/bad", 4)), start=1):
        folder = tmp_path / "parts" / place
        folder.mkdir(parents=True)
        for number in range(count):
            picture(100 * start + number).save(folder / f"{number}.png")
    return tmp_path / "parts"


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "other pixels": (lambda parts: picture(1).save(parts / "train/good/3.png"), r"train/good/3\.png"),
    "two swapped": (lambda parts: swap(parts / "test/bad/0.png", parts / "test/good/1.png"), "of 7 test|train images"),
    "one more": (lambda parts: picture(2).save(parts / "test/bad/new.png"), r"1 test image.*more.*new\.png"),
    "one fewer": (lambda parts: (parts / "test/bad/2.png").unlink(), r"1 test image.*fewer.*2\.png"),
    "one broken": (lambda parts: (parts / "train/good/5.png").write_bytes(b"broken"), r"train/good/5\.png"),
    "one normal more": (lambda parts: picture(3).save(parts / "train/good/a.png"), r"train image.*more.*a\.png"),
}


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def begun(config: RunConfig) -> RunFolder:
    """Return the folder of a run that was left after its second checkpoint."""
    saved = 0
    events = run(config)
    run_id = ""
    for event in events:
        run_id = run_id or event.run_id  # type: ignore[attr-defined]
        saved += isinstance(event, CheckpointSaved)
        if saved == 2:
            break
    events.close()  # type: ignore[attr-defined]
    return RunFolder(Path(config.runs_dir) / run_id)


@pytest.mark.parametrize("change", CHANGES)
def test_resuming_on_other_data_is_refused(change: str, tiny: Callable[..., RunConfig], parts: Path) -> None:
    """Two data sets mixed in one run, which `verify` then calls equal; a fault of the program for one image more."""
    folder = begun(tiny(recipe="panda-ses", dataset=f"folder:{parts}", normal_class=None))
    before = {path: path.read_bytes() for path in folder.path.rglob("*.*") if path.suffix in (".npz", ".safetensors")}
    kept = parts.with_name("kept")
    shutil.copytree(parts, kept)
    make, words = CHANGES[change]
    make(parts)
    with pytest.raises(BrokenRun, match=f"have changed since it began.*{words}.*is kept"):
        list(resume(folder))
    assert all(path.read_bytes() == content for path, content in before.items())
    assert folder.state().state == "failed"
    shutil.rmtree(parts)
    kept.rename(parts)
    assert list(resume(folder))[-1].to_json()["event"] == "RunFinished"
    assert main(["verify", str(folder.path)]) == 0


@pytest.mark.parametrize("recipe", ["frozen", "panda-ses", "ocsvm", *SEGMENTERS])
@pytest.mark.parametrize("change", ["other pixels", "one more"])
def test_a_finished_run_is_not_verified_on_other_data(
    change: str,
    recipe: str,
    tiny: Callable[..., RunConfig],
    finish: Callable[..., Any],
    parts: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """ "Equal, bit for bit" of other images; strangers' pictures beside a run's scores."""
    still = dict.fromkeys(("steps", "batch_size", "lr", "eval_every"))
    fields = still if recipe in SEGMENTERS else {} if recipe == "panda-ses" else {"steps": None}
    folder, _ = finish(tiny(recipe=recipe, dataset=f"folder:{parts}", normal_class=None, **fields))
    loaded = load_run(folder.path)
    assert len([loaded.images("test").load(row) for row in range(len(loaded.split.test))]) == 7
    CHANGES[change][0](parts)
    capsys.readouterr()
    assert main(["verify", str(folder.path)]) == 1
    assert "have changed since it began" in capsys.readouterr().err
    report = report_of(load_run(folder.path))
    assert "have changed since it began" in report and "<img" not in report


def test_a_changed_image_is_never_shown_as_the_runs(
    tiny: Callable[..., RunConfig], finish: Callable[..., Any], parts: Path
) -> None:
    """Examine beside whose scores another picture of the same name stands."""
    folder, _ = finish(tiny(recipe="frozen", steps=None, dataset=f"folder:{parts}", normal_class=None))
    picture(1).save(parts / "test/bad/0.png")
    images = load_run(folder.path).images("test")
    row = next(row for row, name in enumerate(images.names) if name.endswith("bad/0.png"))
    with pytest.raises(UnreadableImage, match=r"bad/0\.png.*has changed since the run"):
        images.load(row)
    for other in set(range(len(images))) - {row}:
        images.load(other)
    with pytest.raises(UnreadableImage):
        images.subset([row]).load(0)


def marked(parts: Path) -> Path:
    """Return the folder of `parts`, with a mask of each defective image."""
    folder = parts / "ground_truth" / "bad"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(np.uint8(255) * (np.indices((36, 36)).sum(axis=0) < 20 + number)).save(folder / f"{number}.png")
    return folder


def invert(mask: Path) -> None:
    Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)


@pytest.mark.parametrize("change", [lambda mask: mask.unlink(), invert], ids=["removed", "redrawn"])
def test_masks_are_compared_as_images_are(
    change: Callable[[Path], Any],
    spot: Callable[..., RunConfig],
    tiny: Callable[..., RunConfig],
    finish: Callable[..., Any],
    parts: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """ "Equal, bit for bit" beside other masks, and pixel figures that nobody can get again."""
    masks = marked(parts)
    folder, _ = finish(spot(dataset=f"folder:{parts}", normal_class=None))
    unmapped, _ = finish(tiny(recipe="frozen", steps=None, dataset=f"folder:{parts}", normal_class=None))
    before = load_run(folder.path)
    row = before.split.test.index("test/bad/2.png")
    assert before.masks() is not None and main(["verify", str(folder.path)]) == 0
    change(masks / "2.png")
    capsys.readouterr()
    assert main(["verify", str(folder.path)]) == 1
    assert "have changed since it began: the masks of 1 test image" in (told := capsys.readouterr().err)
    assert "test/bad/2.png" in told and "test/bad/1.png" not in told
    assert "have changed since it began" in report_of(load_run(folder.path))
    with pytest.raises(UnreadableImage, match=r"mask of .test/bad/2\.png. has changed since the run"):
        load_run(folder.path).masks().load(row)  # type: ignore[union-attr]
    assert main(["verify", str(unmapped.path)]) == 0  # nothing of it was measured with masks


@pytest.mark.parametrize("recipe", ["frozen", "patchcore"])
@pytest.mark.parametrize("layout", ["drawn", "apart"])
def test_copies_of_training_images_do_not_measure(
    recipe: str, layout: str, tiny: Callable[..., RunConfig], spot: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """Test images that were learned by heart: no false alarm among them, and an AUROC that is too high."""
    root = tmp_path / layout
    good, bad = (root / "good", root / "bad") if layout == "drawn" else (root / "train/good", root / "test/bad")
    for folder in (good, bad, root / "test/good") if layout == "apart" else (good, bad):
        folder.mkdir(parents=True)
    for number in range(16):
        picture(number).save(good / f"{number:02d}.png")
        twin = f"{number:02d} copy.png"
        picture(number).save(good / twin if layout == "drawn" else root / "test/good" / twin)
    for number in range(4):
        picture(100 + number).save(bad / f"{number}.png")
        picture(200 + number).save((good if layout == "drawn" else root / "test/good") / f"own{number}.png")
    picture(0).save(bad / "normal in truth.png")
    make = spot if recipe == "patchcore" else tiny
    fields = {} if recipe == "patchcore" else {"steps": None}
    config = make(
        recipe=recipe, dataset=f"folder:{root}", normal_class=None, train_limit=None, test_limit=None, **fields
    )
    (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
    loaded = load_run(run_id, config.runs_dir)
    stems = [Path(name).stem.removesuffix(" copy") for name in (*loaded.split.train, *loaded.split.test)]
    assert len(set(stems)) == len(stems) and "normal in truth" not in stems
    assert {"0", "1", "2", "3"} <= {Path(name).stem for name in loaded.split.test}
    reasons = dict(loaded.skipped)
    assert len([reason for reason in reasons.values() if reason.startswith("a copy of")]) == 16
    (contradiction,) = [reason for name, reason in reasons.items() if "normal in truth" in name]
    assert "very pixels of the normal image" in contradiction
    assert len(loaded.split.test) == len(loaded.final().scores) == len(loaded.split.is_anomaly)
    if layout == "apart":
        assert all("train/good" in name or "own" in name for name in loaded.split.train)


def test_a_relative_folder_means_the_same_from_anywhere(
    tiny: Callable[..., RunConfig],
    finish: Callable[..., Any],
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another folder of the same name, whose pictures stand beside this run's scores."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    fields: dict[str, Any] = {"steps": None, "normal_class": None, "data_root": "data", "runs_dir": "runs"}
    for dataset in ("folder:parts", "synthetic:folder:parts/train/good"):
        folder, _ = finish(tiny(recipe="frozen", dataset=dataset, **fields))
        config = load_run(folder.path.resolve()).config
        assert str(parts) in config.dataset and Path(config.data_root).is_absolute()
        assert Path(config.runs_dir) == runs
    (tmp_path / "elsewhere" / "parts" / "train" / "good").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    for path in runs.iterdir():
        assert main(["verify", str(path)]) == 0


@pytest.mark.parametrize("recipe", ["frozen", "panda-ses", "patchcore", "spade"])
@pytest.mark.parametrize("how", ["folder", "fit"])
def test_copies_among_the_normals_count_once(how: str, recipe: str, tiny_backbone: str, tmp_path: Path) -> None:
    """20 to 100 % false alarms where 5 % are promised: a held-out image that has its twin among those learned from."""
    still: dict[str, Any] = {"steps": 2} if recipe == "panda-ses" else {}
    fields: dict[str, Any] = {"recipe": recipe, "backbone": tiny_backbone, "image_size": 32, "device": "cpu", **still}
    originals = [np.asarray(picture(100 + number)) for number in range(12)]
    if how == "fit":
        copied = PandaDetector(**fields).fit([pixels for pixels in originals for _ in range(3)])
        once = PandaDetector(**fields).fit(originals)
    else:
        for name, copies in (("copied", ("", " (1)", " copy")), ("once", ("",))):
            (tmp_path / name).mkdir()
            for number, pixels in enumerate(originals):
                for copy in copies:
                    Image.fromarray(pixels).save(tmp_path / name / f"{number:02d}{copy}.png")
        detectors = {}
        for name in ("copied", "once"):
            config = RunConfig(dataset=f"folder:{tmp_path / name}", runs_dir=str(tmp_path / "runs"), **fields)
            (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
            loaded = load_run(run_id, config.runs_dir)
            split, names = loaded.split, loaded.split.train
            learned = {names[row][:2] for row in split.fitted}
            assert (
                how != "folder"
                or recipe != "panda-ses"  # the others calibrate each image by the others
                or learned.isdisjoint({names[row][:2] for row in split.held_out})
            )
            assert len({name[:2] for name in names}) == len(names)
            skipped = [reason for _, reason in loaded.skipped]
            assert (name == "copied") == any("a copy of" in reason for reason in skipped)
            detectors[name] = loaded.detector()
        copied, once = detectors["copied"], detectors["once"]
    fresh = [np.asarray(picture(500 + number)) for number in range(30)]
    assert copied.calibration.images <= len(originals)
    if how == "fit":
        np.testing.assert_array_equal(copied.anomaly_scores(fresh), once.anomaly_scores(fresh))
        assert copied.threshold() == once.threshold()


@pytest.mark.parametrize("recipe", ["frozen", "patchcore"])
def test_normals_that_are_all_alike_are_refused(recipe: str, tiny_backbone: str) -> None:
    """A detector of one image whose every score is 0, or whose threshold is."""
    black = [np.zeros((32, 32, 3), np.uint8)] * 12
    with pytest.raises(PandaError, match="1 normal image is left, without copies"):
        PandaDetector(recipe=recipe, backbone=tiny_backbone, image_size=32).fit(black)
    nearly = [
        np.pad(np.full((1, 1, 3), 9 * place, np.uint8), ((place, 31 - place), (3, 28), (0, 0))) for place in range(12)
    ]
    detector = PandaDetector(recipe=recipe, backbone=tiny_backbone, image_size=32).fit(nearly)
    assert (np.abs(detector.anomaly_scores([np.asarray(picture(1))])) > 0).all()
