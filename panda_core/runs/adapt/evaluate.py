"""What is measured of a network at one step. Scores meet labels here, to draw curves, and nowhere else."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from panda_core.backbones import find_backbone
from panda_core.events import Computing, Evaluated
from panda_core.features.joined import JoinedNorm
from panda_core.features.space import space_features, tail_features
from panda_core.linalg import leading_directions
from panda_core.methods.alarm import readings
from panda_core.methods.learner import Learner
from panda_core.metrics import auroc, auroc_interval, effective_rank, spectrum
from panda_core.runs.adapt.background import BackgroundRows, told_of
from panda_core.runs.adapt.inputs import Inputs
from panda_core.runs.adapt.settings import AdaptPlan
from panda_core.runs.adapt.watched import (
    COPIED,
    FEWEST_COPIED,
    WATCHED,
    neighbourhoods,
    overlap,
    rounding_margin,
    stand_in_auroc,
    strange_copies,
)
from panda_core.runs.arrays import AdaptArrays
from panda_core.scoring.knn import nearest

NEIGHBOURS = 5  # nearest normal images kept for each test image, to look at
SPECTRUM_KEPT = 64
WHITENED = "whiten"  # the space that others are compared with before anything is adapted
REFIT_IMAGES = 300  # images of each split that a projection fitted anew looks at


@dataclasses.dataclass(frozen=True)
class Space:
    """The fixed space of a run: norm, constant center c (D',), and two axes (D', 2) for pictures of the features.

    All three come from the unadapted network. The axes are the two directions of largest variance of the
    unadapted features of both splits, kept for the whole run: taken anew at each step they would turn by
    themselves and look like motion.
    """

    norm: JoinedNorm
    center: Tensor
    axes: np.ndarray

    @staticmethod
    def fit(plan: AdaptPlan, inputs: Inputs, learner: Learner) -> Computing[tuple[Space, Features]]:
        """Return the space of a run and, at no further cost, the unadapted features in it."""
        tail, device = plan.network.tail, plan.device
        features = yield from tail_features(tail, inputs.train.values, device)
        fitted = torch.from_numpy(inputs.train_rows)
        # Held-out images take no part here either: with fewer images than features, those that the whitening was
        # fitted to lie farther from one another than any other image does, and the threshold would be too high.
        norm = fitted_norm(plan, features[fitted])
        normal = norm(features)  # (N, D')
        background = yield from _background(plan, inputs)
        if background is not None and (note := told_of(background, norm, normal[fitted])) is not None:
            yield note
        center = learner.adjusted(normal[fitted].mean(dim=0))
        test = yield from tail_features(tail, inputs.test.values, device)
        calibrating = (yield from scores_in_turn(plan, inputs, features, background)) if inputs.turns else None
        whitened = whitened_scores(plan, features[fitted], test, background)
        unadapted = Features(normal.numpy(), norm(test).numpy(), calibrating, background, whitened)
        return Space(norm, center, projection_axes(np.concatenate([unadapted.train, unadapted.test]))), unadapted

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it by name, for saving."""
        return {"center": self.center, "axes": torch.from_numpy(self.axes), **self.norm.tensors()}

    @staticmethod
    def from_tensors(plan: AdaptPlan, tensors: dict[str, Tensor]) -> Space:
        norm = JoinedNorm.from_tensors(str(plan.config.feature_norm), plan.network.part_levels, tensors)
        return Space(norm, tensors["center"], tensors["axes"].numpy())


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of both splits in the run's space: train (N, D'), test (M, D').

    calibrating: scores (H,) of the calibrating images where these are compared in turn, in spaces of their own.
    background: what a scorer that needs one compares with besides.
    whitened: scores (M,) of the test images in the whitened space, of the unadapted network of a run in another space.
    """

    train: np.ndarray
    test: np.ndarray
    calibrating: np.ndarray | None = None
    background: BackgroundRows | None = None
    whitened: np.ndarray | None = None


def _background(plan: AdaptPlan, inputs: Inputs) -> Computing[BackgroundRows | None]:
    """Return the background under the network as it is; None where the scorer needs none."""
    if inputs.background is None:
        return None
    return (yield from inputs.background.seen_by(plan.network, str(plan.config.feature_norm), plan.device))


def _scorer(plan: AdaptPlan, norm: JoinedNorm, background: BackgroundRows | None) -> Any:
    """Return an unfitted scorer of features in the space of `norm`."""
    return plan.new_scorer(norm.widths, [] if background is None else background.in_space(norm))


def scores_in_turn(
    plan: AdaptPlan, inputs: Inputs, features: Tensor, background: BackgroundRows | None
) -> Computing[np.ndarray]:
    """Return scores (H,) of the calibrating images of an unadapted network, each from a space that has not seen it.

    features: (N, D) of the training images, in no space yet. Each group is compared with all others that are learned
    from; images that were reserved to calibrate, with all.
    """
    scores, own = np.empty(len(features), np.float32), inputs.train_rows
    reserved = np.setdiff1d(inputs.calibration_rows, own)
    for group in [*inputs.turns, *([reserved] if len(reserved) else [])]:
        yield None
        others = features[torch.from_numpy(np.setdiff1d(own, group))]
        norm = fitted_norm(plan, others)
        scorer = _scorer(plan, norm, background).fit(norm(others).numpy())
        scores[group] = scorer.score(norm(features[torch.from_numpy(group)]).numpy())
    return scores[inputs.calibration_rows]


def fitted_norm(plan: AdaptPlan, features: Tensor, kind: str | None = None) -> JoinedNorm:
    """Return the norm of a run for features (N, D) of the images that it learns from. kind: another than its own."""
    dims = int(plan.option("whiten_dims"))
    return JoinedNorm.fit(kind or str(plan.config.feature_norm), features, plan.network.part_levels, dims)


def whitened_scores(
    plan: AdaptPlan, normal: Tensor, test: Tensor, background: BackgroundRows | None
) -> np.ndarray | None:
    """Return the scores (M,) that the whitened space gives without any adapting; None where that is no comparison.

    normal (N, D) of the images that are learned from, test (M, D): features of the unadapted network, in no space yet.
    It is one where a pretrained network is adapted in another space: what whitening gives for free is then the
    measure of what adapting learns.
    """
    adapted = plan.recipe.steps and plan.scorer is not None and find_backbone(str(plan.config.backbone)).pretrained
    if plan.config.feature_norm == WHITENED or not adapted:
        return None
    norm = fitted_norm(plan, normal, WHITENED)
    scores: np.ndarray = _scorer(plan, norm, background).fit(norm(normal).numpy()).score(norm(test).numpy())
    return scores


@dataclasses.dataclass(frozen=True)
class Measured:
    """arrays: what is saved under `arrays/`. event: the point of every curve."""

    arrays: AdaptArrays
    event: Evaluated

    @property
    def step(self) -> int:
        return self.event.step


class Evaluation:
    """Measures a run's network, step after step, in one fixed space."""

    def __init__(self, plan: AdaptPlan, inputs: Inputs, space: Space, learner: Learner) -> None:
        self.plan, self.inputs, self.space, self.learner = plan, inputs, space, learner
        held_out = np.setdiff1d(inputs.calibration_rows, inputs.train_rows)
        self.copied = held_out[:COPIED] if plan.recipe.steps and len(held_out) >= FEWEST_COPIED else held_out[:0]
        rng = np.random.default_rng([plan.config.seed, 5])
        self.copies = strange_copies(inputs.train.values[self.copied], rng)

    def features(self, tail: nn.Module) -> Computing[Features]:
        """Return the features of both splits under `tail`."""
        norm, device = self.space.norm, self.plan.device
        train = yield from space_features(tail, norm, self.inputs.train.values, device)
        test = yield from space_features(tail, norm, self.inputs.test.values, device)
        background = yield from _background(self.plan, self.inputs)
        return Features(train, test, background=background)

    def measure(
        self, features: Features, step: int, images_seen: int, history: Sequence[Measured], began: float
    ) -> Computing[Measured]:
        """Return scores, pictures and curve points. began: `time.monotonic()` when this evaluation started."""
        scores, held_out_scores = yield from self._scores(features)
        arrays, spectrum_of_all = self._arrays(features, scores, held_out_scores)
        labels, seed = self.inputs.is_anomaly, self.plan.config.seed
        low, high = auroc_interval(arrays.scores, labels, rng=np.random.default_rng([seed, 3]))
        rows = self.inputs.train_rows[:WATCHED]
        watched = neighbourhoods(features.train[rows])
        if not history:  # what later steps are compared with
            arrays = dataclasses.replace(arrays, watched_neighbours=watched)
        first = (history[0].arrays if history else arrays).watched_neighbours
        spread, distances = float(arrays.spread), arrays.center_distances
        event = Evaluated(
            step=step,
            images_seen=images_seen,
            auroc=auroc(arrays.scores, labels),
            auroc_low=low,
            auroc_high=high,
            center_auroc=auroc(distances, labels),
            spread=spread,
            normal_ratio=_ratio(distances[labels == 0], spread),
            anomalous_ratio=_ratio(distances[labels == 1], spread),
            effective_rank=effective_rank(spectrum_of_all),
            alarm="",
            seconds=time.monotonic() - began,
            held_out_ratio=_ratio(self._held_out_distances(features), spread),
            neighbour_overlap=overlap(first, watched) if first is not None and first.shape == watched.shape else None,
            stand_in_auroc=(yield from self._stand_in_auroc(features)),
            rounding_margin=self._rounding_margin(features, rows),
            whitened_auroc=None if features.whitened is None else auroc(features.whitened, labels),
        )
        state = readings([*(measured.event for measured in history), event])[-1].state
        return Measured(arrays, dataclasses.replace(event, alarm=state))

    def _scores(self, features: Features) -> Computing[tuple[np.ndarray, np.ndarray]]:
        """Return scores of the test images (M,) and of the held-out normal ones (H,), compared with the same images."""
        inputs, rows, nothing = self.inputs, self.inputs.calibration_rows, np.empty(0, np.float32)
        if features.calibrating is not None:
            scorer = self._scorer(features).fit(features.train[inputs.train_rows])
            return scorer.score(features.test), features.calibrating
        if self.plan.scorer is None:
            scores = yield from self.learner.scores(inputs.test.values, features.test)
            if not len(rows):
                return scores, nothing
            held_out = yield from self.learner.scores(inputs.train.values[rows], features.train[rows])
            return scores, held_out
        scorer = self._scorer(features).fit(features.train[inputs.train_rows])
        scores = scorer.score(features.test)
        if not len(rows):
            return scores, nothing
        if len(inputs.train_rows) > len(inputs.reference_rows):  # an image must not be compared with itself
            scorer = self._scorer(features).fit(features.train[inputs.reference_rows])
        return scores, scorer.score(features.train[rows])

    def _scorer(self, features: Features) -> Any:
        return _scorer(self.plan, self.space.norm, features.background)

    def _arrays(self, features: Features, scores: np.ndarray, held_out: np.ndarray) -> tuple[AdaptArrays, np.ndarray]:
        """Return what is saved, and all singular values of the training features."""
        inputs, center = self.inputs, self.space.center.numpy()
        train = features.train[inputs.train_rows]
        spread = np.square(train - center).sum(axis=1).mean(dtype=np.float64)
        # SES-A divides by the compactness loss of the training images, SES-B by what held-out normals score.
        compactness = self.plan.config.set.get("ses") == "A" or not len(held_out)
        normaliser = spread / train.shape[1] if compactness else held_out.mean(dtype=np.float64)
        singular_values = spectrum(train)
        refit_train, refit_test = refit_projection(train, features.test)
        distances, neighbours = nearest(train, features.test, min(NEIGHBOURS, len(train)))
        arrays = AdaptArrays(
            scores=scores.astype(np.float32),
            held_out_scores=held_out.astype(np.float32),
            normaliser=np.array(normaliser),
            center_distances=np.square(features.test - center).sum(axis=1),
            spread=np.array(spread),
            singular_values=singular_values[:SPECTRUM_KEPT],
            projection_train=(train - center) @ self.space.axes,
            projection_test=(features.test - center) @ self.space.axes,
            refit_train=refit_train,
            refit_test=refit_test,
            neighbours=inputs.train_rows[neighbours].astype(np.int32),
            neighbour_distances=np.maximum(distances, 0),
        )
        return arrays, singular_values

    def _held_out_distances(self, features: Features) -> np.ndarray:
        """Return the squared distances to the center of the calibrating images that nothing was learned from."""
        rows = np.setdiff1d(self.inputs.calibration_rows, self.inputs.train_rows)
        return np.asarray(np.square(features.train[rows] - self.space.center.numpy()).sum(axis=1))

    def _stand_in_auroc(self, features: Features) -> Computing[float | None]:
        """Return what `stand_in_auroc` does; None where nothing is adapted, or too few images are held out."""
        if not len(self.copied):
            return None
        tail, norm = self.plan.network.tail, self.space.norm
        copies = yield from space_features(tail, norm, self.copies, self.plan.device)
        return stand_in_auroc(features.train[self.inputs.train_rows], features.train[self.copied], copies)

    def _rounding_margin(self, features: Features, rows: np.ndarray) -> float | None:
        """Return what `rounding_margin` does of the network as it is; None where nothing is adapted."""
        tail, values = self.plan.network.tail, self.inputs.train.values
        return rounding_margin(features.train, tail, self.space.norm, values, rows) if self.plan.recipe.steps else None


def _ratio(distances: np.ndarray, spread: float) -> float | None:
    """Return mean(distances) / spread, or None where there is none or the spread has vanished."""
    return float(distances.mean(dtype=np.float64) / spread) if len(distances) and spread > 0 else None


# Two directions in which features are drawn: fixed once for a run, or, to compare, fitted anew at each step.


def projection_axes(features: np.ndarray) -> np.ndarray:
    """Return the two directions (D', 2) of largest variance of features (N, D'); a second one of zeros if D' is 1."""
    return _two(leading_directions(features - features.mean(axis=0, dtype=np.float64), 2))


def refit_projection(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D') and (M, D') in the two directions of their own largest variance: (N, 2) and (M, 2).

    That is what a chart shows whose projection is fitted anew at each step. The directions are those of `REFIT_IMAGES`
    of each split, since they are only looked at: to find those of many images would take longer than measuring all the
    rest.
    """
    sample = np.concatenate([train[:REFIT_IMAGES], test[:REFIT_IMAGES]])
    center = sample.mean(axis=0, dtype=np.float64)  # after a collapse, images differ in the seventh digit
    axes = _two(leading_directions(sample - center, 2))
    return ((train - center) @ axes).astype(np.float32), ((test - center) @ axes).astype(np.float32)


def _two(directions: np.ndarray) -> np.ndarray:
    """Return the first two of directions (D', K), in float32; one of zeros where there is no second."""
    axes = np.zeros((len(directions), 2), np.float32)
    axes[:, : directions.shape[1]] = directions[:, :2]
    return axes
