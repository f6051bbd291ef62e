"""Images to cached trunk activations to features."""

from __future__ import annotations

from panda_core.features.cache import TrunkActivations, compute_trunk, default_cache_dir, trunk_activations
from panda_core.features.extraction import activation_batch, space_features, tail_features
from panda_core.features.normalisation import FeatureNorm

__all__ = [
    "FeatureNorm",
    "TrunkActivations",
    "activation_batch",
    "compute_trunk",
    "default_cache_dir",
    "space_features",
    "tail_features",
    "trunk_activations",
]
