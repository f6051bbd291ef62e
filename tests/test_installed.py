"""The package as `pip install .` gives it: every file it needs, and it runs far from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import panda_core

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from importlib.metadata import entry_points, version
import numpy as np
import panda_core
from panda_core.bench.grid import built_in_grids
from panda_core.bench.published import published_figures

site, runs = sys.argv[1:]
assert panda_core.__file__.startswith(site), panda_core.__file__
assert version("panda-core") == panda_core.__version__
assert built_in_grids() and published_figures()
(command,) = entry_points(group="console_scripts", name="panda-core")
main = command.load()
assert main(["list", "--runs-dir", runs]) == 0

images = np.random.default_rng(0).integers(0, 40, (12, 32, 32, 3), dtype=np.uint8)
images[:, :, :16] += 180
detector = panda_core.PandaDetector(recipe="frozen", image_size=32, device="cpu").fit(images)
turned = np.rot90(images, axes=(1, 2))
assert detector.anomaly_scores(turned).min() > detector.anomaly_scores(images).max()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the built package was unpacked. The checkout is not written to."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    shutil.copytree(ROOT / "panda_core", source / "panda_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("panda_core-*.whl")
    assert wheel.name == f"panda_core-{panda_core.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_file_of_the_package_is_installed(site: Path) -> None:
    """A table or a grid that is read beside the code, and lies in the checkout alone; the app's pages installed."""

    def files(folder: Path) -> set[str]:
        paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return {path for path in paths if "__pycache__" not in path}

    assert files(site / "panda_core") == files(ROOT / "panda_core")
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"panda_core"}
    assert {"panda_core/py.typed", "panda_core/bench/published.toml"} <= files(site)


def test_the_installed_package_runs_without_the_checkout(site: Path, tmp_path: Path) -> None:
    """A package that works because the repository happens to be the current folder."""
    guard = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([guard, str(site)])}
    command = [sys.executable, "-c", PROGRAM, str(site), str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no runs" in done.stdout.lower()
