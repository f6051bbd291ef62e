"""Images of more than 8 bits: a run learns, remembers and applies one range, to new images too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core import PandaDetector, RunConfig, UsageError, load_run, run
from panda_core.events import RunStarted
from panda_core.export.bundle import write_bundle
from panda_core.export.network_file import write_network
from panda_core.export.opening import load_bundle
from panda_core.runs.few_shot.data import open_seen
from panda_core.runs.kinds import options_of

Make = Callable[..., RunConfig]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Return a folder of 16-bit images that use 1000 to 1800 of 65535."""
    rng = np.random.default_rng(0)
    for row in range(14):
        place = tmp_path / "deep" / ("good" if row < 10 else "bad") / f"{row}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        values = rng.integers(1000, 1801, (4, 4)).repeat(10, 0).repeat(10, 1) + 40 * rng.integers(0, 2, (40, 40))
        Image.fromarray(np.clip(values, 1000, 1800).astype(np.uint16)).save(place)
    return tmp_path / "deep"


@pytest.mark.parametrize("recipe", ["frozen", "patchcore"])
def test_a_run_reads_new_images_in_its_own_range(recipe: str, deep: Path, tiny: Make, spot: Make) -> None:
    """A range that is decided anew for new images; a run whose images are nearly black and nobody sees it."""
    make, own = (spot, {}) if recipe == "patchcore" else (tiny, {"steps": None})
    config = make(dataset=f"folder:{deep}", normal_class=None, recipe=recipe, **own)
    events = list(run(config.replace(set={**config.set, "range": "data"})))
    (started,) = (event for event in events if isinstance(event, RunStarted))
    assert started.config["set"]["range"] == "1000-1800"
    loaded = load_run(started.run_id, config.runs_dir)
    images = loaded.images("test")
    assert np.ptp(images.load(0)) > 150
    paths = [deep / name for name in images.names]
    from_files, from_pixels = (
        loaded.detector().anomaly_scores(given) for given in (paths, [images.load(row) for row in range(len(images))])
    )
    np.testing.assert_array_equal(from_files, from_pixels)
    assert loaded.notes == []  # the range is set
    dark = list(run(config))
    (plain,) = (event for event in dark if isinstance(event, RunStarted))
    assert plain.config["set"]["range"] == "full"
    assert load_run(plain.run_id, config.runs_dir).images("test").load(0).max() < 8
    (told,) = load_run(plain.run_id, config.runs_dir).notes
    assert "use 1000 to 1800 of 0 to 65535" in told and "--set range=data" in told


@pytest.mark.parametrize("recipe", ["patchcore", "resad"])
def test_maps_of_drawn_defects_and_new_classes_have_a_range_too(
    recipe: str, deep: Path, tiny: Make, spot: Make, tmp_path: Path
) -> None:
    """An option that `segment` offers in a note and refuses; seen classes that are read darker than the new one."""
    if recipe == "resad":
        (deep / "good").rename(tmp_path / "seen")
        shutil.copytree(tmp_path / "seen", deep / "good")
        for row, place in enumerate(sorted((deep / "good").iterdir())):
            Image.fromarray(np.asarray(Image.open(place))[:, ::-1].copy() + np.uint16(row)).save(place)
        options = {"seen": f"normal@folder:{tmp_path / 'seen'}", "blocks": 1, "position_width": 4, "references": 2}
        config = tiny(
            recipe="resad", dataset=f"folder:{deep}", normal_class=None, steps=2, eval_every=None, set=options
        )
    else:
        config = spot(dataset=f"synthetic:folder:{deep}", normal_class=None)
    events = list(run(config.replace(set={**config.set, "range": "data"})))
    (started,) = (event for event in events if isinstance(event, RunStarted))
    low, high = map(float, started.config["set"]["range"].split("-"))
    assert 1000 <= low < high <= 1820
    loaded = load_run(started.run_id, config.runs_dir)
    assert np.ptp(loaded.images("test").load(0)) > 150
    if recipe == "resad":
        (seen,) = open_seen(loaded.config)
        assert np.ptp(seen.normals.load(0)) > 150 and seen.anomalies is not None
        assert np.ptp(seen.anomalies.load(0)) > 150
    else:
        masks = loaded.masks()
        assert masks is not None
        marked = [masks.load(row) for row in range(len(masks))]
        assert sum(bool(mask.any()) for mask in marked if mask is not None) == sum(loaded.split.is_anomaly)


def test_a_graph_of_a_run_with_a_range_is_refused(deep: Path, tiny: Make, tmp_path: Path) -> None:
    """A file for pixels of 8 bits, fed with others: it scores nonsense and nothing says so."""
    config = tiny(dataset=f"folder:{deep}", normal_class=None, recipe="frozen", steps=None, set={"range": "data"})
    (run_id,) = (event.run_id for event in run(config) if isinstance(event, RunStarted))
    loaded = load_run(run_id, config.runs_dir)
    with pytest.raises(UsageError, match=r"takes the sample values 1000-1800 as black and white.*`--format bundle`"):
        write_network(loaded, tmp_path / "graph.onnx", "onnx")
    assert not (tmp_path / "graph.onnx").exists()
    write_bundle(loaded, tmp_path / "bundle.zip")
    paths = sorted(deep.glob("bad/*.png"))
    opened = load_bundle(tmp_path / "bundle.zip")
    np.testing.assert_array_equal(opened.anomaly_scores(paths), loaded.detector().anomaly_scores(paths))


def test_fit_takes_a_range_too(deep: Path, tiny_backbone: str) -> None:
    """A range that only the command line knows; one that is learned of files and forgotten for the next."""
    normal = sorted(deep.glob("good/*.png"))
    settings = {"recipe": "frozen", "backbone": tiny_backbone, "image_size": 32, "device": "cpu"}
    detector = PandaDetector(**settings, set={"range": "data"}).fit(normal)
    assert detector.config.set["range"] == "1000-1800" and str(detector.levels) == "1000-1800"
    given = PandaDetector(**settings, set={"range": "1000-1800"}).fit(normal)
    np.testing.assert_array_equal(detector.anomaly_scores(normal), given.anomaly_scores(normal))
    with pytest.raises(UsageError, match="needs paths of image files"):
        PandaDetector(**settings, set={"range": "data"}).fit([np.zeros((9, 9, 3), np.uint8)] * 4)


def test_a_range_is_an_option_of_ones_own_images_alone(deep: Path, tiny: Make) -> None:
    """An option of every form that changes nothing; a wrong text found when the run has begun."""
    assert "range" in options_of(tiny(dataset=f"folder:{deep}")) and "range" not in options_of(tiny())
    config = tiny(dataset=f"folder:{deep}", normal_class=None, set={"range": "half"})
    with pytest.raises(UsageError, match="`range` must be `full`, `data` or LOW-HIGH"):
        list(run(config))
    assert not list(Path(config.runs_dir).glob("*"))
