"""What is measured of an adaptation beside its scores: directions, neighbourhoods, and what moved in each layer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from panda_core.errors import BrokenRun
from panda_core.features.space import FeatureNorm
from panda_core.records import write_json
from panda_core.runs.adapt.evaluate import projection_axes, refit_projection
from panda_core.runs.adapt.layers import layer_name, layers_of, moved_by_layer, summed_by_layer
from panda_core.runs.adapt.watched import (
    COPIES,
    neighbourhoods,
    overlap,
    rounding_margin,
    stand_in_auroc,
    strange_copies,
)
from panda_core.runs.folder import RunFolder


def features(rows: int, dims: int, seed: int = 0) -> np.ndarray:
    """Return features with a few strong directions and a mean far away."""
    rng = np.random.default_rng(seed)
    return (5 + rng.normal(size=(rows, dims)) / (1 + np.arange(dims))).astype(np.float32)


@pytest.mark.parametrize(("rows", "dims"), [(60, 40), (30, 200), (8, 3), (2, 5), (6, 1)])
def test_a_refit_is_the_principal_component_analysis_of_that_step(rows: int, dims: int) -> None:
    """Two directions that are not those of largest variance: of other features, of one split, or not yet found."""
    both = features(rows, dims)
    drawn = np.concatenate(refit_projection(both[: rows // 2], both[rows // 2 :]))
    assert drawn.shape == (rows, 2) and drawn.dtype == np.float32
    largest = np.zeros(2)
    values = np.linalg.svd(both - both.mean(axis=0), compute_uv=False)[:2]
    largest[: len(values)] = values
    assert np.linalg.norm(drawn, axis=0) == pytest.approx(largest, rel=1e-2, abs=1e-4)


def test_a_refit_follows_the_features_and_fixed_axes_do_not() -> None:
    """A switch that shows the fixed projection once more, only enlarged."""
    before = features(80, 30)
    after = before[:, ::-1] * np.float32(1e-3)  # what was strong is weak now
    axes = projection_axes(before)
    kept = np.square((after - after.mean(axis=0)) @ axes).sum()
    found = np.square(np.concatenate(refit_projection(after[:40], after[40:]))).sum()
    assert found > 20 * kept


def test_a_refit_sees_what_a_collapse_leaves_and_survives_a_point() -> None:
    """Differences in the seventh digit lost to rounding; a division by zero where nothing differs."""
    tiny = features(40, 10) * np.float32(1e-4) + np.float32(1.0)
    assert np.concatenate(refit_projection(tiny[:20], tiny[20:])).std(axis=0).min() > 1e-5
    point = np.ones((6, 4), np.float32)
    assert np.array_equal(np.concatenate(refit_projection(point[:3], point[3:])), np.zeros((6, 2)))


def test_many_images_take_the_directions_of_some() -> None:
    """Images beyond those that the directions come from left out of the picture."""
    train, test = refit_projection(features(700, 6), features(900, 6, seed=1))
    assert (len(train), len(test)) == (700, 900)
    assert np.abs(train[600:]).max() > 0.1


def slow_overlap(first: np.ndarray, now: np.ndarray) -> float:
    """Return the overlap of the neighbourhoods of two sets of features, in the words of the docstring."""
    shares, k = [], round((len(first) - 1) / 3)
    for row in range(len(first)):
        near = []
        for features in (first, now):
            distances = [float(((other - features[row]) ** 2).sum()) for other in features]
            others = [place for place in range(len(features)) if place != row]
            near.append(set(sorted(others, key=lambda place: distances[place])[:k]))
        shares.append(len(near[0] & near[1]) / k)
    chance = k / (len(first) - 1)
    return float((np.mean(shares) - chance) / (1 - chance))


@pytest.mark.parametrize("size", [4, 7, 31])
def test_overlap_follows_its_formula(size: int) -> None:
    """An image that counts as its own neighbour, another share than a third, or a chance that is not taken off."""
    rng = np.random.default_rng(size)
    first, noise = rng.normal(size=(2, size, 5)).astype(np.float32)
    for now in (first, first + noise, noise):
        found = overlap(neighbourhoods(first), neighbourhoods(now))
        assert found == pytest.approx(slow_overlap(first, now), abs=1e-6)


def test_overlap_is_one_for_the_same_shape_and_zero_for_chance() -> None:
    """A scale, a shift or a turn that is taken for a change; features without anything in common that score high."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 8)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
    assert overlap(neighbourhoods(first), neighbourhoods(0.01 * first @ turn + 3)) > 0.99
    others = rng.normal(size=(200, 8)).astype(np.float32)
    assert abs(overlap(neighbourhoods(first), neighbourhoods(others))) < 0.05


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_images_that_coincide_or_are_few_are_no_error(size: int) -> None:
    """A division by zero, or a table with holes, after a collapse to one point or with hardly any images."""
    point = np.ones((size, 4), np.float32)
    found = neighbourhoods(point)
    assert len(found) == size and not (found == np.arange(size)[:, None]).any()
    assert overlap(found, found) == pytest.approx(1.0)


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


