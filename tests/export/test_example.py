"""The example that scores images with an exported detector, where nothing is installed but what it asks for."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig, load_run
from panda_core.backbones import BACKBONES, Preprocessing
from panda_core.cli import main
from panda_core.export.network_file import write_network

EXAMPLE = Path(__file__).parents[2] / "assets" / "examples" / "score_with_onnx.py"
NEEDED = ("onnxruntime", "numpy", "pillow")
ORIENTATION = 274
# -I and -S: nothing of the environment, of the user or of site-packages is on the path, only Python's own library.
ALONE = "import runpy, sys; sys.path.append(sys.argv.pop(1)); sys.argv.pop(0); runpy.run_path(sys.argv[0])"

Finish = Callable[..., Any]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what `pip install onnxruntime numpy pillow` brings, and nothing else."""
    folder, wanted, seen = tmp_path_factory.mktemp("packages"), [*NEEDED], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        found = importlib.metadata.distribution(name)
        needed = [need for need in found.requires or [] if "extra ==" not in need]
        wanted += [match[0] for need in needed if (match := re.match(r"[\w.-]+", need))]
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            (folder / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    assert not {"torch", "panda_core"} & {path.name for path in folder.iterdir()}
    return folder


@pytest.fixture
def example(installed: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function (detector, images...) that runs the example in an empty environment."""

    def call(*arguments: Path) -> subprocess.CompletedProcess[str]:
        place = tmp_path / "maps"
        place.mkdir(exist_ok=True)
        command = [sys.executable, "-I", "-S", "-c", ALONE, str(installed), str(EXAMPLE), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=120)

    return call


def save_pictures(folder: Path) -> list[Path]:
    """Write an image of every kind that the example reads, of odd shapes, and return their paths, sorted."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    wide = cv2.resize(rng.integers(0, 256, (5, 9, 3), dtype=np.uint8), (97, 41), interpolation=cv2.INTER_CUBIC)
    deep = cv2.resize(rng.integers(0, 65536, (6, 4), dtype=np.uint16), (30, 71), interpolation=cv2.INTER_CUBIC)
    clear = np.dstack([wide, rng.integers(0, 256, wide.shape[:2], dtype=np.uint8)])
    for turn in (3, 6):
        exif = Image.Exif()
        exif[ORIENTATION] = turn
        Image.fromarray(wide).save(folder / f"turned{turn}.jpg", exif=exif)
        Image.fromarray(deep).save(folder / f"turned{turn}.png", exif=exif)
    Image.fromarray(wide).save(folder / "wide.png")
    Image.fromarray(np.ascontiguousarray(wide.transpose(1, 0, 2))).save(folder / "high.webp", lossless=True)
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(clear).convert("LA").save(folder / "clear_grey.png")
    Image.fromarray(clear).quantize(40).save(folder / "palette.png")
    Image.fromarray(wide).convert("L").save(folder / "grey.bmp")
    Image.fromarray(wide).convert("1").save(folder / "bits.png")
    Image.fromarray(wide).convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "deep.tif")
    Image.fromarray(wide).save(folder / "wide.tif", compression="tiff_lzw")
    Image.fromarray(wide[:, :, 0]).save(folder / "grey.tif")
    cv2.imwrite(str(folder / "deep_colours.png"), np.dstack([deep, 65535 - deep, deep // 3]))
    Image.fromarray(wide[:32, :32]).save(folder / "small.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize(("recipe", "crop"), [("patchcore", 1.0), ("panda-early", 0.8)])
def test_the_example_scores_as_the_program_does(
    spot: Callable[..., RunConfig],
    tiny: Callable[..., RunConfig],
    tiny_network: Callable[..., Any],
    finish: Finish,
    tmp_path: Path,
    example: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    crop: float,
) -> None:
    """Pixels that are turned, resized, cropped or laid over white otherwise; a package that nobody was told of."""
    config = (spot if recipe == "patchcore" else tiny)(recipe=recipe)
    seen = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), "bicubic", crop)
    row = dataclasses.replace(BACKBONES["tiny"], load=lambda cut, weights="": tiny_network(preprocessing=seen))
    monkeypatch.setitem(BACKBONES, "tiny", row)
    folder, _ = finish(config)
    detector = load_run(folder.path).detector()
    write_network(load_run(folder.path), tmp_path / "detector.onnx", "onnx")
    paths = save_pictures(tmp_path / "pictures")
    assert main(["score", str(folder.path), str(tmp_path / "pictures"), "--json"]) == 0
    wanted = {Path(row["path"]).name: row for row in json.loads(capsys.readouterr().out)}
    assert len(wanted) == len(paths)
    result = example(tmp_path / "detector.onnx", *paths)
    assert result.returncode == 0, result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [Path(line[0]).name for line in lines] == [path.name for path in paths]
    scores = np.array([wanted[path.name]["score"] for path in paths])
    size = np.maximum(np.abs(scores), np.abs(scores).mean())
    assert np.max(np.abs(np.array([float(line[1]) for line in lines]) - scores) / size) < 1e-4
    assert [line[2] for line in lines] == [wanted[path.name]["verdict"] for path in paths]
    maps = {path.name.removesuffix(".map.tif"): path for path in (tmp_path / "maps").iterdir()}
    assert set(maps) == ({path.name for path in paths} if detector.has_maps else set())
    for path in paths if detector.has_maps else []:
        right = detector.anomaly_maps([path])[0]
        np.testing.assert_allclose(np.asarray(Image.open(maps[path.name])), right, rtol=1e-4, atol=1e-4 * right.mean())


def test_the_example_refuses_what_it_would_read_otherwise(
    tiny: Callable[..., RunConfig], finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score of pixels that mean something else: signed and real samples, white as 0, numbers of no agreed white."""
    folder, _ = finish(tiny(recipe="frozen", steps=None))
    write_network(load_run(folder.path), tmp_path / "detector.onnx", "onnx")
    values = np.random.default_rng(0).random((8, 9), np.float32)
    small = (255 * values).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "real.tif")
    Image.fromarray((1e6 * values).astype(np.int32)).save(tmp_path / "long.tif")
    Image.fromarray((60000 * values).astype(np.uint16)).save(tmp_path / "deep.pgm")
    Image.fromarray(values).save(tmp_path / "real.pfm")
    Image.fromarray(small).save(tmp_path / "signed.tif", tiffinfo={339: 2})
    Image.fromarray(small).save(tmp_path / "negative.tif", tiffinfo={262: 0})
    refused = [*tmp_path.glob("*.tif"), *tmp_path.glob("*.p?m")]
    assert len(refused) == 6
    for path in refused:
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "detector.onnx"), str(path)])
        with pytest.raises(SystemExit, match=r"its kind of samples is not read here. Save it as PNG."):
            runpy.run_path(str(EXAMPLE))


def test_the_example_paints_over_what_does_not_count(
    spot: Callable[..., RunConfig],
    finish: Finish,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A score of what lies outside of the region of interest, or of a region that is stretched over another shape."""
    marked = np.zeros((40, 40), bool)
    marked[3:31, 10:38] = True
    Image.fromarray(marked).save(tmp_path / "roi.png")
    loaded = load_run(finish(spot(roi=str(tmp_path / "roi.png")))[0].path)
    write_network(loaded, tmp_path / "detector.onnx", "onnx")
    rng, detector = np.random.default_rng(0), loaded.detector()
    for side in (9, 50):  # it is looked at with 32
        file = tmp_path / f"{side}.png"
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file)
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "detector.onnx"), str(file)])
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(EXAMPLE))
        score = float(capsys.readouterr().out.split("\t")[1])
        np.testing.assert_allclose(score, detector.anomaly_scores([file])[0], rtol=1e-4, atol=1e-4)
        drawn = np.asarray(Image.open(tmp_path / f"{side}.png.map.tif"))
        np.testing.assert_allclose(drawn, detector.anomaly_maps([file])[0], rtol=1e-4, atol=1e-4)
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "wide.png")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "detector.onnx"), str(tmp_path / "wide.png")])
    with pytest.raises(SystemExit, match=r"not in the shape of the region of interest, \(40, 40\) pixels"):
        runpy.run_path(str(EXAMPLE))


def test_the_example_fits_on_a_page() -> None:
    """An example that has grown into a program."""
    assert len(EXAMPLE.read_text().splitlines()) <= 40
