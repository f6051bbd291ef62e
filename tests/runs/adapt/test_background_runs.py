"""Runs that compare with a background: which one, what they say of it, and that it is kept with the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from panda_core import DataMissing, PandaDetector, PandaError, RunConfig, UsageError, load_run, run
from panda_core.cli import main
from panda_core.datasets.sets.digits import DIGITS
from panda_core.errors import BrokenRun
from panda_core.events import CheckpointSaved, DataNoted, RunFinished, RunStarted
from panda_core.features.space import RIDGE, FeatureNorm
from panda_core.features.trunk import compute_trunk
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import resolve
from panda_core.runs.run import resume
from panda_core.runs.tensors import BACKGROUND, read_background, read_tensors, write_tensors

SCORER = "relative-mahalanobis"
Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]


def pixels() -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))


def notes(events: list[Any]) -> list[str]:
    return [event.told for event in events if isinstance(event, DataNoted)]


@pytest.mark.parametrize("recipe", ["frozen", "panda-early", "panda-ses", "panda-ewc"])
def test_a_run_verifies_and_its_detector_needs_no_background_again(
    tiny: Tiny, finish: Finish, pictures: Callable[[], Path], recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A background of the unadapted network beside an adapted one; one that is looked for for every image."""
    folder, _ = finish(tiny(recipe=recipe, scorer=SCORER, steps=None if recipe == "frozen" else 4))
    assert main(["verify", str(folder.path)]) == 0
    assert "Equal: 20 scores, bit for bit." in capsys.readouterr().out
    detector = load_run(folder.path).detector()
    shutil.rmtree(pictures())
    again = load_run(folder.path).detector()
    np.testing.assert_array_equal(again.anomaly_scores(pixels()), detector.anomaly_scores(pixels()))


def test_the_background_follows_the_network(tiny: Tiny, finish: Finish) -> None:
    """Normal images seen by the adapted network, and the background by the one before."""
    folder, _ = finish(tiny(recipe="panda-ses", scorer=SCORER, lr=0.5))
    network = load_run(folder.path).detector().learned_.network
    first, last = (read_background(folder.gallery(step), network)[0] for step in (2, 6))
    assert first.shape == last.shape == (12, 14) and not np.allclose(first, last)


