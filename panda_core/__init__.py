"""PANDA: adapt a pretrained network to normal images, watch its features improve and collapse, find anomalies.

Reiss, Cohen, Bergman and Hoshen, "PANDA: Adapting Pretrained Features for Anomaly Detection and Segmentation",
CVPR 2021. Everything here works without a user interface.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from panda_core.config import RunConfig
from panda_core.errors import BrokenRun, DataMissing, PandaError, UnreadableImage, UsageError
from panda_core.events import (
    CacheProgress,
    CheckpointSaved,
    DataNoted,
    Evaluated,
    Event,
    ImagesSkipped,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
    SegmentationEvaluated,
    Stepped,
)

__version__ = "0.9.0"  # the one place; a run's environment.json has it among its packages

Segmented = SegmentationEvaluated  # its former name, for programs that use it

if TYPE_CHECKING:
    from panda_core.export.opening import load_bundle
    from panda_core.runs.detector import PandaDetector
    from panda_core.runs.loaded import LoadedRun, load_run
    from panda_core.runs.run import run

# Loaded on first use: torch takes seconds to import, and reading a config or an event needs none of it.
_LAZY = {
    "LoadedRun": "panda_core.runs.loaded",
    "PandaDetector": "panda_core.runs.detector",
    "load_bundle": "panda_core.export.opening",
    "load_run": "panda_core.runs.loaded",
    "run": "panda_core.runs.run",
}

__all__ = [
    "BrokenRun",
    "CacheProgress",
    "CheckpointSaved",
    "DataMissing",
    "DataNoted",
    "Evaluated",
    "Event",
    "ImagesSkipped",
    "LoadedRun",
    "PandaDetector",
    "PandaError",
    "RunConfig",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "RunStopped",
    "SegmentationEvaluated",
    "Segmented",
    "Stepped",
    "UnreadableImage",
    "UsageError",
    "load_bundle",
    "load_run",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module `panda_core` has no attribute `{name}`")
