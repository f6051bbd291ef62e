"""The tensors of a run on disk. What is read is what it must be: names, shapes, numbers; else `BrokenRun`.

A network with half of its weights loaded, or a space of another width, gives scores that look like any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from panda_core.backbones.network import Network
from panda_core.errors import BrokenRun
from panda_core.records import write_atomically


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    content = save({name: value.contiguous() for name, value in tensors.items()})
    write_atomically(path, lambda file: file.write(content))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; a missing or damaged one raises `BrokenRun`."""
    try:
        return load(path.read_bytes())
    except Exception as error:  # safetensors has its own error type for each kind of damage
        raise _broken(path, f"is missing or damaged: {error}") from error


def read_tail(path: Path, network: Network) -> dict[str, Tensor]:
    """Return the parameters of the network's tail that a checkpoint holds, all of them."""
    return _checked(path, {name: tuple(value.shape) for name, value in network.tail.named_parameters()})


def read_momentum(path: Path, network: Network) -> dict[str, Tensor]:
    """Return the optimiser's momentum by parameter name; empty before the first step."""
    return read_tail(path, network) if read_tensors(path) else {}


def read_gallery(path: Path, space: Mapping[str, Tensor]) -> Tensor:
    """Return the normal features (N, D') of a checkpoint, in the run's space."""
    return _checked(path, {"features": (None, len(space["center"]))})["features"]


def read_space(path: Path, network: Network, feature_norm: str) -> dict[str, Tensor]:
    """Return the tensors of a run's space: center (D',), axes (D', 2); when whitened, mean (D,) and projection."""
    width = sum(network.level_widths)
    if feature_norm != "whiten":
        return _checked(path, {"center": (width,), "axes": (width, 2)})
    found = _checked(path, {"center": (None,), "axes": (None, 2), "mean": (width,), "projection": (width, None)})
    if not len(found["center"]) == len(found["axes"]) == found["projection"].shape[1]:
        raise _broken(path, "holds tensors that do not fit together")
    return found


def _checked(path: Path, wanted: Mapping[str, tuple[int | None, ...]]) -> dict[str, Tensor]:
    """Return the tensors of a file that must have these names and shapes (None: any length) and be finite floats."""
    tensors = read_tensors(path)
    if set(tensors) != set(wanted):
        raise _broken(path, f"must hold {len(wanted)} tensors of certain names; it holds {len(tensors)}")
    for name, shape in wanted.items():
        found = tensors[name]
        fits = len(shape) == found.ndim and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
        if not fits or found.dtype != torch.float32 or not torch.isfinite(found).all():
            raise _broken(path, f"holds a `{name}` of another shape or type, or one that is not finite")
    return tensors


def _broken(path: Path, what: str) -> BrokenRun:
    return BrokenRun(f"`{path}` {what}. The run must be computed again.")