def test_scores_are_those_of_the_formula(tiny: Tiny, finish: Finish) -> None:
    """A scorer that is given another space, or another background than the one that the run keeps."""
    changes = {"recipe": "frozen", "steps": None, "feature_norm": "whiten"}
    (plain, _), (folder, _) = finish(tiny(scorer="mahalanobis", **changes)), finish(tiny(scorer=SCORER, **changes))
    images, learned = pixels(), load_run(folder.path).detector().learned_
    network = learned.network
    values = compute_trunk(images, network, image_size=32, dtype="float16", device=torch.device("cpu"))
    scaled = FeatureNorm("l2", network.level_widths)
    with torch.no_grad():
        seen = scaled(network.tail(torch.from_numpy(values).float())).double().numpy()
    kept, (far,) = read_background(folder.gallery(0), network)
    rows = scaled(kept).double().numpy()
    covariance = np.cov(rows, rowvar=False, bias=True)
    ridge = RIDGE * np.trace(covariance) / min(len(rows) - 1, rows.shape[1])
    precision, offset = np.linalg.inv(covariance + ridge * np.eye(rows.shape[1])), seen - rows.mean(axis=0)
    around = np.einsum("ij,jk,ik->i", offset, precision, offset)
    distances = load_run(plain.path).detector().anomaly_scores(images)
    found = load_run(folder.path).detector()
    near = found.learned_.checkpoints[0].scorer.near_
    wanted = distances / (around if near else far)
    np.testing.assert_allclose(found.anomaly_scores(images), wanted, rtol=1e-3)
    # A run from before the line was kept compares with the background always.
    write_tensors(folder.gallery(0), {k: v for k, v in read_tensors(folder.gallery(0)).items() if k != BACKGROUND[1]})
    np.testing.assert_allclose(load_run(folder.path).detector().anomaly_scores(images), distances / around, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": "panda-early"}, r"No background of an adapted network .* `background=bundled`\. Set `--set backgr"),
        ({"recipe": "frozen", "steps": None}, r"No background of `.+` with these weights comes with the program"),
    ],
)
def test_a_background_that_is_not_bundled_is_refused(tiny: Tiny, changes: dict[str, Any], said: str) -> None:
    """A background of another network, or of the network before it was adapted, without a word."""
    with pytest.raises(UsageError, match=said):
        resolve(tiny(scorer=SCORER, set={"background": "bundled"}, **changes))


def test_what_is_missing_or_too_little_is_said(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """A run that fails after its first minutes, or compares with nothing."""
    with pytest.raises(DataMissing, match=r"fetch its 1,000 files"):
        resolve(RunConfig(scorer=SCORER, dataset="digits", recipe="panda-early", data_root=str(tmp_path)))
    with pytest.raises(UsageError, match=r"`background` must not be the data set itself.*Set `--set background=`"):
        resolve(tiny(scorer=SCORER, set={"background": "digits"}))
    with pytest.raises(DataMissing, match=r"The folder `.*gone` does not exist; `background` names it"):
        resolve(tiny(scorer=SCORER, set={"background": str(tmp_path / "gone")}))


@pytest.mark.parametrize(
    ("changes", "option"), [({"scorer": SCORER}, "background"), ({"recipe": "panda-oe"}, "outliers")]
)
@pytest.mark.parametrize("split", ["train/good", "test/bad"])
@pytest.mark.parametrize("form", ["png", "bmp", "jpg"])
def test_images_of_the_run_are_no_others(
    tiny: Tiny, finish: Finish, tmp_path: Path, changes: dict[str, Any], option: str, split: str, form: str
) -> None:
    """A recipe that learns the very anomalies it is judged on, or a background of the normals, without a word."""
    rng, root = np.random.default_rng(0), tmp_path / "own"
    for place in ("train/good", "test/good", "test/bad"):
        (root / place).mkdir(parents=True)
        for number in range(12):
            pixels = np.repeat(np.repeat(rng.integers(0, 256, (4, 4, 1), dtype=np.uint8), 4, axis=0), 12, axis=1)
            Image.fromarray(pixels.reshape(16, 16, 3)).save(root / place / f"{number}.png")
    others = tmp_path / "others"
    others.mkdir()
    for path in (root / split).iterdir():
        Image.open(path).save(others / f"{path.stem}.{form}", quality=95)
    config = tiny(dataset=f"folder:{root}", normal_class="good", set={option: str(others)}, **changes)
    with pytest.raises(
        PandaError, match=f"`{option}` must name images that are none of this run's; [1-9][0-9]* of 12 are"
    ):
        finish(config)


@pytest.mark.parametrize(
    ("changes", "option"),
    [({"scorer": SCORER}, "background"), ({"recipe": "panda-oe"}, "outliers"), ({"recipe": "panda-early"}, "")],
)
def test_a_run_does_not_go_on_with_other_images(
    tiny: Tiny, tmp_path: Path, changes: dict[str, Any], option: str
) -> None:
    """A network taught one half by some outliers and the other by others; scores against another background."""
    rng, folder = np.random.default_rng(0), tmp_path / "any"
    folder.mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    config = tiny(**changes, set={option: str(folder)} if option else {})
    run_id, events = "", run(config)
    for event in events:
        run_id = event.run_id if isinstance(event, RunStarted) else run_id
        if isinstance(event, CheckpointSaved) and event.step == 2:
            events.close()  # type: ignore[attr-defined]
    left = RunFolder(Path(config.runs_dir) / run_id)
    first = folder / "0.png"
    content = first.read_bytes()
    first.write_bytes((folder / "1.png").read_bytes())
    if option:
        with pytest.raises(BrokenRun, match=f"The images of `{option}` have changed since"):
            list(resume(left))
        first.write_bytes(content)
    assert isinstance(list(resume(left))[-1], RunFinished)
    first.write_bytes((folder / "1.png").read_bytes())
    assert main(["verify", str(left.path)]) == int(bool(option))


def test_bundled_networks_have_one_by_default(tmp_path: Path) -> None:
    """A network whose background comes with the program, and that asks for images all the same."""
    config = RunConfig(scorer=SCORER, dataset="digits", recipe="frozen", data_root=str(tmp_path))
    for backbone in ("efficientnet_lite0", "efficientnet_lite_all"):
        assert resolve(config.replace(backbone=backbone)).set["background"] == "bundled"


def test_digits_are_told_to_lie_far_from_photographs(finish: Finish, tmp_path: Path) -> None:
    """Points lost in silence where normal images look like nothing in the background."""
    config = RunConfig(scorer=SCORER, dataset="digits", normal_class="3", recipe="frozen", image_size=64)
    _, events = finish(config.replace(train_limit=20, test_limit=20, runs_dir=str(tmp_path), device="cpu"))
    size, far = notes(events)
    assert "photographs of 32 px seen at 128 px" in size and "have 8 px and are seen at 64 px" in size
    assert "do not look like the background" in far and "scored without it, as by `mahalanobis`" in far


def test_a_background_of_the_same_kind_is_not_told_of(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """A warning that comes whatever the images are."""
    rng, folder = np.random.default_rng(0), tmp_path / "any"
    folder.mkdir()
    splits = DIGITS.open(tmp_path, "3", 0)
    for row in rng.permutation(len(splits.train))[:70]:
        other = splits.train.load(int(row))[:, ::-1]  # a digit in a mirror: none that the run has
        Image.fromarray(other).save(folder / f"{row}.png")
    _, events = finish(tiny(recipe="frozen", steps=None, scorer=SCORER, set={"background": str(folder)}))
    assert notes(events) == []


def test_a_background_of_few_images_is_told_of(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """Distances from a background that ten images span, taken for those from images of anything."""
    folder = tmp_path / "any"
    folder.mkdir()
    splits = DIGITS.open(tmp_path, "3", 0)
    for row in range(10):
        Image.fromarray(splits.train.load(row)).save(folder / f"{row}.png")
    _, events = finish(tiny(recipe="frozen", steps=None, scorer=SCORER, set={"background": str(folder)}))
    assert "10 images, which show 9 of the 64 directions" in notes(events)[0]


def test_a_detector_takes_it(tmp_path: Path) -> None:
    """Photos handed over in Python, offline, with one option."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (12, 32, 32, 3), dtype=np.uint8)
    images[:, :, :16] += 150
    turned = [np.ascontiguousarray(np.rot90(image)) for image in images]
    detector = PandaDetector(recipe="frozen", scorer=SCORER, image_size=64, device="cpu").fit(list(images))
    assert detector.anomaly_scores(turned).min() > detector.anomaly_scores(list(images)).max()
