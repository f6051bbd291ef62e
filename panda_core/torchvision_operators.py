"""Make `import torchvision`, and so `import timm`, work where torchvision's compiled library cannot load.

A torchvision wheel built for CUDA beside a CPU build of torch cannot load its compiled library, yet registers
shape rules for the operators `nms` and `qnms` and so fails at import with "operator torchvision::nms does not
exist". Declaring the two signatures first cures it; transforms, datasets and models never call them. Where the
library loads, nothing is changed. timm imports torchvision, so it is only ever imported through `load_timm`.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def load_timm() -> Any:
    """Return the module `timm`, torchvision's operators declared before it is first imported."""
    declare_operators()
    import timm
    import timm.data

    return timm


@functools.cache  # the declaration lives as long as the returned object does
def declare_operators() -> object | None:
    """Declare the two operators where torchvision's own library cannot; return what keeps the declaration alive."""
    import torch

    if _compiled_library_loads():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for signature in _SIGNATURES:
        library.define(signature)
    return library


def _compiled_library_loads() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # nothing to repair: importing it will say what is wrong
    # `_C.so`, `_C.pyd`; since torchvision 0.29 `_C_stable.so`
    libraries = [path for folder in spec.submodule_search_locations for path in Path(folder).glob("_C*.*")]
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        return False
    return bool(libraries)
