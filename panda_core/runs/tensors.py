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
from panda_core.features.joined import part_prefixes
from panda_core.records import write_atomically


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    content = save({name: value.contiguous() for name, value in tensors.items()})
    write_atomically(path, lambda file: file.write(content))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; a missing or damaged one, or one not finite, raises `BrokenRun`."""
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except Exception as error:  # safetensors has its own error type for each kind of damage
        raise _broken(path, f"is missing or damaged: {error}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise _broken(path, f"holds a `{name}` that is not finite")
    return tensors


HEAD = "learner."  # begins the names of what a recipe trains or remembers beside the tail
BACKGROUND = ("background", "background.far")  # names of what a gallery holds of other images than the normal ones
REFERENCES = "references."  # begins the names of the references' features in the checkpoint of a few-shot run


def tail_state(network: Network) -> dict[str, Tensor]:
    """Return copies of what a checkpoint holds of a network: its tail's parameters and, where they move, statistics."""
    state: dict[str, Tensor] = dict(network.tail.named_parameters())
    if network.statistics_move:
        state |= {name: value for name, value in network.tail.named_buffers() if value.is_floating_point()}
    return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}


def read_tail(path: Path, network: Network) -> dict[str, Tensor]:
    """Return the state of the network's tail that a checkpoint holds, all of it."""
    wanted = {name: tuple(value.shape) for name, value in tail_state(network).items()}
    return _checked(
        path, wanted, {name: value for name, value in read_tensors(path).items() if not name.startswith(HEAD)}
    )


def read_head(path: Path) -> dict[str, Tensor]:
    """Return what a checkpoint holds beside the tail, by name; empty for most recipes."""
    head = {name.removeprefix(HEAD): value for name, value in read_tensors(path).items() if name.startswith(HEAD)}
    return _checked(path, {name: tuple(value.shape) for name, value in head.items()}, head)


def read_momentum(path: Path) -> dict[str, Tensor]:
    """Return what the optimiser remembers, by "slot/parameter name"; empty before the first step."""
    momentum = read_tensors(path)
    return _checked(path, {name: tuple(value.shape) for name, value in momentum.items()}, momentum)


def read_gallery(path: Path, space: Mapping[str, Tensor]) -> Tensor:
    """Return the normal features (N, D') of a checkpoint, in the run's space."""
    given = {name: value for name, value in read_tensors(path).items() if name not in BACKGROUND}
    return _checked(path, {"features": (None, len(space["center"]))}, given)["features"]


def read_background(path: Path, network: Network) -> tuple[Tensor, list[float]]:
    """Return the condensed features (K + 1, D) of a checkpoint's background, in no space, and far from it, by network.

    Runs made before that was kept compare with the background wherever normal images lie: nothing is far.
    """
    given = {name: value for name, value in read_tensors(path).items() if name in BACKGROUND}
    never = torch.full((network.networks,), torch.finfo(torch.float32).max)
    rows, far = BACKGROUND
    wanted = {rows: (None, sum(network.level_widths)), far: (network.networks,)}
    found = _checked(path, wanted, {far: never, **given})
    return found[rows], found[far].tolist()


def read_space(path: Path, network: Network, feature_norm: str) -> dict[str, Tensor]:
    """Return the tensors of a run's space: center (D',), axes (D', 2) and, when whitened, those of its norm."""
    if feature_norm != "whiten":
        width = sum(network.level_widths)
        return _checked(path, {"center": (width,), "axes": (width, 2)})
    given = read_tensors(path)
    wanted: dict[str, tuple[int | None, ...]] = {"center": (None,), "axes": (None, 2)}
    parts = list(zip(part_prefixes(network.networks), map(sum, network.part_levels), strict=True))
    for prefix, width in parts:
        matrix = _matrix(prefix, given)
        wanted |= {f"{prefix}mean": (width,), matrix: (width, None)}
        wanted |= {} if matrix.endswith("projection") else {f"{prefix}factors": (None,)}
        wanted |= {f"{prefix}rest": (1,)} if f"{prefix}rest" in given else {}
    tensors = _checked(path, wanted, given)
    dims = 0
    for prefix, width in parts:
        known = tensors[_matrix(prefix, given)].shape[1]
        dims += width if f"{prefix}rest" in tensors else known
        if len(tensors.get(f"{prefix}factors", range(known))) != known:
            raise _broken(path, "holds tensors that do not fit together")
    if not dims == len(tensors["center"]) == len(tensors["axes"]):
        raise _broken(path, "holds tensors that do not fit together")
    return tensors


def _matrix(prefix: str, given: Mapping[str, Tensor]) -> str:
    """Return the name of a network's directions; runs made before had their factors in them, under another one."""
    return f"{prefix}projection" if f"{prefix}projection" in given else f"{prefix}directions"


def _checked(
    path: Path, wanted: Mapping[str, tuple[int | None, ...]], given: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the tensors of a file, or `given` ones of it, that must have these names and shapes and be floats.

    None in a shape: any length.
    """
    tensors = read_tensors(path) if given is None else given
    if set(tensors) != set(wanted):
        raise _broken(path, f"must hold {len(wanted)} tensors of certain names; it holds {len(tensors)}")
    for name, shape in wanted.items():
        tensor = tensors[name]
        fits = len(shape) == tensor.ndim and all(b in (None, a) for a, b in zip(tensor.shape, shape, strict=True))
        if not fits or tensor.dtype != torch.float32:
            raise _broken(path, f"holds a `{name}` of another shape or type")
    return tensors


def _broken(path: Path, what: str) -> BrokenRun:
    return BrokenRun(f"`{path}` {what}. The run must be computed again.")
