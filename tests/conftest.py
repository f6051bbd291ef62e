"""What every test shares: an environment of its own, no network, one real run that many tests read."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["tests.run_fixtures"]

ROOT = Path(__file__).parents[1]
GUARD = Path(__file__).parent / "guard"

# Before torch is loaded. One thread: the same rounding in this process and in those that tests start, no threads that
# spin for a core which another process has, and a process that can be forked.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples every time, and no verdict on how fast the machine is.
settings.register_profile("panda", deadline=None, derandomize=True, database=None)
settings.load_profile("panda")

# Processes that tests start find the package compiled, also where the environment asks for no bytecode: each would
# compile all of it anew, for a single command.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_spec = importlib.util.spec_from_file_location("network_guard", GUARD / "sitecustomize.py")
assert _spec is not None and _spec.loader is not None
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one process more than there are cores: those that drive a browser mostly wait for it."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def _session_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share one cache among all tests, away from the user's; guard the processes that tests start.

    Nothing may depend on whose machine it is: the home folder is an empty one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TORCH_HOME", "HF_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("PANDA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(GUARD), str(ROOT)]))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("COLUMNS", "200")
        # Whether the disk has what was written matters after a power cut alone. Waiting for it, thousands of times, was
        # a tenth of the time of some tests. Tests of crashes put their own in this place; processes wait as ever.
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def _environment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test its own runs folder, and no data but what it asks for with `real_data`."""
    monkeypatch.setenv("PANDA_RUNS", str(tmp_path / "runs"))
    for name in ("PANDA_MAX_RUNS", "PANDA_CACHE_GB"):
        monkeypatch.delenv(name, raising=False)
    if "real_data" not in request.fixturenames:
        monkeypatch.setenv("PANDA_DATA", str(tmp_path / "no data"))


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real data, or skip the test where there is none."""
    folder = Path(os.environ.get("PANDA_DATA") or "nowhere")
    if not folder.is_dir():
        pytest.skip("real data: set PANDA_DATA to the folder into which it was unpacked")
    return folder


@pytest.fixture
def pictures() -> Callable[[], Path]:
    """Return a function that writes twelve pictures of three ImageNet classes into the data root, and their folder."""

    def write() -> Path:
        import numpy as np
        from PIL import Image

        folder = Path(os.environ["PANDA_DATA"]) / "imagenet_sample"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(5)
        for number in range(12):
            synset = ("n01440764", "n01443537", "n01484850")[number % 3]
            pixels = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((48, 40)).save(folder / f"{synset}_{number}.JPEG")
        return folder

    return write


@pytest.fixture
def panda() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function (arguments...) that runs `python -m panda_core` in a process of its own."""

    def call(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "panda_core", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=170, **options)  # type: ignore[call-overload]

    return call


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run on digits with the bundled network. Shared: never write into it."""
    from panda_core import RunConfig, RunStarted, run

    runs = tmp_path_factory.mktemp("shared runs")
    config = RunConfig(
        dataset="digits",
        normal_class="3",
        image_size=32,
        train_limit=24,
        test_limit=40,
        batch_size=8,
        steps=4,
        eval_every=2,
        runs_dir=str(runs),
        data_root=str(runs / "no data"),
        device="cpu",
    )
    (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
    return runs / run_id


@pytest.fixture
def own_run(digits_run: Path, tmp_path: Path) -> Path:
    """Return a copy of `digits_run` that a test may damage."""
    return Path(shutil.copytree(digits_run, tmp_path / "runs" / digits_run.name))


@pytest.fixture(scope="session")
def tiny_network() -> Callable[..., Any]:
    """Return a function -> a `Network` of three convolutions that runs in a millisecond; keywords replace fields."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn

    from panda_core.backbones import Preprocessing
    from panda_core.backbones.network import Network, freeze

    class Tail(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 1)
            self.norm.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            self.norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.norm(self.first(x)))
            return torch.cat([x.mean(dim=(2, 3)), F.relu6(self.last(x) + 1).mean(dim=(2, 3))], dim=1)

    def make(**fields: Any) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trunk = freeze(nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU()))
            tail, classifier = freeze(Tail()), freeze(nn.Linear(8, 10))

        def stage_maps(x: torch.Tensor, stages: Sequence[str]) -> list[torch.Tensor]:
            first = trunk(x)
            found = {"first": first, "last": tail.last(F.relu(tail.norm(tail.first(first))))}
            return [found[stage] for stage in stages]

        given = {
            "trunk": trunk,
            "tail": tail,
            "classifier": classifier,
            "level_widths": (6, 8),
            "preprocessing": Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", 1.0),
            "cut": "trunk",
            "weights_sha256": "0" * 64,
            "stage_maps": stage_maps,
            "stages": ("first", "last"),
            "levels": ("first", "last"),
        }
        return Network(**{**given, **fields})

    return make


@pytest.fixture
def tiny_backbone(tiny_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the key of a backbone made of `tiny_network`, registered for one test."""
    from torch import nn

    from panda_core.backbones import BACKBONES, Backbone
    from panda_core.backbones.network import freeze

    def whole(network: Any) -> Any:
        tail = freeze(nn.Sequential(network.trunk, network.tail))
        return dataclasses.replace(network, trunk=nn.Identity(), tail=tail, cut="input")

    row = Backbone(
        key="tiny",
        title="Three convolutions",
        source="this test",
        licence="none",
        cut="trunk",
        cuts=("trunk", "input"),
        feature_norm="none",
        lr=0.05,
        follows_paper=False,
        image_size=None,
        levels=("first", "last"),
        load=lambda cut, weights="": tiny_network() if cut == "trunk" else whole(tiny_network()),
        missing=lambda: None,
    )
    monkeypatch.setitem(BACKBONES, "tiny", row)
    return "tiny"
