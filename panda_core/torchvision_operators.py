"""Make `import torchvision` work where its compiled library cannot load.

A torchvision wheel built for CUDA beside a CPU build of torch cannot load its compiled library, yet registers
shape rules for the operators `nms` and `qnms` and so fails at import with "operator torchvision::nms does not
exist". Declaring the two signatures first cures it; transforms, datasets and models never call them. Import this
module before timm or torchvision; where the library loads it changes nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_library_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # nothing to repair: importing it will say what is wrong
    libraries = [path for folder in spec.submodule_search_locations for path in Path(folder).glob("_C.*")]
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        return False
    return bool(libraries)


# The declaration lives as long as this object does.
_declared: torch.library.Library | None = None
if not _compiled_library_loads():
    _declared = torch.library.Library("torchvision", "DEF")
    for _signature in _SIGNATURES:
        _declared.define(_signature)
