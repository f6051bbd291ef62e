"""Weights from a file of one's own: `--set weights=FILE.safetensors`.

A config holds "PATH#sha256=HEX": what a run was computed with is part of what it is. A file that has changed since, or
is no longer there, is an error wherever the network is loaded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from panda_core.errors import DataMissing, UsageError
from panda_core.records import MARK, absolute

if TYPE_CHECKING:
    from torch import Tensor, nn

ENDING = ".safetensors"
CONVERT = (
    '`python -c "import torch; from safetensors.torch import save_file; '
    "save_file(torch.load('{0}', weights_only=True), '{1}')\"`"
)
CHOOSE = "Set `--set weights=` to the file of this network."


def pinned(text: str) -> str:
    """Return "PATH#sha256=HEX" of a file named with or without its digest, its path absolute; "" stays "".

    `UsageError` where it is no safetensors file or not the one whose digest is given, `DataMissing` where it is gone.
    """
    if not text:
        return ""
    path, _, wanted = text.partition(MARK)
    file = Path(absolute(path))
    if file.suffix.lower() != ENDING:
        raise UsageError(
            f"`weights` must be a {ENDING} file, since opening a pickle can run any program; got `{path}`. If it is "
            f"one of torch, convert it with {CONVERT.format(file.name, file.with_suffix(ENDING).name)}."
        )
    if not file.is_file():
        raise DataMissing(f"There is no file of weights `{file}`. Put it there, or set `--set weights=` to another.")
    with open(file, "rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if wanted not in ("", found):
        raise UsageError(
            f"The weights in `{path}` have changed: their SHA-256 begins with {found[:12]}, not {wanted[:12]}. Put the "
            "file back that this was computed with, or start anew."
        )
    return f"{file}{MARK}{found}"


def read_into(network: nn.Module, text: str, classifier: str | Sequence[str]) -> tuple[bool, str]:
    """Load the file of "PATH#sha256=HEX" into `network`; return (whether the classifier's were in it, what to tell).

    Every tensor of the network must be there by name, of its shape, of real numbers all finite in float32, and no
    other. Only the classifier (the name, or names, of its module) may be missing or of other classes; it is left out
    then. Half and double precision is converted to float32, which is told. `UsageError` for anything else.
    """
    path = pinned(text).partition(MARK)[0]
    given = _read(Path(path))
    wanted = network.state_dict()
    prefixes = tuple(f"{part}." for part in ([classifier] if isinstance(classifier, str) else classifier))
    own = {name for name in {*wanted, *given} if name.startswith(prefixes)}
    classifies = all(name in given and given[name].shape == wanted[name].shape for name in own & set(wanted))
    classifies = classifies and own <= set(wanted) and bool(own)
    left_out = set() if classifies else own
    _check_names(path, wanted.keys() - left_out, given.keys() - left_out)
    given = {name: value for name, value in given.items() if name not in left_out}
    _check_values(path, given, wanted)
    network.load_state_dict({name: value.to(wanted[name].dtype) for name, value in given.items()}, strict=False)
    others = sorted({str(value.dtype).removeprefix("torch.") for name, value in given.items() if _converted(value)})
    return classifies, f"Weights in `{Path(path).name}` are {' and '.join(others)}; float32 computes." if others else ""


def _converted(value: Tensor) -> bool:
    import torch

    return value.is_floating_point() and value.dtype != torch.float32


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:  # safetensors has its own error type for each kind of damage
        raise UsageError(
            f"`{file}` is no whole safetensors file: {str(error).rstrip('.')}. Copy or convert it again."
        ) from error


def _check_names(path: str, wanted: set[str], given: set[str]) -> None:
    lacking, strange = sorted(wanted - given), sorted(given - wanted)
    if lacking or strange:
        what = f"it lacks {_first(lacking)}" if lacking else f"this one has no {_first(strange)}"
        raise UsageError(f"`{path}` holds the weights of another network: {what}. {CHOOSE}")


def _first(names: list[str]) -> str:
    return f"`{names[0]}`" + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _check_values(path: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, value in given.items():
        shape, other = list(wanted[name].shape), list(value.shape)
        if shape != other:
            raise UsageError(
                f"`{path}` holds the weights of another network: `{name}` is {other}, not {shape}. {CHOOSE}"
            )
        if value.is_floating_point() != wanted[name].is_floating_point() or value.element_size() < min(
            2, wanted[name].element_size()
        ):
            raise UsageError(
                f"`{name}` in `{path}` is {str(value.dtype).removeprefix('torch.')}, which is no number of a network "
                "here: float32, float16, bfloat16 and float64 are. Convert it first."
            )
        if not bool(value.to(wanted[name].dtype).isfinite().all()):  # float64 reaches further than float32
            raise UsageError(f"`{name}` in `{path}` is not finite everywhere. Get the file anew.")
        if name.endswith("running_var") and bool((value < 0).any()):  # its root is NaN, and so are all scores
            raise UsageError(f"`{name}` in `{path}` is a variance that is negative somewhere. Get the file anew.")