@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-5])
def test_the_rounding_margin_is_the_distance_in_rounding_errors(apart: float) -> None:
    """Distances that are all rounding and pass for features: images `apart` from one another, all about 1 from zero."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 50, 1, 1)).astype(np.float32)
    tail = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(50, 40))
    with torch.no_grad():
        tail[1].weight.mul_(apart)
        tail[1].bias.fill_(1.0)
        features = tail(torch.from_numpy(values)).numpy()
        exact = torch.nn.Linear(50, 40).double()
        exact.weight.copy_(tail[1].weight)
        exact.bias.copy_(tail[1].bias)
        lost = exact(torch.from_numpy(values[:8, :, 0, 0]).double()).numpy() - features[:8]
    squared = np.square(features[:, None].astype(np.float64) - features).sum(axis=2)
    nearest_third = np.sort(squared, axis=1)[:, 1:5]
    found = rounding_margin(features, tail, FeatureNorm("none", (40,)), values, np.arange(12))
    assert found == pytest.approx(np.sqrt(nearest_third.mean() / np.square(lost).sum(axis=1).mean()), rel=0.01)
    assert (found > 1e3) == (apart > 1e-3)


def test_a_point_has_no_margin() -> None:
    """A division by zero where all images look alike, or there is but one."""
    tail, norm = torch.nn.Flatten(), FeatureNorm("none", (4,))
    values = np.ones((5, 4, 1, 1), np.float32)
    for count in (1, 5):
        assert rounding_margin(values[:, :, 0, 0], tail, norm, values, np.arange(count)) == 0.0


@pytest.mark.parametrize(("count", "channels"), [(2, 3), (9, 8)])
def test_half_of_a_strange_copy_is_another_image(count: int, channels: int) -> None:
    """A copy that is the image itself, or another one; channels that no normal image has; copies that differ by run."""
    values = np.arange(count * channels * 4, dtype=np.float16).reshape(count, channels, 2, 2)
    copies = strange_copies(values, np.random.default_rng(0))
    assert copies.shape == (COPIES * count, channels, 2, 2) and copies.dtype == values.dtype
    for place, copied in enumerate(copies):
        own = place % count
        same = (values == copied).all(axis=(2, 3))  # (count, channels)
        sources = same.argmax(axis=0)
        assert same.any(axis=0).all()
        assert len(set(sources)) == 2 and own in sources
        assert (sources != own).sum() == max(1, channels // 2)
    np.testing.assert_array_equal(copies, strange_copies(values, np.random.default_rng(0)))


def test_a_strange_copy_of_tokens_mixes_channels() -> None:
    """Tokens (T, C) of a transformer taken for channels: whole patches of another image, as one would paste them."""
    values = np.random.default_rng(1).normal(size=(5, 7, 6)).astype(np.float16)  # (H, T, C)
    copies = strange_copies(values, np.random.default_rng(0))
    assert copies.shape == (COPIES * 5, 7, 6)
    for place, copied in enumerate(copies):
        same = (values == copied).all(axis=1)  # (H, C)
        assert same.any(axis=0).all() and same[place % 5].sum() == 3


def test_the_stand_in_is_told_by_its_neighbours() -> None:
    """An AUROC turned around: copies far from all normal images must count as found."""
    rng = np.random.default_rng(0)
    gallery, held_out, far = rng.normal(size=(50, 8)), rng.normal(size=(9, 8)), rng.normal(size=(36, 8)) + 9
    gallery, held_out, far = (features.astype(np.float32) for features in (gallery, held_out, far))
    assert stand_in_auroc(gallery, held_out, far) == 1.0
    found = stand_in_auroc(gallery, held_out, held_out)
    assert found == 0.5
