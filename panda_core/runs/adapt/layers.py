"""The layers of a run's network: how much each matters to the pretrained one, and how far it has moved. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from panda_core.errors import BrokenRun
from panda_core.runs.folder import CHECKPOINTS, RunFolder


@dataclasses.dataclass(frozen=True)
class Layer:
    """A part of the adapted tail, by its `name`.

    mass: sum of the Fisher diagonal over its weights, as a share of the whole tail's; None without EWC.
    moved: how far its weights turned away from the pretrained ones: see `moved_by_layer`.
    """

    name: str
    mass: float | None
    moved: float


def layers_of(folder: RunFolder) -> list[Layer]:
    """Return the layers of a run in the network's order; empty where its checkpoints are gone."""
    moved = folder.read(folder.moved_file.name) or moved_by_layer(folder)
    mass = folder.read(folder.fisher_file.name) or {}
    total = sum(mass.values())
    return [Layer(name, mass[name] / total if total > 0 and name in mass else None, far) for name, far in moved.items()]


def moved_by_layer(folder: RunFolder) -> dict[str, float]:
    """Return layer -> |theta - a theta0| / |theta0| of the first and last checkpoint; empty without two of them.

    a is the scale that fits best: weight decay shrinks all weights alike, which the normalisations behind them undo.
    """
    steps = folder.steps_in(CHECKPOINTS)
    if len(steps) < 2 or steps[0] != 0:
        return {}
    try:
        start, end = load_file(folder.checkpoint(0)), load_file(folder.checkpoint(steps[-1]))
    except (SafetensorError, OSError) as error:
        raise BrokenRun(f"A checkpoint of run `{folder.run_id}` cannot be read: {error}") from error
    # What a recipe keeps beside the network is no layer of it.
    names = [name for name in start if name in end and not name.startswith("learner.")]

    def products(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, float]:
        pairs = ((name, first[name].ravel().astype(np.float64), second[name].ravel()) for name in names)
        return summed_by_layer({name: float(left @ right) for name, left, right in pairs})

    before, after, along = products(start, start), products(end, end), products(start, end)
    return {
        name: float(np.sqrt(max(after[name] / before[name] - (along[name] / before[name]) ** 2, 0.0)))
        if before[name] > 0
        else 0.0
        for name in before
    }


def summed_by_layer(values: Mapping[str, float]) -> dict[str, float]:
    """Return the sums of values by parameter name over the parameters of each layer, in a natural order."""
    sums: dict[str, float] = {}
    for name in sorted(values, key=_places):
        layer = layer_name(name)
        sums[layer] = sums.get(layer, 0.0) + values[name]
    return sums


def layer_name(parameter: str) -> str:
    """Return the layer of a parameter: `blocks.3.0` of `blocks.3.0.conv_pw.weight`, `conv_head` of its weight."""
    parts = parameter.split(".")
    return ".".join(parts[: -2 if len(parts) > 3 else -1]) or parameter


def _places(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts `blocks.10` after `blocks.9`, and the head of the network after its blocks."""
    parts = name.split(".")
    return [(0 if len(parts) > 3 else 1, 0, "")] + [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts
    ]
