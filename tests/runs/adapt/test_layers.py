"""What moved and what was held: layer by layer, read without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from panda_core.errors import BrokenRun
from panda_core.records import write_json
from panda_core.runs.adapt.layers import layer_name, layers_of, moved_by_layer, summed_by_layer
from panda_core.runs.folder import RunFolder

RNG = np.random.default_rng(0)
START = {
    "blocks.9.0.conv.weight": RNG.normal(size=(4, 3)).astype(np.float32),
    "blocks.10.0.conv.weight": RNG.normal(size=(4, 3)).astype(np.float32),
    "blocks.10.0.bn.weight": RNG.normal(size=4).astype(np.float32),
    "head.weight": RNG.normal(size=5).astype(np.float32),
}


def folder_of(tmp_path: Path, end: dict[str, np.ndarray]) -> RunFolder:
    (tmp_path / "checkpoints").mkdir()
    save_file(START, tmp_path / "checkpoints" / "000000.safetensors")
    save_file(end, tmp_path / "checkpoints" / "000040.safetensors")
    return RunFolder(tmp_path)


def test_displacement_equals_a_least_squares_fit(tmp_path: Path) -> None:
    """A sum over the wrong layer, or a scale that is not the best one."""
    end = {name: 0.7 * value + 0.1 * RNG.normal(size=value.shape).astype(np.float32) for name, value in START.items()}
    moved = moved_by_layer(folder_of(tmp_path, end))
    names = ("blocks.10.0.conv.weight", "blocks.10.0.bn.weight")
    before, after = (np.concatenate([tensors[name].ravel() for name in names]) for tensors in (START, end))
    scale = np.linalg.lstsq(before[:, None], after, rcond=None)[0]
    slow = np.linalg.norm(after - scale * before) / np.linalg.norm(before)
    assert moved["blocks.10.0"] == pytest.approx(slow, rel=1e-5)


def test_mere_shrinking_is_no_movement(tmp_path: Path) -> None:
    """Weight decay shown as if the layers had learned something."""
    moved = moved_by_layer(folder_of(tmp_path, {name: 0.5 * value for name, value in START.items()}))
    assert max(moved.values()) < 1e-3


def test_layers_come_in_the_order_of_the_network_with_their_mass(tmp_path: Path) -> None:
    """Block 10 before block 9; a Fisher mass on the wrong layer, or not as a share."""
    folder = folder_of(tmp_path, {**START, "learner.x": np.ones(3, np.float32)})
    write_json(RunFolder(tmp_path).fisher_file, {"blocks.9.0": 3.0, "blocks.10.0": 1.0})
    layers = layers_of(folder)
    assert [layer.name for layer in layers] == ["blocks.9.0", "blocks.10.0", "head"]
    assert [layer.mass for layer in layers] == [0.75, 0.25, None]


def test_names_of_layers() -> None:
    """A network of another family whose parameters all land in one layer."""
    assert layer_name("blocks.3.0.conv_pw.weight") == "blocks.3.0"
    assert layer_name("layer4.1.bn2.bias") == "layer4.1"
    assert layer_name("conv_head.weight") == "conv_head"
    assert summed_by_layer({"a.weight": 1.0, "a.bias": 2.0}) == {"a": 3.0}


def test_a_run_without_checkpoints_has_no_layers_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    """A recorded or a young run that breaks the page; a traceback instead of a sentence."""
    assert layers_of(RunFolder(tmp_path)) == []
    folder = folder_of(tmp_path, START)
    (tmp_path / "checkpoints" / "000040.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BrokenRun, match="cannot be read"):
        moved_by_layer(folder)


def test_no_torch_is_needed() -> None:
    """Seconds and hundreds of megabytes in the web process for a bar chart."""
    code = "import sys, panda_core.runs.adapt.layers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
