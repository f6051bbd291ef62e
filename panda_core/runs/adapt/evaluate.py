"""What is measured of a network at one step. Scores meet labels here, to draw curves, and nowhere else."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.events import Computing, Evaluated
from panda_core.features.space import FeatureNorm, space_features, tail_features
from panda_core.methods.alarm import alarm
from panda_core.methods.learner import Learner
from panda_core.metrics import auroc, auroc_interval, effective_rank, spectrum
from panda_core.runs.adapt.directions import fixed_axes, refitted
from panda_core.runs.adapt.inputs import Inputs
from panda_core.runs.adapt.neighbourhoods import neighbourhoods, overlap
from panda_core.runs.adapt.settings import AdaptPlan
from panda_core.scoring.knn import nearest

NEIGHBOURS = 5  # nearest normal images kept for each test image, to look at
SPECTRUM_KEPT = 64
WATCHED = 500  # training images whose neighbours are followed from step 0 on


@dataclasses.dataclass(frozen=True)
class Space:
    """The fixed space of a run: norm, constant center c (D',), and two axes (D', 2) for pictures of the features.

    All three come from the unadapted network. The axes are the two directions of largest variance of the
    unadapted features of both splits, kept for the whole run: taken anew at each step they would turn by
    themselves and look like motion.
    """

    norm: FeatureNorm
    center: Tensor
    axes: np.ndarray

    @staticmethod
    def fit(plan: AdaptPlan, inputs: Inputs, learner: Learner) -> Computing[tuple[Space, Features]]:
        """Return the space of a run and, at no further cost, the unadapted features in it."""
        tail, device = plan.network.tail, plan.device
        features = yield from tail_features(tail, inputs.train.values, device)
        widths, dims = plan.network.level_widths, int(plan.option("whiten_dims"))
        fitted = torch.from_numpy(inputs.train_rows)
        # Held-out images take no part here either: with fewer images than features, those that the whitening was
        # fitted to lie farther from one another than any other image does, and the threshold would be too high.
        norm = FeatureNorm.fit(str(plan.config.feature_norm), features[fitted], widths, dims)
        normal = norm(features)  # (N, D')
        center = learner.adjusted(normal[fitted].mean(dim=0))
        test = yield from space_features(tail, norm, inputs.test.values, device)
        unadapted = Features(normal.numpy(), test)
        return Space(norm, center, fixed_axes(np.concatenate([unadapted.train, unadapted.test]))), unadapted

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name, for saving."""
        return {"center": self.center, "axes": torch.from_numpy(self.axes), **self.norm.tensors()}

    @staticmethod
    def from_tensors(plan: AdaptPlan, tensors: dict[str, Tensor]) -> Space:
        norm = FeatureNorm.from_tensors(str(plan.config.feature_norm), plan.network.level_widths, tensors)
        return Space(norm, tensors["center"], tensors["axes"].numpy())


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of both splits in the run's space: train (N, D'), test (M, D')."""

    train: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Measured:
    """arrays: what is saved under `arrays/`. event: the point of every curve."""

    arrays: dict[str, np.ndarray]
    event: Evaluated

    @property
    def step(self) -> int:
        return self.event.step


class Evaluation:
    """Measures a run's network, step after step, in one fixed space."""

    def __init__(self, plan: AdaptPlan, inputs: Inputs, space: Space, learner: Learner) -> None:
        self.plan, self.inputs, self.space, self.learner = plan, inputs, space, learner

    def features(self, tail: nn.Module) -> Computing[Features]:
        """Return the features of both splits under `tail`."""
        norm, device = self.space.norm, self.plan.device
        train = yield from space_features(tail, norm, self.inputs.train.values, device)
        test = yield from space_features(tail, norm, self.inputs.test.values, device)
        return Features(train, test)

    def measure(
        self, features: Features, step: int, images_seen: int, history: Sequence[Measured], began: float
    ) -> Computing[Measured]:
        """Return scores, pictures and curve points. began: `time.monotonic()` when this evaluation started."""
        scores, held_out_scores = yield from self._scores(features)
        arrays = self._arrays(features, scores, held_out_scores)
        labels, seed = self.inputs.is_anomaly, self.plan.config.seed
        scores, distances = arrays["scores"], arrays["center_distances"]
        low, high = auroc_interval(scores, labels, rng=np.random.default_rng([seed, 3]))
        spread = float(arrays["spread"])
        rank = effective_rank(arrays.pop("all_singular_values"))
        around = arrays.pop("watched_neighbours")
        if not history:  # what later steps are compared with
            arrays["watched_neighbours"] = around
        first = (history[0].arrays if history else arrays).get("watched_neighbours")
        event = Evaluated(
            step=step,
            images_seen=images_seen,
            auroc=auroc(scores, labels),
            auroc_low=low,
            auroc_high=high,
            center_auroc=auroc(distances, labels),
            spread=spread,
            normal_ratio=_ratio(distances[labels == 0], spread),
            anomalous_ratio=_ratio(distances[labels == 1], spread),
            effective_rank=rank,
            alarm="",
            seconds=time.monotonic() - began,
            held_out_ratio=_ratio(arrays.pop("held_out_distances"), spread),
            neighbour_overlap=overlap(first, around) if first is not None and first.shape == around.shape else None,
        )
        told = alarm([*(measured.event for measured in history), event])
        return Measured(arrays, dataclasses.replace(event, alarm=told))

    def _scores(self, features: Features) -> Computing[tuple[np.ndarray, np.ndarray]]:
        """Return scores of the test images (M,) and of the held-out normal ones (H,), compared with the same images."""
        inputs, rows, nothing = self.inputs, self.inputs.calibration_rows, np.empty(0, np.float32)
        if self.plan.scorer is None:
            scores = yield from self.learner.scores(inputs.test.values, features.test)
            if not len(rows):
                return scores, nothing
            held_out = yield from self.learner.scores(inputs.train.values[rows], features.train[rows])
            return scores, held_out
        scorer = self.plan.new_scorer().fit(features.train[inputs.train_rows])
        scores = scorer.score(features.test)
        if not len(rows):
            return scores, nothing
        if len(inputs.train_rows) > len(inputs.reference_rows):  # an image must not be compared with itself
            scorer = self.plan.new_scorer().fit(features.train[inputs.reference_rows])
        return scores, scorer.score(features.train[rows])

    def _arrays(self, features: Features, scores: np.ndarray, held_out: np.ndarray) -> dict[str, np.ndarray]:
        inputs, center = self.inputs, self.space.center.numpy()
        fitted, apart = features.train[inputs.train_rows], np.setdiff1d(inputs.calibration_rows, inputs.train_rows)
        spread = np.square(fitted - center).sum(axis=1).mean(dtype=np.float64)
        # SES-A divides by the compactness loss of the training images, SES-B by what held-out normals score.
        compactness = self.plan.config.set.get("ses") == "A" or not len(held_out)
        normaliser = spread / fitted.shape[1] if compactness else held_out.mean(dtype=np.float64)
        singular_values = spectrum(fitted)
        refit_train, refit_test = refitted(fitted, features.test)
        distances, neighbours = nearest(fitted, features.test, min(NEIGHBOURS, len(fitted)))
        return {
            "scores": scores.astype(np.float32),
            "held_out_scores": held_out.astype(np.float32),
            "center_distances": np.square(features.test - center).sum(axis=1),
            "spread": np.array(spread),
            "normaliser": np.array(normaliser),
            "neighbours": inputs.train_rows[neighbours].astype(np.int32),
            "neighbour_distances": np.maximum(distances, 0),
            "held_out_distances": np.square(features.train[apart] - center).sum(axis=1),
            "watched_neighbours": neighbourhoods(fitted[:WATCHED]),
            "projection_train": (fitted - center) @ self.space.axes,
            "projection_test": (features.test - center) @ self.space.axes,
            "refit_train": refit_train,
            "refit_test": refit_test,
            "singular_values": singular_values[:SPECTRUM_KEPT],
            "all_singular_values": singular_values,
        }


def _ratio(distances: np.ndarray, spread: float) -> float | None:
    """Return mean(distances) / spread, or None where there is none or the spread has vanished."""
    return float(distances.mean(dtype=np.float64) / spread) if len(distances) and spread > 0 else None
