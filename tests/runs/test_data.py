"""The data of a run: what changes is refused by name, before anything is mixed; nothing that was computed is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import BrokenRun, RunConfig, UnreadableImage, load_run
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
    for place, count in (("train/good", 10), ("test/good", 6), ("test/bad", 4)):
        folder = tmp_path / "parts" / place
        folder.mkdir(parents=True)
        for number in range(count):
            picture(hash((place, number)) % 1000).save(folder / f"{number}.png")
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
    assert len([loaded.images("test").load(row) for row in range(len(loaded.split["test"]))]) == 7
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
